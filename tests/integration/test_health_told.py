"""What follows from an application's health, on a real Redis: who is told, and who goes on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import yaml
from redis.asyncio import Redis

from tests.parts.windlass import application, cluster, repository
from windlass.documents.directory import DocumentDirectory
from windlass.health import HEALTHY, PROGRESSING, begun
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.settings import Settings
from windlass.state import RunRecord, Standing, read_state
from windlass.wire import text
from workers.context import Context
from workers.health.status import CURRENT, Health, failed, in_progress
from workers.kube.keys import ObjectKey
from workers.watch.checks import Checks
from workers.watch.tell import Patient, Teller

pytestmark = pytest.mark.integration
WEB, DB = (ObjectKey("apps", "Deployment", "shop", name) for name in ("web", "db"))
SLOW = in_progress("TooFew", "0 of 1")


class Watch:
    """A cluster's watch, without the cluster; and its applications: shop, and behind, which waits for shop."""

    def __init__(self, context: Context) -> None:
        self.context, self.redis, self.told = context, context.redis, list[str]()

    async def begin(self) -> None:
        lease = await self.context.leases.acquire("watcher", "local")
        self.teller = Teller(self.context, "local", lease, self._changed)

    async def _changed(self, name: str) -> None:
        self.told.append(name)

    async def run(self, name: str = "shop", *, phase: str = "Synced", awaits: tuple[ObjectKey, ...] = ()) -> None:
        """A run of the application that wrote its objects."""
        lease = await self.context.leases.acquire("application", name)
        standing = Standing(awaits=list(map(str, awaits)))
        raw = msgspec.json.encode(RunRecord("e", "c", phase, started=time.time()))
        fields = {"phase": phase, "last": raw.decode(), "standing": msgspec.json.encode(standing).decode()}
        await self.context.queue.record(lease, name, state=fields, history=raw, health=begun(time.time()), turn=True)
        await lease.release()

    async def patient(self, **found: Health) -> Patient:
        """As the watcher sees it, after a first reading."""
        checks, now = Checks(300), time.monotonic()
        for name, health in found.items():
            key = {"web": WEB, "db": DB}[name]
            checks.written([key], now)
            checks.found(key, health, "1", now, now)
        return Patient(checks, await self.teller.facts("shop"))

    async def jobs(self) -> list[str]:
        return [text(raw) for raw in await self.redis.lrange("rq:queue:windlass", 0, -1)]


@pytest.fixture
async def watch(tmp_path: Path, redis_url: str) -> AsyncIterator[Watch]:
    (tmp_path / "documents").mkdir()
    documents = [
        repository("shop", "http://127.0.0.1/shop.git", forge="generic"),
        cluster("local", "/nowhere"),
        application("shop", repository="shop", namespace="shop"),
        application("behind", repository="shop", branch="other", namespace="shop", sync={"dependsOn": ["shop"]}),
    ]
    (tmp_path / "documents" / "all.yaml").write_text(yaml.safe_dump_all(documents))
    environment = {"WINDLASS_DOCUMENTS": str(tmp_path / "documents"), "WINDLASS_DATA": str(tmp_path / "data")}
    settings = Settings.from_env({"REDIS_URL": redis_url, "WEBHOOK_SECRET": "s", **environment})
    redis = Redis.from_url(redis_url)
    keeper = LeaseKeeper(redis, redis_url)
    queue = SourceQueue(redis, keeper=keeper)
    await queue.epoch(fresh=True)
    context = Context(
        settings, DocumentDirectory(settings.documents), redis=redis, queue=queue, leases=keeper, secret_key=b"k" * 32
    )
    assert context.catalog.errors == ()
    made = Watch(context)
    await made.begin()
    yield made
    await context.close()
    await redis.aclose()


async def test_the_state_the_record_and_the_commits_are_told_once(watch: Watch) -> None:
    await watch.run()
    patient = await watch.patient(web=CURRENT, db=CURRENT)
    for _ in range(3):
        await watch.teller.tell("shop", patient)
    state = await read_state(watch.redis, "shop")
    assert state.last is not None
    assert (state.health.status, state.health.objects, state.last.health) == (HEALTHY, 2, HEALTHY)
    assert watch.told == ["shop"]
    assert patient.idle


async def test_nothing_is_said_of_a_turn_that_is_over(watch: Watch) -> None:
    await watch.run()
    patient = await watch.patient(web=CURRENT)
    await watch.run()
    await watch.teller.tell("shop", patient)
    assert (await read_state(watch.redis, "shop")).health.status == PROGRESSING
    assert watch.told == []


async def test_nothing_is_said_of_an_application_that_was_never_applied(watch: Watch) -> None:
    await watch.teller.tell("shop", await watch.patient())
    assert (await read_state(watch.redis, "shop")).health.status == ""


async def test_who_depends_on_it_goes_on_when_it_is_healthy(watch: Watch) -> None:
    await watch.run()
    await watch.run("behind", phase="Waiting")
    await watch.teller.tell("shop", await watch.patient(web=SLOW))
    assert await watch.jobs() == []
    await watch.teller.tell("shop", await watch.patient(web=CURRENT))
    [job] = await watch.jobs()
    assert job.startswith(watch.context.catalog.applications["behind"].source.id)


@pytest.mark.parametrize(
    ("web", "db", "goes_on"),
    [(CURRENT, SLOW, False), (CURRENT, CURRENT, True), (failed("No", "no"), SLOW, True), (SLOW, SLOW, False)],
)
async def test_a_run_goes_on_when_the_last_object_that_it_waits_for_is_settled(
    watch: Watch, web: Health, db: Health, goes_on: bool
) -> None:
    await watch.run(phase="Waiting", awaits=(WEB, DB))
    patient = await watch.patient(web=web, db=db)
    await watch.teller.ended(watch.context.catalog.applications["shop"], patient, [WEB])
    assert bool(await watch.jobs()) == goes_on


async def test_an_object_that_nobody_waits_for_makes_nobody_go_on(watch: Watch) -> None:
    await watch.run(phase="Waiting", awaits=(DB,))
    patient = await watch.patient(web=CURRENT, db=CURRENT)
    await watch.teller.ended(watch.context.catalog.applications["shop"], patient, [WEB])
    assert await watch.jobs() == []
