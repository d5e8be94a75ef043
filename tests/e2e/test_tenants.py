"""Tenants: each acts as its own ServiceAccount, within the limits of its repository; what it may not do hurts nobody else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.windlass import application, cluster, repository
from windlass.state import RunRecord

pytestmark = pytest.mark.e2e
RBAC = "rbac.authorization.k8s.io"


class Tenancy(World):
    """One application of the platform's (``manifests/``), and a tenant's (``tenant/``), which acts as ``tenant``."""

    @property
    def tenant(self) -> str:
        return f"{self.name}-tenant"

    def document(self, *, limits: dict[str, Any] | None = None, account: str | None = "tenant") -> None:
        """Write the documents, with these limits and this account of the tenant."""
        destination = {"cluster": "local", "namespace": self.name}
        if account:
            destination["serviceAccount"] = account
        limited = {"limits": limits} if limits is not None else {}
        self.windlass.write(
            repository(self.name, self.url, forge="generic", **limited),
            cluster("local", self.kubeconfig),
            application(self.name, repository=self.name, path="manifests", namespace=self.name),
            application(self.tenant, repository=self.name, path="tenant", destination=destination),
        )

    def grant(self) -> dict[str, str | bytes | None]:
        """The tenant's rights, as the platform's manifests: ConfigMaps of its namespace."""
        role = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "tenant"},
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch", "delete"]},
            ],
        }
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "tenant"},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "tenant"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": self.name}],
        }
        return {"manifests/role.json": json.dumps(role), "manifests/binding.json": json.dumps(binding)}

    def tenants_run(self, commit: str, *, errors: int) -> RunRecord:
        """The tenant's run of ``commit`` that ended with so many errors: rights take a moment to reach the authorizer."""
        deadline = time.monotonic() + 30
        while True:
            run = self.windlass.last_run(self.tenant)
            if run.revision == commit and run.phase != "Superseded" and len(run.errors) == errors:
                return run
            assert time.monotonic() < deadline, (run, self.windlass.log("worker")[-3000:])
            time.sleep(0.05)

    def commit(self, files: dict[str, str | bytes | None]) -> str:
        commit = self.work.commit_and_push(files)
        self.deliver(commit)
        return commit


@pytest.fixture
def world(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[Tenancy]:
    folder = parts_folder / unique
    folder.mkdir()
    made = Tenancy(folder, unique, kubeconfig)
    try:
        made.start()
        made.push(made.grant())
        yield made
    finally:
        made.stop()


def manifest(kind: str, name: str, *, api: str = "v1", namespace: str = "", **content: Any) -> str:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **content.pop("metadata", {})}
    return json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, **content})


def test_what_a_tenant_may_not_touch_is_the_api_servers_403_and_the_rest_is_applied(world: Tenancy) -> None:
    world.document()
    admin = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    labels = {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}
    commit = world.commit(
        {
            "tenant/mine.yaml": config_map("mine", "1"),
            "tenant/elsewhere.json": manifest("ConfigMap", world.name, namespace="kube-system", data={}),
            "tenant/role.json": manifest("ClusterRole", world.name, api=f"{RBAC}/v1", rules=admin),
            "tenant/labels.json": manifest("Namespace", f"{world.name}-x", metadata=labels),
            "tenant/secret.json": manifest("Secret", "of-others", stringData={"password": "canary-5e11"}),
        }
    )
    run = world.tenants_run(commit, errors=4)
    assert run.applied == 1
    assert world.value("mine") == "1"
    errors = sorted(run.errors)
    user = f'User "system:serviceaccount:{world.name}:tenant" cannot patch resource'
    for error, (kind, resource, file) in zip(
        errors,
        [
            ("ClusterRole", "clusterroles", "role"),
            ("ConfigMap", "configmaps", "elsewhere"),
            ("Namespace", "namespaces", "labels"),
            ("Secret", "secrets", "secret"),
        ],
        strict=True,
    ):
        assert error.startswith(kind)
        assert f'{user} "{resource}"' in error
        assert error.endswith(f"(tenant/{file}.json:1)")
    assert world.cluster.get(f"/api/v1/namespaces/kube-system/configmaps/{world.name}") is None
    assert world.cluster.get(f"/apis/{RBAC}/v1/clusterroles/{world.name}") is None
    assert "canary-5e11" not in world.windlass.log()


@pytest.mark.skipif("WINDLASS_TEST_KUBECONFIG" in os.environ, reason="another cluster's audit log can't be read")
def test_members_are_written_and_pruned_by_the_account_and_the_parent_by_windlass(
    world: Tenancy, control_plane: ControlPlane
) -> None:
    world.document()
    first = world.commit({"tenant/a.yaml": config_map("mine", "1"), "tenant/b.yaml": config_map("more", "1")})
    world.tenants_run(first, errors=0)
    assert world.tenants_run(world.commit({"tenant/b.yaml": None}), errors=0).pruned == 1
    assert world.value("more") is None
    writers: dict[str, set[str]] = {}
    for event in control_plane.audited(user_agent="windlass", verbs=("patch", "delete")):
        place: Any = event.get("objectRef")
        acting: Any = event.get("impersonatedUser", {})
        if (place.get("namespace"), place.get("name")) in (
            (world.name, "more"),
            ("windlass", f"application-{world.tenant}"),
        ):
            writers.setdefault(place["name"], set()).add(acting.get("username", "itself"))
    account = f"system:serviceaccount:{world.name}:tenant"
    assert writers == {"more": {account}, f"application-{world.tenant}": {"itself"}}


def test_a_tenant_that_names_an_object_of_others_keeps_nobody_from_it(world: Tenancy) -> None:
    world.document()
    neighbour = manifest("Secret", "wanted", stringData={"a": "1"})
    world.tenants_run(world.commit({"tenant/mine.yaml": config_map("mine", "1"), "tenant/s.json": neighbour}), errors=1)
    run = world.push({"manifests/s.json": neighbour})
    assert (run.applied, run.errors) == (1, [])


def test_without_the_right_account_nothing_falls_back_to_windlass_own_rights(world: Tenancy) -> None:
    world.document(account="nobody")
    run = world.tenants_run(world.commit({"tenant/mine.yaml": config_map("mine", "1")}), errors=1)
    assert f"system:serviceaccount:{world.name}:nobody" in run.errors[0]
    assert world.value("mine") is None


def test_a_default_account_is_for_all_that_name_none(world: Tenancy) -> None:
    world.windlass.environment["WINDLASS_DEFAULT_SERVICE_ACCOUNT"] = "default"
    world.windlass.workers[0].terminate()
    world.windlass.workers[0].wait()
    world.windlass.start_worker(fresh_redis=False)
    world.document(account=None)
    run = world.tenants_run(world.commit({"tenant/mine.yaml": config_map("mine", "1")}), errors=1)
    assert f"system:serviceaccount:{world.name}:default" in run.errors[0]
    world.document(account="tenant")
    deadline = time.monotonic() + 30
    while world.value("mine") != "1":
        assert time.monotonic() < deadline, world.windlass.log("worker")[-3000:]
        time.sleep(0.05)


def test_an_object_outside_of_the_limits_is_refused_before_it_is_sent_and_the_rest_is_applied(world: Tenancy) -> None:
    limits = {"namespaces": [world.name], "kinds": {"deny": ["Secret"]}}
    world.document(account=None, limits=limits)  # limits hold with Windlass' own rights too
    commit = world.commit(
        {
            "tenant/mine.yaml": config_map("mine", "1"),
            "tenant/elsewhere.json": manifest("ConfigMap", world.name, namespace="kube-system", data={}),
            "tenant/role.json": manifest("ClusterRole", world.name, api=f"{RBAC}/v1", rules=[]),
            "tenant/secret.json": manifest("Secret", "s", stringData={"a": "1"}),
        }
    )
    run = world.tenants_run(commit, errors=3)
    assert (run.applied, run.phase) == (1, "Failed")
    assert [error.rpartition("(")[2] for error in sorted(run.errors)] == [
        "tenant/role.json:1)",
        "tenant/elsewhere.json:1)",
        "tenant/secret.json:1)",
    ]
    assert all("the Repository's limits" in error for error in run.errors)
    assert world.cluster.get(f"/api/v1/namespaces/kube-system/configmaps/{world.name}") is None


def test_what_limits_came_to_exclude_stays_as_it_is(world: Tenancy) -> None:
    world.document()
    world.tenants_run(world.commit({"tenant/a.yaml": config_map("a1", "1"), "tenant/b.json": manifest(
        "ConfigMap", "b1", data={"value": "1"})}), errors=0)  # fmt: skip
    world.document(limits={"kinds": {"deny": ["ConfigMap"]}})
    run = world.tenants_run(world.work.head, errors=2)
    assert (run.applied, run.pruned) == (0, 0)
    world.document(limits={"kinds": {"deny": ["ConfigMap"], "allow": ["*"]}, "namespaces": ["*"]})
    world.commit({"tenant/a.yaml": None, "tenant/b.json": manifest("ConfigMap", "b1", data={"value": "2"})})
    world.tenants_run(world.work.head, errors=1)
    assert (world.value("a1"), world.value("b1")) == ("1", "1")


def test_a_kubeconfig_in_a_repository_is_never_run(world: Tenancy) -> None:
    world.document()
    touched = world.windlass.folder / "touched"
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "metadata": {"name": "kubeconfig"},
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [
            {
                "name": "a",
                "user": {
                    "exec": {
                        "apiVersion": "client.authentication.k8s.io/v1",
                        "command": "touch",
                        "args": [str(touched)],
                        "interactiveMode": "Never",
                    }
                },
            }
        ],
    }
    names = ("kubeconfig", ".kube/config", "config.yaml")
    files: dict[str, str | bytes | None] = {f"tenant/{name}": json.dumps(kubeconfig) for name in names}
    run = world.tenants_run(world.commit({**files, "tenant/mine.yaml": config_map("mine", "1")}), errors=1)
    assert "the cluster has no kind Config in v1" in run.errors[0]
    assert not touched.exists()


def test_the_command_line_deletes_as_the_account_too(world: Tenancy) -> None:
    world.document()
    world.tenants_run(world.commit({"tenant/a.yaml": config_map("mine", "1")}), errors=0)
    world.document(account="nobody")
    deleted = world.windlass.run("delete", world.tenant, "--yes")
    assert deleted.returncode == 1
    assert f'User "system:serviceaccount:{world.name}:nobody" cannot get resource "configmaps"' in deleted.stderr
    assert world.value("mine") == "1"
