"""Custom resources drive the whole system: a team's Applications are applied, told of, followed and ended."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from tests.e2e.resources import Team
from tests.e2e.world import config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.process import free_port
from tests.parts.windlass import application, cluster, repository
from windlass.documents.resources import Resource
from windlass.queue.resources import KEY, Handover

pytestmark = pytest.mark.e2e

FINALIZER = "windlass.dev/objects"
FORGED = 10**15
ORPHAN = {"metadata": {"annotations": {"windlass.dev/deletion-policy": "orphan"}}}


@pytest.fixture(scope="module")
def team(parts_folder: Path, defined: ControlPlane) -> Iterator[Team]:
    """One installation for all of these tests; each has an application and a folder of its own."""
    name = f"t{uuid.uuid4().hex[:10]}"
    folder = parts_folder / name
    folder.mkdir()
    made = Team(folder, name, defined)
    try:
        made.start()
        made.create_secret()
        made.create_repository()
        with made.windlass.start():
            yield made
    finally:
        made.stop()


def start(team: Team, name: str, **spec: Any) -> None:
    """An application that is applied and healthy, of a folder with one ConfigMap, all of one name."""
    team.work.commit_and_push({f"{name}/one.yaml": config_map(name, "1")})
    team.create_application(name, path=name, **spec)
    team.wait_ready("Application", name)
    assert team.value(name) == "1"


def test_an_application_is_applied_followed_told_of_and_ended(team: Team) -> None:
    start(team, "shop")
    status = team.status("Application", "shop")
    assert (status["revision"], status["sync"], status["health"], status["objects"]) == (
        team.work.head,
        "Synced",
        "Healthy",
        1,
    )
    assert status["name"] == team.known_as("shop")
    # A push, signed with the Secret that the team's Repository names.
    assert team.push({"shop/one.yaml": config_map("shop", "2")}) == 202
    team.wait(lambda: team.value("shop") == "2", "the push was not applied")
    team.wait(lambda: team.status("Application", "shop")["revision"] == team.work.head, "the revision was not told")
    assert team.push({"shop/one.yaml": config_map("shop", "3")}, secret="another one") == 401
    # Deleting the resource deletes what it had, and nothing else.
    team.plane.request("POST", f"/api/v1/namespaces/{team.name}/configmaps", {"metadata": {"name": "mine"}})
    team.delete("Application", "shop")
    team.wait(lambda: team.found("Application", "shop") is None, "the resource did not go")
    assert team.value("shop") is None
    assert team.get(f"/api/v1/namespaces/{team.name}/configmaps/mine") is not None
    assert team.state(team.known_as("shop")).revision == ""


def test_one_that_becomes_wrong_says_so_and_deletes_nothing(team: Team) -> None:
    start(team, "edited")
    source = {"repository": "nowhere", "branch": "main", "path": "edited"}
    team.merge("Application", "edited", {"spec": {"sources": [source]}})
    said = team.wait_ready("Application", "edited", ready="False")
    assert (said["reason"], said["message"]) == (
        "Invalid",
        "spec.sources[0].repository: there is no valid Repository nowhere",
    )
    assert team.condition("Application", "edited", "Stalled")["status"] == "True"
    assert team.value("edited") == "1"
    assert FINALIZER in team.found("Application", "edited")["metadata"]["finalizers"]
    team.merge("Application", "edited", {"spec": {"sources": [{**source, "repository": "web"}]}})
    team.wait_ready("Application", "edited")


def test_a_namespaces_application_writes_nowhere_else(team: Team) -> None:
    """Whatever its manifests say, and whatever its account may do."""
    foreign = config_map("stray", "1").replace("name: stray", f"name: stray\n  namespace: {team.own}")
    team.work.commit_and_push({"outside/a.yaml": foreign, "outside/b.yaml": config_map("inside", "1")})
    team.create_application("outside", path="outside")
    said = team.wait(
        lambda: (one := team.condition("Application", "outside")).get("reason") in ("Failed", "Retrying") and one,
        "nothing was refused",
    )
    assert f"do not allow the namespace {team.own}" in said["message"]
    assert team.value("inside") == "1"
    assert team.value("stray", namespace=team.own) is None


def test_a_name_that_a_file_has_is_not_the_resources_to_delete(team: Team) -> None:
    """Resources of Windlass' own namespace have the names that files have."""
    team.work.commit_and_push({"both/one.yaml": config_map("both", "1")})
    team.windlass.write(
        repository("files", team.url, forge="generic"),
        application("both", repository="files", path="both", namespace=team.own),
        name="files.yaml",
    )
    team.wait(lambda: team.value("both", namespace=team.own) == "1", "the file's application was not applied")
    destination = {"cluster": "local", "namespace": team.own}
    sources = [{"repository": "files", "branch": "main", "path": "none"}]
    team.create_application("both", namespace=team.own, destination=destination, sources=sources)
    said = team.wait(
        lambda: (one := team.condition("Application", "both", namespace=team.own)) and one, "the resource says nothing"
    )
    assert said["message"].startswith("metadata.name: a second Application of this name; the first is in files.yaml")
    assert "revision" not in team.status("Application", "both", namespace=team.own)
    team.delete("Application", "both", namespace=team.own)
    team.wait(lambda: team.found("Application", "both", namespace=team.own) is None, "the resource did not go")
    assert team.value("both", namespace=team.own) == "1"


def test_who_writes_redis_chooses_nothing_and_a_lost_redis_is_refilled(team: Team) -> None:
    start(team, "kept")
    with redis_client.Redis.from_url(team.redis.url) as redis:
        team.wait(lambda: refused_by_all(team, redis), "somebody did not refuse it")
        redis.flushall()
        team.wait(lambda: generation(redis) > 0, "it was not refilled")
    assert team.push({"kept/one.yaml": config_map("kept", "2")}) == 202
    team.wait(lambda: team.value("kept") == "2", "the push was not applied")
    team.wait_ready("Application", "kept")
    assert team.value("kept", namespace=team.own) is None


def refused_by_all(team: Team, redis: Any) -> bool:
    """Did service and worker see what was forged? It is written over at once: who was busy saw nothing of it."""
    asyncio.run(forge(team))
    team.wait(lambda: 0 < generation(redis) < FORGED, "it was not written again")
    return all("resources.refused" in team.windlass.log(name) for name in ("worker", "service"))


async def forge(team: Team) -> None:
    """Somebody who writes Redis, but has no key, asks for an Application in Windlass' own namespace."""
    spec = {
        "sources": [{"repository": f"{team.name}--web", "branch": "main", "path": "kept"}],
        "destination": {"cluster": "local", "namespace": team.own},
    }
    forged = Resource("Application", team.own, "forged", "u", "2026-01-01T00:00:00Z", 1, spec)
    async with redis_client.asyncio.Redis.from_url(team.redis.url) as redis:
        await Handover(redis, b"a key that somebody made up by himself").write([forged], after=FORGED)


def generation(redis: Any) -> int:
    return int(redis.hget(KEY, "generation") or 0)


def test_a_resource_whose_cluster_is_gone_can_be_let_go(team: Team) -> None:
    far = cluster("far", team.plane.kubeconfig, namespace=team.own)
    team.windlass.write(far, name="far.yaml")
    start(team, "left", destination={"cluster": "far", "serviceAccount": "deployer"})
    spec: Any = {**far, "spec": {"server": f"https://127.0.0.1:{free_port()}", "token": {"env": "WINDLASS_KEY"}}}
    team.windlass.write(spec, name="far.yaml")
    time.sleep(2)  # until all have read it
    team.delete("Application", "left")
    said = team.wait(
        lambda: "can't be reached" in (one := team.condition("Application", "left")).get("message", "") and one,
        "nobody says why it stays",
    )
    assert said["reason"] == "Terminating"
    team.merge("Application", "left", ORPHAN)
    team.wait(lambda: team.found("Application", "left") is None, "the resource did not go")
    assert team.value("left") == "1"


def test_a_secret_that_is_not_there_is_told_and_found_when_it_comes(team: Team) -> None:
    secret = {"secret": {"name": "late", "key": "token"}}
    team.create("Repository", "late", {"url": team.url, "credentials": {"token": secret}})
    said = team.wait_ready("Repository", "late", ready="False")
    assert (said["reason"], said["message"]) == ("SecretMissing", f"the Secret {team.name}/late does not exist")
    body = {"metadata": {"name": "late"}, "stringData": {"token": "value-of-the-late-secret"}}
    team.plane.request("POST", f"/api/v1/namespaces/{team.name}/secrets", body)
    team.wait_ready("Repository", "late")
    with redis_client.Redis.from_url(team.redis.url) as redis:
        kept = b"".join(str(redis.dump(key)).encode() for key in redis.scan_iter())
    assert b"value-of-the-late-secret" not in kept
    assert "value-of-the-late-secret" not in team.windlass.log()


def test_a_pipeline_that_can_not_build_says_why(team: Team) -> None:
    """In Windlass' own namespace, where its Repository is, too."""
    spec = {"source": {"repository": "code", "branch": "nowhere"}, "image": "registry.example/shop/web"}
    team.create("Repository", "code", {"url": team.url, "forge": "generic"}, namespace=team.own)
    team.create("Pipeline", "web", spec, namespace=team.own)
    try:
        said = team.wait(
            lambda: (one := team.condition("Pipeline", "web", namespace=team.own)).get("status") == "False" and one,
            "the failure was not told",
        )
        assert (said["reason"], said["message"]) == ("BuildFailed", "code: there is no branch nowhere")
        assert team.condition("Pipeline", "web", "Stalled", namespace=team.own)["status"] == "True"
    finally:
        for kind, name in (("Pipeline", "web"), ("Repository", "code")):
            team.delete(kind, name, namespace=team.own)


def test_a_status_is_written_only_when_it_changes(team: Team) -> None:
    start(team, "quiet")
    before = writes(team, "quiet")
    time.sleep(4)
    assert writes(team, "quiet") == before
    assert before <= 8


def writes(team: Team, name: str) -> int:
    path = f"/namespaces/{team.name}/applications/{name}/status"
    return sum(path in str(event["requestURI"]) for event in team.plane.audited(verbs=("patch",)))
