"""Signed commits, whole: what is not signed as the repository's document asks never reaches the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client

from tests.e2e.world import World, config_map
from tests.parts.signing import Signer, signers
from tests.parts.windlass import application, cluster, repository
from windlass.documents.types import source_id

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def people() -> Iterator[tuple[Signer, Signer]]:
    """One whose key counts, and one whose doesn't."""
    with signers() as make:
        yield make.ssh("alice"), make.gpg("mallory")


@pytest.fixture
def world(parts_folder: Path, unique: str, kubeconfig: Path, people: tuple[Signer, Signer]) -> Iterator[World]:
    folder = parts_folder / unique
    folder.mkdir()
    made = World(folder, unique, kubeconfig)
    made.windlass.write(
        repository(unique, made.url, forge="generic", signedCommits={"keys": [people[0].document()]}),
        cluster("local", kubeconfig),
        application(unique, repository=unique, path="manifests", namespace=unique),
    )
    people[0].use(made.work)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def refusal(world: World, commit: str, seconds: float = 30) -> str:
    """The error with which ``commit`` was refused."""
    key = f"windlass:source:{source_id(world.name, 'refs/heads/main')}"
    deadline = time.monotonic() + seconds
    with redis_client.Redis.from_url(world.redis.url, decode_responses=True) as connection:
        while commit not in (error := str(connection.hget(key, "error"))):
            assert time.monotonic() < deadline, world.windlass.log("worker")[-3000:]
            time.sleep(0.05)
    return error


def test_only_what_is_signed_by_a_key_of_the_document_is_applied(world: World, people: tuple[Signer, Signer]) -> None:
    alice, mallory = people
    world.push({"manifests/a.yaml": config_map("a", "2")})
    good = world.work.head
    world.work.git("config", "commit.gpgSign", "false")
    unsigned = world.work.commit_and_push({"manifests/a.yaml": config_map("a", "unsigned")})
    world.deliver(unsigned)
    assert "found no signature; expected a signature by one of signedCommits.keys[0] (ssh)" in refusal(world, unsigned)
    mallory.use(world.work)
    foreign = world.work.commit_and_push({"manifests/a.yaml": config_map("a", "foreign")})
    world.deliver(foreign)
    assert "found a signature of the kind gpg, of which the policy has no key" in refusal(world, foreign)
    assert world.value("a") == "2"
    assert world.windlass.revision(world.name) == good
    alice.use(world.work)
    run = world.push({"manifests/a.yaml": config_map("a", "3")})
    assert (run.applied, world.value("a")) == (1, "3")


def test_a_branch_set_back_to_an_unsigned_commit_is_not_followed(world: World, people: tuple[Signer, Signer]) -> None:
    world.work.git("config", "commit.gpgSign", "false")
    older = world.work.commit({"manifests/a.yaml": config_map("a", "unsigned")})
    people[0].use(world.work)
    world.push({"manifests/a.yaml": config_map("a", "2")})
    world.work.git("reset", "-q", "--hard", older)
    world.work.push(force=True)
    world.deliver(older)
    assert "found no signature" in refusal(world, older)
    assert world.value("a") == "2"
