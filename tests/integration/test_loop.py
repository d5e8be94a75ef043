"""Nothing holds the event loop over 50 ms: leases, other clusters and other commits wait for it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

from tests.parts.git import ENVIRONMENT
from tests.parts.git_http import GitHttp
from tests.parts.stall import LONGEST, stall
from windlass.documents.types import Application, ApplicationSpec, Cluster, ClusterSpec, Destination, Source
from windlass.secrets import Secrets
from windlass.state import ApplicationState, objects_key
from workers.aiogit import GitRepository, Remote
from workers.cluster import ClusterAccess
from workers.desired import SourceAt, desired
from workers.followed import Followed
from workers.inventory import Claims
from workers.kube.connect import connect
from workers.plan import Entry
from workers.planning import Asked, Planner

pytestmark = pytest.mark.integration
MAIN = "refs/heads/main"
MANIFESTS, OTHERS = 10_000, 20_000
SOURCE = Source(repository="large", branch="main", path="manifests")
APPLICATION = Application("large", ApplicationSpec(sources=[SOURCE], destination=Destination("local", "large")))
KEY = b"0" * 32


class Large(NamedTuple):
    """A repository of 10,000 manifests, and a commit that adds 20,000 other files, half of them in one folder."""

    repository: GitRepository
    old: str
    new: str


def stream() -> Iterator[bytes]:
    """Two commits as `git fast-import` reads them."""
    for mark, message in enumerate((b"manifests", b"others"), 1):
        yield b"commit %s\nmark :%d\ncommitter A <a@b> %d +0000\ndata %d\n%s\n" % (
            MAIN.encode(), mark, 1_700_000_000 + mark, len(message), message,
        )  # fmt: skip
        yield b"".join(_manifests() if mark == 1 else _others())


def _manifests() -> Iterator[bytes]:
    for number in range(MANIFESTS):
        body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm-%05d\ndata:\n  value: a\n" % number
        yield b"M 100644 inline manifests/%03d/%05d.yaml\ndata %d\n%s\n" % (number // 100, number, len(body), body)


def _others() -> Iterator[bytes]:
    for number in range(OTHERS):
        folder = b"flat" if number % 2 else b"deep/%03d" % (number // 100)
        yield b"M 100644 inline others/%s/%05d.txt\ndata 5\n%05d\n" % (folder, number, number)


@pytest.fixture
async def large(git_http: GitHttp, tmp_path: Path) -> AsyncIterator[Large]:
    url = git_http.create("large")
    bare = git_http.root / "large.git"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=bare, input=b"".join(stream()), env=ENVIRONMENT, check=True)
    commits = subprocess.run(["git", "rev-list", MAIN], cwd=bare, capture_output=True, text=True, check=True)
    new, old = commits.stdout.split()
    repository = GitRepository(tmp_path / "store.git", Remote(url))
    await repository.open()
    await repository.fetch(MAIN, new, name="large")
    yield Large(repository, old, new)
    await repository.close()


async def test_to_find_out_that_20_000_changed_files_touch_nobody(large: Large) -> None:
    followed = Followed(SOURCE.id, [APPLICATION], {})
    async with stall() as found:
        assert await followed.touched(large.repository, large.old, large.new) == set()
    assert found.seconds < LONGEST


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[ClusterAccess]:
    document = Cluster("local", ClusterSpec(kubeconfig=str(kubeconfig)))
    access = ClusterAccess(document, await connect(document, Secrets()))
    await access.discovery.resource("v1", "ConfigMap")
    yield access
    await access.client.close()


async def test_a_whole_plan_of_10_000_objects(large: Large, cluster: ClusterAccess, redis_url: str) -> None:
    """Half of the inventory is as Git has it, the other half is not, and a hundred objects are no longer there."""
    at = SourceAt(SOURCE, large.repository, large.new)

    async def nothing(_: object = None) -> None:
        return None

    async with stall() as rendering:
        wanted = await desired([at], nothing, nothing, KEY)
    entries = {
        f"ConfigMap/large/{item.name}": Entry(item.hash if place % 2 else "other", "", item.file).dump()
        for place, item in enumerate(wanted.rendered.wanted)
    }
    gone = {f"ConfigMap/large/gone-{n}": Entry("h", "", "manifests/gone.yaml").dump() for n in range(100)}
    async with Redis.from_url(redis_url) as redis:
        await redis.hset(objects_key("large"), mapping=entries | gone)
        asked = Asked(APPLICATION, ApplicationState("large", objects=MANIFESTS), wanted, [at], False, ())
        claims = Claims(redis, "local", "large", yielding=())
        planner = Planner(redis, cluster, cluster.applyset("large"), claims, asked)
        async with stall() as planning:
            plan = await planner.plan(trusted=True)
    assert (len(plan.writes), plan.unchanged, len(plan.leaving)) == (MANIFESTS / 2, MANIFESTS / 2, 100)
    assert rendering.seconds < LONGEST
    assert planning.seconds < LONGEST
