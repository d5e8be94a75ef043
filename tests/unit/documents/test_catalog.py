"""Documents together: references, sources, endpoints, and digests that change when, and only when, they must."""

from __future__ import annotations

from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.parse import parse_documents
from windlass.documents.types import source_id


def repository(name: str = "shop", *, secret: str = "env: S", endpoint: str = "") -> str:
    webhook = f"name: {endpoint}, secrets: [{{{secret}}}]" if endpoint else f"secrets: [{{{secret}}}]"
    return document("Repository", name, f"{{url: https://git.example/{name}.git, webhook: {{{webhook}}}}}")


def cluster(name: str = "here", spec: str = "{inCluster: true}") -> str:
    return document("Cluster", name, spec)


def application(name: str, *, repository: str = "shop", ref: str = "branch: main", cluster: str = "here") -> str:
    source = f"{{repository: {repository}, {ref}, path: {name}}}"
    return document("Application", name, f"{{sources: [{source}], destination: {{cluster: {cluster}}}}}")


def document(kind: str, name: str, spec: str) -> str:
    return f"apiVersion: windlass.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def catalog(*documents: str) -> Catalog:
    read = parse_documents("---\n".join(documents).encode(), "a.yaml")
    return build([Placed(found, "a.yaml", line) for found, line in read.documents], read.errors)


def messages(found: Catalog) -> list[str]:
    return [str(error) for error in found.errors]


MAIN = source_id("shop", "refs/heads/main")


def test_applications_on_one_ref_are_one_source() -> None:
    tagged, branched = application("c", ref="tag: v1"), application("d", ref="branch: v1")
    found = catalog(repository(), cluster(), application("b"), application("a"), tagged, branched)
    assert messages(found) == []
    assert [a.name for a in found.sources[MAIN].applications] == ["a", "b"]
    assert {view.ref for view in found.sources.values()} == {"refs/heads/main", "refs/tags/v1", "refs/heads/v1"}
    assert all(view.id == name and view.repository.name == "shop" for name, view in found.sources.items())


def test_refs_that_look_alike_are_sources_of_their_own() -> None:
    refs = ["refs/heads/a/b", "refs/heads/a_b", "refs/heads/a-b", "refs/tags/a-b", "refs/heads/tags/a-b"]
    assert len({source_id("shop", ref) for ref in refs}) == len(refs)
    assert source_id("a-b", "refs/heads/c") != source_id("a", "refs/heads/b-c")


def test_an_application_without_its_repository_or_cluster_is_an_error_that_says_so() -> None:
    found = catalog(repository(), application("a"), application("b", repository="none", cluster="none"))
    assert found.applications == {}
    assert found.sources == {}
    assert messages(found) == [
        "a.yaml:6: spec.destination.cluster: there is no valid Cluster here",
        "a.yaml:11: spec.sources[0].repository: there is no valid Repository none",
        "a.yaml:11: spec.destination.cluster: there is no valid Cluster none",
    ]


def test_a_bad_repository_disables_the_applications_on_it_and_no_other() -> None:
    bad = document("Repository", "bad", "{url: 'file:///x'}")
    found = catalog(repository(), bad, cluster(), application("good"), application("hit", repository="bad"))
    assert list(found.applications) == ["good"]
    assert [error.field for error in found.errors] == ["spec.url", "spec.sources[0].repository"]


def test_of_two_documents_of_one_name_the_first_counts() -> None:
    found = catalog(cluster(), cluster(spec="{kubeconfig: a}"), repository("here"))
    assert found.clusters["here"].spec.in_cluster
    assert list(found.repositories) == ["here"], "another kind may have the name"
    assert messages(found) == ["a.yaml:6: metadata.name: a second Cluster of this name; the first is in a.yaml:1"]


def test_repositories_that_name_one_endpoint_share_it() -> None:
    found = catalog(repository("a", endpoint="all"), repository("b", endpoint="all"), repository("c"))
    assert {name: [r.name for r in several] for name, several in found.endpoints.items()} == {
        "all": ["a", "b"],
        "c": ["c"],
    }


def test_a_repository_without_a_secret_has_no_endpoint_and_a_warning_that_says_why() -> None:
    found = catalog(document("Repository", "shop", "{url: https://git.example/x}"))
    assert found.endpoints == {}
    (warning,) = found.warnings
    assert "Repository shop: no webhook.secrets" in warning
    assert "/webhooks/shop does not exist (404)" in warning
    assert messages(found) == []


def test_the_order_of_documents_changes_no_digest() -> None:
    documents = [repository(), cluster(), application("a"), application("b")]
    one, other = catalog(*documents), catalog(*reversed(documents))
    assert one.digest == other.digest
    assert one.sources[MAIN].digest == other.sources[MAIN].digest


def test_a_sources_digest_changes_with_the_documents_that_it_needs_and_no_other() -> None:
    base = [repository(), cluster(), application("a")]
    digest = catalog(*base).sources[MAIN].digest

    def changed(*documents: str) -> bool:
        return catalog(*documents).sources[MAIN].digest != digest

    assert changed(repository(secret="env: T"), cluster(), application("a"))
    assert changed(repository(), cluster(spec="{kubeconfig: a}"), application("a"))
    assert changed(*base, application("b"))
    assert not changed(*base, application("b", ref="branch: other"))
    assert not changed(*base, repository("other"), cluster("other"))


def test_nothing_is_a_catalog_too() -> None:
    found = catalog("")
    assert (found.sources, found.endpoints, found.errors, found.warnings) == ({}, {}, (), ())


def test_applications_that_adopt_each_other_are_errors_for_their_objects_would_change_hands_at_each_push() -> None:
    def adopting(name: str, other: str) -> str:
        source = f"{{repository: shop, branch: main, path: {name}}}"
        return document(
            "Application", name, f"{{sources: [{source}], destination: {{cluster: here}}, adopts: {other}}}"
        )

    found = catalog(repository(), cluster(), adopting("a", "b"), adopting("b", "a"), adopting("c", "a"))
    assert list(found.applications) == ["c"]
    assert messages(found) == [
        "a.yaml:11: spec.adopts: these applications adopt each other: a -> b -> a",
        "a.yaml:16: spec.adopts: these applications adopt each other: b -> a -> b",
    ]
