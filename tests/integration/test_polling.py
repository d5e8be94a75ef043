"""Webhooks that never arrive, on a real Redis and real Git servers: found by the poll, which costs one question each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from redis.asyncio import Redis

from tests.parts.git import WorkTree
from tests.parts.git_http import GitHttp
from tests.parts.windlass import API_VERSION, application, cluster, repository
from windlass.documents.directory import DocumentDirectory
from windlass.documents.types import source_id
from windlass.queue import LeaseKeeper, Mark, SourceQueue
from windlass.semver import semver_ref
from windlass.settings import Settings
from windlass.wire import text
from workers.context import Context
from workers.polling import Poller

pytestmark = pytest.mark.integration

INTERVAL = 0.2
"""Seconds; less than the settings allow, so that many polls take a moment."""


class Bench:
    """Documents, a Redis, and the pollers of one or more workers; no worker takes the jobs, so that they can be seen."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.url = folder, redis_url
        self.redis = Redis.from_url(redis_url)
        self.keeper = LeaseKeeper(self.redis, redis_url)
        self.queue = SourceQueue(self.redis, keeper=self.keeper)
        self._contexts: list[Context] = []
        self._tasks: list[asyncio.Task[None]] = []
        (folder / "documents").mkdir()

    def write(self, *documents: dict[str, Any]) -> None:
        everything = [*documents, cluster("local", "/nowhere")]
        (self.folder / "documents" / "all.yaml").write_text(yaml.safe_dump_all(everything))

    def start(self) -> None:
        """One more worker's poller."""
        settings = Settings.from_env(
            {
                "REDIS_URL": self.url,
                "WINDLASS_DOCUMENTS": str(self.folder / "documents"),
                "WINDLASS_DATA": str(self.folder / f"data-{len(self._contexts)}"),
            }
        )
        context = Context(
            msgspec.structs.replace(settings, poll_seconds=INTERVAL),
            DocumentDirectory(settings.documents),
            redis=self.redis,
            queue=self.queue,
            leases=self.keeper,
            secret_key=b"k" * 32,
        )
        assert context.catalog.errors == ()
        self._contexts.append(context)
        self._tasks.append(asyncio.create_task(Poller(context).run()))

    async def jobs(self) -> list[str]:
        return [text(raw) for raw in await self.redis.lrange("rq:queue:windlass", 0, -1)]

    async def field(self, source: str, name: str) -> str:
        return (await self.queue.source_state(source)).get(name, "")

    async def processed(self, source: str, commit: str) -> None:
        """As if a run had applied ``commit``."""
        job = await self.redis.lpop("rq:queue:windlass")
        if job is None:
            await self.queue.nudge(source, digest="d", reason="test")
            job = await self.redis.lpop("rq:queue:windlass")
        assert job is not None
        await self.queue.epoch(fresh=True)
        run: Any = await self.queue.begin(text(job), source)
        await self.queue.advance(run, commit=commit, documents="d", dirty=[])
        await self.queue.finish(run)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for context in self._contexts:
            await context.close()
        await self.redis.aclose()


@pytest.fixture
async def bench(tmp_path: Path, redis_url: str) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, redis_url)
    yield made
    await made.close()


async def until(true: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)


def shop(git_http: GitHttp, folder: Path, name: str = "shop") -> tuple[str, WorkTree]:
    return git_http.create(name), git_http.work_tree(name, folder / f"work-{name}")


def questions(git_http: GitHttp, name: str = "shop") -> int:
    return sum(method == "POST" and path.startswith(f"/{name}.git") for method, path, _ in git_http.requests)


MAIN = source_id("shop", "refs/heads/main")


async def test_a_lost_webhook_is_found_and_marks_its_source_without_a_hint(
    bench: Bench, git_http: GitHttp, tmp_path: Path
) -> None:
    url, tree = shop(git_http, tmp_path)
    commit = tree.commit_and_push({"a.yaml": "1"})
    bench.write(repository("shop", url), application("shop", repository="shop"))
    bench.start()
    await until(bench.jobs)
    assert await bench.jobs() == [f"{MAIN}-1"]
    job = await bench.redis.hgetall(f"rq:job:{MAIN}-1")
    assert job[b"description"] == f"reconcile {MAIN} (poll {commit[:8]})".encode()
    assert await bench.redis.llen(f"windlass:source:{MAIN}:hints") == 0, "nobody has signed it"
    assert await bench.field(MAIN, "heard") == ""


async def test_a_pipelines_lost_webhook_is_found_by_the_same_question(
    bench: Bench, git_http: GitHttp, tmp_path: Path
) -> None:
    url, tree = shop(git_http, tmp_path)
    tree.commit_and_push({"Dockerfile": "FROM scratch\n"})
    pipeline = {
        "apiVersion": API_VERSION,
        "kind": "Pipeline",
        "metadata": {"name": "web"},
        "spec": {"source": {"repository": "shop"}, "image": "registry.example/shop/web"},
    }
    bench.write(repository("shop", url), pipeline)
    bench.start()
    await until(bench.jobs)
    assert await bench.jobs() == ["pipeline_web-1"]


async def test_a_tip_that_was_processed_or_marked_before_is_no_news(
    bench: Bench, git_http: GitHttp, tmp_path: Path
) -> None:
    url, tree = shop(git_http, tmp_path)
    commit = tree.commit_and_push({"a.yaml": "1"})
    bench.write(repository("shop", url), application("shop", repository="shop"))
    await bench.processed(MAIN, commit)
    generation = await bench.field(MAIN, "gen")
    bench.start()
    await until(lambda: questions(git_http) >= 3)
    assert await bench.field(MAIN, "gen") == generation
    tree.commit_and_push({"a.yaml": "2"})
    await until(bench.jobs)
    asked = questions(git_http)
    await until(lambda: questions(git_http) >= asked + 3)
    assert await bench.field(MAIN, "gen") == str(int(generation) + 1), "one mark for one tip"


async def test_all_sources_of_a_repository_take_one_question(bench: Bench, git_http: GitHttp, tmp_path: Path) -> None:
    url, tree = shop(git_http, tmp_path)
    commit = tree.commit_and_push({"a.yaml": "1"})
    for number in range(5):
        tree.git("push", "-q", "origin", f"main:refs/heads/b{number}")
        tree.git("push", "-q", "origin", f"main:refs/tags/v1.{number}.0")
    versions = application("versions", repository="shop")
    versions["spec"]["sources"] = [{"repository": "shop", "semver": "^1.2"}]  # type: ignore[index]
    pinned = application("pinned", repository="shop")
    pinned["spec"]["sources"] = [{"repository": "shop", "commit": commit}]  # type: ignore[index]
    branches = [application(f"a{number}", repository="shop", branch=f"b{number}") for number in range(5)]
    bench.write(repository("shop", url), versions, pinned, *branches)
    bench.start()
    await until(bench.jobs)
    sources = {source_id("shop", f"refs/heads/b{number}") for number in range(5)} | {
        source_id("shop", semver_ref("^1.2"))
    }
    assert {job.rpartition("-")[0] for job in await bench.jobs()} == sources
    assert questions(git_http) == 1


async def test_a_repository_whose_webhooks_arrive_is_left_alone(
    bench: Bench, git_http: GitHttp, tmp_path: Path
) -> None:
    heard_url, heard_tree = shop(git_http, tmp_path, "heard")
    silent_url, silent_tree = shop(git_http, tmp_path, "silent")
    for tree in (heard_tree, silent_tree):
        tree.commit_and_push({"a.yaml": "1"})
    bench.write(
        repository("heard", heard_url), application("heard", repository="heard"),
        repository("silent", silent_url), application("silent", repository="silent"),
    )  # fmt: skip
    source = source_id("heard", "refs/heads/main")
    mark = Mark(source, heard_tree.head, "", "push", "d")
    await bench.queue.mark([mark], event="e", delivery="signed", received_at=time.time())
    bench.start()
    await until(lambda: questions(git_http, "silent") >= 4)
    assert questions(git_http, "heard") <= 1, "the first look alone"
    await until(_longer_than(bench, "windlass:poll:heard", 600_000))


async def test_a_dead_repository_is_asked_ever_less_often_and_holds_up_no_other(
    bench: Bench, git_http: GitHttp, tmp_path: Path
) -> None:
    url, tree = shop(git_http, tmp_path)
    tree.commit_and_push({"a.yaml": "1"})
    asked, now, most = 0, 0, 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked, now, most
        asked, now = asked + 1, now + 1
        most = max(most, now)
        try:
            await reader.read()  # and never an answer
        finally:
            now -= 1
            writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as dead:
        port = dead.sockets[0].getsockname()[1]
        lost = [
            document
            for number in range(12)
            for document in (
                repository(f"lost{number}", f"http://127.0.0.1:{port}/lost{number}.git"),
                application(f"lost{number}", repository=f"lost{number}"),
            )
        ]
        refused = repository("refused", "http://127.0.0.1:1/x.git")
        bench.write(
            *lost, refused, application("refused", repository="refused"),
            repository("shop", url), application("shop", repository="shop"),
        )  # fmt: skip
        bench.start()
        await until(lambda: asked > 0 and questions(git_http) >= 4)
        assert f"{MAIN}-1" in await bench.jobs()
        assert most <= 4, "at most so many questions at once to one server"
        await until(_longer_than(bench, "windlass:poll:refused", 1500))


def _longer_than(bench: Bench, key: str, milliseconds: int) -> Callable[[], Any]:
    async def longer() -> bool:
        return bool(await bench.redis.pttl(key) > milliseconds)

    return longer


async def test_several_workers_share_the_polls(bench: Bench, git_http: GitHttp, tmp_path: Path) -> None:
    url, tree = shop(git_http, tmp_path)
    await bench.processed(MAIN, tree.commit_and_push({"a.yaml": "1"}))
    bench.write(repository("shop", url), application("shop", repository="shop"))
    started = time.monotonic()
    for _ in range(4):
        bench.start()
    await until(lambda: questions(git_http) >= 4)
    assert questions(git_http) <= (time.monotonic() - started) / (0.8 * INTERVAL) + 1
    assert await bench.jobs() == []
