"""An application that moves to another cluster: what it leaves behind stays, is counted, and is deleted when a person says so."""

from __future__ import annotations

import pytest

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


def documents(world: World, destination: str) -> None:
    """Two clusters: the second is the same API server seen as another one, with Windlass' records in another namespace."""
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        cluster("new", world.kubeconfig, namespace=f"{world.name}-windlass"),
        application(
            world.name,
            repository=world.name,
            path="manifests",
            namespace=f"{world.name}-{destination}",
            cluster=destination,
        ),
    )


def test_what_stays_on_the_former_cluster_is_said_until_it_is_deleted(
    world: World, control_plane: ControlPlane
) -> None:
    for name in ("local", "new"):
        control_plane.request(
            "POST",
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{world.name}-{name}"}},
        )
    documents(world, "local")
    old, new = (f"/api/v1/namespaces/{world.name}-{name}/configmaps/a" for name in ("local", "new"))
    until(lambda: world.cluster.get(old))
    until(lambda: world.windlass.last_run(world.name).phase == "Synced")
    documents(world, "new")
    until(lambda: world.cluster.get(new), show=lambda: world.windlass.log("worker")[-3000:])
    assert world.cluster.get(old), "nothing is deleted because a document changed"
    told = "objects stay on local, which its document named before: `windlass delete"
    until(lambda: told in world.windlass.run("status", world.name).stderr)
    world.push({"manifests/b.yaml": config_map("b", "1")})

    deleted = world.windlass.run("delete", world.name, "--cluster", "local", "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert "Its document names another cluster now" in deleted.stderr
    assert world.cluster.get(old) is None
    assert world.cluster.get(new)
    assert world.windlass.run("status", world.name).stderr == ""
    run = world.push({"manifests/b.yaml": config_map("b", "2")})
    assert (run.applied, run.errors) == (1, []), "what is known of the application is about the cluster where it is"
