"""A custom resource drives a real reconcile by the rights that the chart gives, and by no others."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.resources import Team
from tests.e2e.world import config_map
from tests.integration.test_chart import CHART, KUBERNETES, PATHS
from tests.parts.build import binary
from tests.parts.control_plane import ControlPlane
from tests.parts.windlass import cluster

pytestmark = pytest.mark.e2e

MAIN, SERVICE = "main-windlass", "main-windlass-service"


@pytest.fixture
def given(parts_folder: Path, unique: str, defined: ControlPlane) -> Iterator[Team]:
    """A team, whose Windlass has no rights yet."""
    folder = parts_folder / unique
    folder.mkdir()
    made = Team(folder, unique, defined)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def team(given: Team) -> Team:
    """The chart's rights for one team's namespace, and for no other."""
    impersonate = [{"namespace": given.name, "names": ["deployer"]}]
    give_rights(
        given,
        resources={"scope": "namespaces", "namespaces": [given.name], "secrets": ["git"]},
        rbac={"scope": "namespaces", "namespaces": [given.name], "impersonate": impersonate},
    )
    return given


def give_rights(team: Team, **values: Any) -> None:
    """What the chart has of accounts and roles with these values."""
    command = [binary("helm"), "template", "main", str(CHART), "--namespace", team.own, "--kube-version", KUBERNETES]
    command += ["--values", "-", "--show-only", "templates/rbac.yaml", "--show-only", "templates/resources.yaml"]
    done = subprocess.run(
        command, input=yaml.safe_dump(values), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for item in yaml.safe_load_all(done.stdout):
        if item:
            namespace = item["metadata"].get("namespace", team.own)
            team.plane.request("POST", PATHS[item["kind"]].format(namespace), item)
    use_rights(team)


def use_rights(team: Team) -> None:
    """The processes as the chart starts them, each with its own account's token."""
    main, service = (kubeconfig(team, account) for account in (MAIN, SERVICE))
    team.windlass.environment |= {"WINDLASS_RESOURCES_KUBECONFIG": str(main), "WINDLASS_WATCH": "true"}
    team.windlass.settings["worker"] = {"WINDLASS_WATCH": "false"}
    team.windlass.settings["service"] = {"WINDLASS_RESOURCES_KUBECONFIG": str(service)}
    team.windlass.write(cluster("local", main, namespace=team.own))


def kubeconfig(team: Team, account: str) -> Path:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"/api/v1/namespaces/{team.own}/serviceaccounts/{account}/token"
    made: Any = team.plane.request("POST", path, body)
    ca = base64.b64encode((team.plane.folder / "ca.crt").read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": team.plane.server, "certificate-authority-data": ca}}],
        "users": [{"name": account, "user": {"token": made["status"]["token"]}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": account}}],
        "current-context": "c",
    }
    file = team.windlass.folder / f"{account}.kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return file


def test_what_is_needed_is_allowed_and_nothing_else(team: Team) -> None:
    main, service = (f"system:serviceaccount:{team.own}:{name}" for name in (MAIN, SERVICE))
    for namespace in (team.name, team.own):
        for wanted in (
            (main, "watch", "windlass.dev", "applications", namespace),
            (main, "patch", "windlass.dev", "applications/status", namespace),
            (main, "get", "", "secrets/git", namespace),
            (service, "get", "", "secrets/git", namespace),
        ):
            team.wait(partial(may_name, team.plane, *wanted), f"{wanted} is not allowed")
    team.wait(
        partial(may_name, team.plane, main, "impersonate", "", "serviceaccounts/deployer", team.name),
        "no impersonation",
    )
    team.create_secret()
    team.create_repository()
    team.create_application()
    team.windlass.workers.append(team.windlass.spawn("watcher"))
    with team.windlass.start():
        team.wait_ready()
        assert team.push({"manifests/a.yaml": config_map("a", "2")}) == 202
        team.wait(lambda: team.value("a") == "2", "the push was not applied")
        team.delete("Application", "shop")
        team.wait(lambda: team.found("Application", "shop") is None, "the resource did not go")
        assert team.value("a") is None
    assert refused(team.plane, main) == set()
    assert refused(team.plane, service) == set()
    for kept in (
        # Windlass makes no documents, and lets nobody else's be changed.
        (main, "create", "windlass.dev", "applications", team.own),
        (main, "delete", "windlass.dev", "applications", team.own),
        (main, "patch", "windlass.dev", "repositories", team.own),
        (main, "get", "windlass.dev", "applications", "default"),
        (main, "get", "", "secrets/git", "default"),
        (main, "get", "", "secrets/other", team.own),
        (main, "list", "", "secrets", team.own),
        (main, "create", "", "pods", team.own),
        (main, "patch", "", "configmaps", "kube-system"),
        (main, "impersonate", "", "serviceaccounts/other", team.name),
        (main, "impersonate", "", "users", ""),
        (main, "bind", "rbac.authorization.k8s.io", "clusterroles", ""),
        # The service reads what webhooks are signed with, and that is all.
        (service, "get", "", "secrets/other", team.name),
        (service, "list", "", "secrets", team.name),
        (service, "get", "", "secrets/git", "default"),
        (service, "get", "windlass.dev", "applications", team.name),
        (service, "patch", "", "configmaps", team.own),
        (service, "impersonate", "", "serviceaccounts/deployer", team.name),
    ):
        assert not may_name(team.plane, *kept), kept


def test_teams_have_rights_of_their_own_and_windlass_writes_nothing_by_itself(given: Team) -> None:
    """`rbac.scope: none`: it applies, prunes and undoes drift as the team's account, and lets the team's namespace go."""
    team, main = given, f"system:serviceaccount:{given.own}:{MAIN}"
    give_rights(team, resources={"scope": "cluster"}, rbac={"scope": "none", "impersonate": [{"namespace": team.name}]})
    team.windlass.environment["WINDLASS_RESOURCES"] = "cluster"
    team.create_secret()
    team.create_repository()
    team.create_application()
    team.windlass.workers.append(team.windlass.spawn("watcher"))
    with team.windlass.start():
        team.wait_ready()
        assert team.push({"manifests/b.yaml": config_map("b", "1")}) == 202
        team.wait(lambda: team.value("b") == "1", "the push was not applied")
        assert team.push({"manifests/a.yaml": None}) == 202
        team.wait(lambda: team.value("a") is None, "what left was not pruned")
        path = f"/api/v1/namespaces/{team.name}/configmaps/b"
        team.wait_ready()
        change = {"data": {"value": "changed"}}
        team.plane.request("PATCH", path, change, content_type="application/merge-patch+json")
        team.wait(lambda: team.value("b") == "1", "the drift was not undone")
        assert refused(team.plane, main) == set()
        for verb in ("create", "patch", "delete"):
            assert not may_name(team.plane, main, verb, "", "configmaps", team.name)
        # The account and Windlass' rights go first; the application must not hold the rest of the namespace for ever.
        team.plane.request("DELETE", f"/api/v1/namespaces/{team.name}")
        team.wait(lambda: team.get(f"/api/v1/namespaces/{team.name}") is None, "the namespace did not go")


def may_name(plane: ControlPlane, account: str, verb: str, group: str, resource: str, namespace: str) -> bool:
    """May the account do this? ``resource`` may name an object of its own, or a subresource."""
    kind, _, more = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": kind, "namespace": namespace}
    attributes |= {"subresource" if more == "status" else "name": more} if more else {}
    spec = {"user": account, "resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer: Any = plane.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def refused(plane: ControlPlane, account: str) -> set[str]:
    """What the account asked for and was not given; but for the question whether it may watch the objects of all namespaces at
    once, with which the watch for drift begins."""
    events: list[Any] = plane.audited()
    return {
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event["user"].get("username") == account  # a request without credentials has none
        and event["responseStatus"]["code"] == 403
        and not event["requestURI"].startswith("/api/v1/configmaps?")
    }
