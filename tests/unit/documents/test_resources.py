"""Custom resources become the documents that files would; a namespace's resources reach no further than the namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.resources.test_crds import WRONG
from windlass.documents.catalog import Catalog
from windlass.documents.directory import Beside, DocumentDirectory
from windlass.documents.resources import Found, Resource, Terms, read
from windlass.documents.types import Application, Repository

TERMS = Terms("windlass")
SECRET = {"secret": {"name": "git", "key": "token"}}
SHOP = {
    "sources": [{"repository": "web", "branch": "main"}],
    "destination": {"cluster": "local", "serviceAccount": "deployer"},
}
OFFERED = {"limits": {"namespaces": ["team-*"]}}


def resource(
    kind: str, namespace: str, name: str, spec: dict[str, Any], created: str = "2026-01-01T00:00:00Z"
) -> Resource:
    return Resource(kind, namespace, name, f"{namespace}-{name}", created, 1, spec)


def app(namespace: str, name: str = "shop", **spec: Any) -> Resource:
    return resource("Application", namespace, name, {**SHOP, **spec})


def repo(namespace: str, name: str = "web", **spec: Any) -> Resource:
    return resource("Repository", namespace, name, {"url": "https://git.example/web.git", **spec})


LOCAL = resource("Cluster", "windlass", "local", {"inCluster": True})


def catalog(*resources: Resource, folder: Path, files: str = "", terms: Terms = TERMS) -> Catalog:
    if files:
        (folder / "documents.yaml").write_text(files)
    beside = Beside()
    beside.found = read(resources, terms)
    return DocumentDirectory(folder, beside).load()


def only(found: Found) -> Any:
    assert not found.errors, found.errors
    (one,) = found.documents
    return one.document


def said(*resources: Resource, terms: Terms = TERMS) -> list[str]:
    return [str(error) for error in read(resources, terms).errors]


def test_a_resource_of_windlass_own_namespace_is_worth_what_a_file_is(tmp_path: Path) -> None:
    place = {"cluster": "local", "namespace": "shop"}
    resources = (LOCAL, repo("windlass"), app("windlass", destination=place))
    kind = {"apiVersion": "windlass.dev/v1alpha1"}
    files = [{**kind, "kind": one.kind, "metadata": {"name": one.name}, "spec": one.spec} for one in resources]
    as_files = catalog(folder=tmp_path, files=yaml.safe_dump_all(files))
    (tmp_path / "documents.yaml").unlink()
    as_resources = catalog(*resources, folder=tmp_path)
    assert as_resources.applications == as_files.applications
    assert as_resources.digest == as_files.digest
    assert not as_resources.errors
    assert not as_resources.limits_of(as_resources.applications["shop"])


def test_a_secret_is_one_of_the_resources_own_namespace() -> None:
    made: Repository = only(read([repo("team-a", webhook={"secrets": [SECRET]})], TERMS))
    assert made.spec.webhook is not None
    (ref,) = made.spec.webhook.secrets
    assert ref.secret is not None
    assert (ref.secret.namespace, ref.secret.name, ref.secret.key) == ("team-a", "git", "token")


@pytest.mark.parametrize("namespace", ["windlass", "team-a"])
@pytest.mark.parametrize(
    ("ref", "field"),
    [
        ({"env": "WINDLASS_KEY"}, "token.env"),
        ({"file": "/etc/windlass/key/key"}, "token.file"),
        ({"secret": {"name": "git", "key": "token", "namespace": "kube-system"}}, "token.secret.namespace"),
    ],
)
def test_no_resource_reads_what_isnt_its_namespaces(namespace: str, ref: dict[str, Any], field: str) -> None:
    (error,) = said(repo(namespace, credentials={"token": ref}))
    assert error.startswith(f"Repository {namespace}/web: spec.credentials.{field}: ")


def test_a_namespaces_documents_have_names_of_their_own(tmp_path: Path) -> None:
    found = catalog(LOCAL, *(one for team in ("team-a", "team-b") for one in (repo(team), app(team))), folder=tmp_path)
    assert set(found.applications) == {"team-a--shop", "team-b--shop"}
    for team in ("team-a", "team-b"):
        assert found.applications[f"{team}--shop"].source.repository == f"{team}--web"


def test_an_application_of_a_namespace_writes_there_only_and_as_its_account(tmp_path: Path) -> None:
    found = catalog(LOCAL, repo("team-a"), app("team-a"), folder=tmp_path)
    made = found.applications["team-a--shop"]
    assert made.spec.destination.namespace == "team-a"
    (limits,) = found.limits_of(made)
    assert (limits.namespaces, limits.cluster_scoped) == (("team-a",), False)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"destination": {**SHOP["destination"], "namespace": "kube-system"}}, "spec.destination.namespace"),  # type: ignore[dict-item]
        ({"destination": {"cluster": "local"}}, "spec.destination.serviceAccount"),
        ({"destination": {"cluster": "local", "serviceAccount": "windlass:admin"}}, "spec.destination.serviceAccount"),
        (
            {"destination": {"cluster": "local", "serviceAccount": {"name": "admin", "namespace": "windlass"}}},
            "spec.destination.serviceAccount",
        ),
        (
            {"sources": [{"repository": "web", "branch": "main", "sops": {"cloud": ["aws"]}}]},
            "spec.sources[0].sops.cloud",
        ),
    ],
)
def test_what_reaches_further_is_refused(spec: dict[str, Any], field: str) -> None:
    (error,) = said(app("team-a", **spec))
    assert error.startswith(f"Application team-a/shop: {field}: ")


def test_the_installations_default_account_counts_as_one_of_the_namespace() -> None:
    bare = app("team-a", destination={"cluster": "local"})
    made: Application = only(read([bare], Terms("windlass", "deployer")))
    assert made.spec.destination.service_account == "deployer"
    (error,) = said(bare, terms=Terms("windlass", "windlass:deployer"))
    assert "expected a ServiceAccount of team-a" in error


@pytest.mark.parametrize("kind", ["Cluster", "Registry", "Notification"])
def test_what_is_about_the_whole_installation_counts_in_its_own_namespace_only(kind: str) -> None:
    (error,) = said(resource(kind, "team-a", "mine", {"inCluster": True}))
    assert error.startswith(f"{kind} team-a/mine: kind: a {kind} is about the whole installation")


def test_a_namespaces_promotion_runs_no_program_of_the_worker() -> None:
    spec = {
        "image": "registry.example/shop/web",
        "target": {"repository": "shop"},
        "gates": {"checks": [{"url": "https://shop.example/"}, {"command": ["smoke"]}]},
    }
    (error,) = said(resource("Promotion", "team-a", "web", spec))
    assert error.startswith("Promotion team-a/web: spec.gates.checks[1].command: the worker's programs")
    assert said(resource("Promotion", "windlass", "web", spec)) == []


def test_a_namespaces_promotion_asks_for_public_pages_only() -> None:
    spec = {
        "image": "registry.example/shop/web",
        "target": {"repository": "shop"},
        "gates": {"checks": [{"url": "http://other.team-b.svc/", "private": True}]},
    }
    (error,) = said(resource("Promotion", "team-a", "web", spec))
    assert error.startswith("Promotion team-a/web: spec.gates.checks[0].private: what the worker reaches")


def test_a_namespaces_promotion_shows_the_commits_of_its_own_repositories_only() -> None:
    spec = {"image": "registry.example/shop/web", "target": {"repository": "shop"}, "source": "secret"}
    (found,) = read([resource("Promotion", "team-a", "web", spec)], TERMS).documents
    assert found.document.spec.source == "team-a--secret"  # type: ignore[union-attr]


def test_another_namespaces_repository_is_not_there(tmp_path: Path) -> None:
    """By no name: neither by the one that it has there, nor by the one that Windlass calls it."""
    for name in ("web", "team-b--web"):
        source = [{"repository": name, "branch": "main"}]
        found = catalog(LOCAL, repo("team-b"), app("team-a", sources=source), folder=tmp_path)
        assert not found.applications
        assert [str(error) for error in found.errors if "shop" in str(error)] == [
            f"Application team-a/shop: spec.sources[0].repository: there is no valid Repository {name}"
        ]


def test_a_repository_of_the_installation_is_followed_where_it_offers_itself(tmp_path: Path) -> None:
    offered = catalog(LOCAL, repo("windlass", **OFFERED), app("team-a"), folder=tmp_path)
    assert set(offered.applications) == {"team-a--shop"}
    assert len(offered.limits_of(offered.applications["team-a--shop"])) == 2
    for limits in ({}, {"limits": {"kinds": {"deny": ["Secret"]}}}, {"limits": {"namespaces": ["other"]}}):
        kept = catalog(LOCAL, repo("windlass", **limits), app("team-a"), folder=tmp_path)
        assert not kept.applications, limits


def test_waiting_and_adopting_stay_within_the_namespace(tmp_path: Path) -> None:
    sync = {"dependsOn": ["db", {"application": "queue", "until": "applied"}]}
    others = [app("team-a", "db"), app("team-a", "queue")]
    found = catalog(LOCAL, repo("team-a"), *others, app("team-a", sync=sync, adopts="db"), folder=tmp_path)
    made = found.applications["team-a--shop"]
    assert [getattr(one, "application", one) for one in made.spec.sync.depends_on] == ["team-a--db", "team-a--queue"]
    assert made.spec.adopts == "team-a--db"


def test_a_promotion_of_a_namespace_edits_a_repository_of_it(tmp_path: Path) -> None:
    promotion = {
        "image": "registry.example/web",
        "target": {"repository": "web"},
        "gates": {"after": [{"promotion": "b"}]},
    }
    made: Any = only(read([resource("Promotion", "team-a", "a", promotion)], TERMS))
    assert made.spec.target.repository == "team-a--web"
    assert made.spec.gates.after[0].promotion == "team-a--b"


def test_a_name_that_a_file_has_is_the_files_and_the_resource_says_so(tmp_path: Path) -> None:
    files = yaml.safe_dump(
        {
            "apiVersion": "windlass.dev/v1alpha1",
            "kind": "Repository",
            "metadata": {"name": "web"},
            "spec": {"url": "https://h/a"},
        }
    )
    found = catalog(LOCAL, repo("windlass"), folder=tmp_path, files=files)
    assert found.repositories["web"].spec.url == "https://h/a"
    (error,) = found.errors
    assert str(error) == (
        "Repository windlass/web: metadata.name: a second Repository of this name; the first is in documents.yaml:1"
    )


def test_names_between_which_nobody_could_tell_are_refused() -> None:
    (error,) = said(app("team-a", "b--c"))
    assert "metadata.name: expected a name without --" in error
    (error,) = said(app("n" * 40, "m" * 40))
    assert "expected at most 63 characters with the namespace before it" in error
    (error,) = said(app("team-a", "shop.web"))
    assert "metadata.name: expected at most 63 lower-case letters" in error


def test_one_that_is_wrong_disables_itself_only(tmp_path: Path) -> None:
    found = catalog(LOCAL, repo("team-a"), app("team-a"), app("team-a", "b", sources=[]), folder=tmp_path)
    assert set(found.applications) == {"team-a--shop"}
    assert [str(error) for error in found.errors if "team-a/b" in str(error)] == [
        "Application team-a/b: spec.sources: expected at least one source"
    ]


def test_an_application_that_is_being_deleted_is_followed_no_more() -> None:
    going = Resource("Application", "team-a", "shop", "u", "2026-01-01T00:00:00Z", 2, SHOP, deleting=True)
    found = read([going], TERMS)
    assert not found.documents
    assert [one.document.name for one in found.ending] == ["team-a--shop"]


@pytest.mark.parametrize("made", [made for made, _ in WRONG.values()], ids=WRONG)
def test_what_the_schema_refuses_parsing_refuses_too(made: tuple[str, dict[str, Any]]) -> None:
    kind, spec = made
    assert said(resource(kind, "windlass", "shop", spec))
