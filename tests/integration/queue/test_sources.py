"""Sources and their generations, on a real Redis: nothing lost, nothing twice, never two runs at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from windlass.errors import LeaseLostError
from windlass.queue import Busy, LeaseKeeper, Mark, Run, SourceQueue

SOURCE = "shop-main-abc123"


class Queue:
    """The queue, with what a test asks of it."""

    def __init__(self, redis: Redis, keeper: LeaseKeeper) -> None:
        self.redis, self.keeper = redis, keeper
        self.sources = SourceQueue(redis, keeper=keeper)
        self._numbers = iter(range(1, 100_000))

    async def push(self, commit: str, *, delivery: str | None = None) -> str:
        name = f"delivery-{next(self._numbers)}" if delivery is None else delivery
        mark = Mark(SOURCE, commit, "", f"push {commit}", "digest")
        marked = await self.sources.mark([mark], event=name, delivery=name, received_at=time.time())
        return marked[0].outcome

    async def waiting(self) -> list[str]:
        return [raw.decode() for raw in await self.redis.lrange("rq:queue:windlass", 0, -1)]

    async def begin(self) -> Run:
        """Take the job that waits, as a worker does."""
        job = await self.redis.lpop("rq:queue:windlass")
        assert job is not None
        run = await self.sources.begin(job.decode(), SOURCE)
        assert isinstance(run, Run)
        return run

    async def complete(self, run: Run, commit: str) -> int | None:
        await self.sources.advance(run, commit=commit, documents="digest", dirty=[])
        return await self.sources.finish(run)


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    redis = Redis.from_url(redis_url)
    keeper = LeaseKeeper(redis, redis_url, seconds=3.0)
    keeper.start()
    made = Queue(redis, keeper)
    await made.sources.epoch(fresh=True)
    yield made
    await asyncio.to_thread(keeper.close)
    await redis.aclose()


async def test_the_first_push_queues_one_job_with_a_readable_name(queue: Queue) -> None:
    assert await queue.push("c1") == "queued"
    assert await queue.waiting() == [f"{SOURCE}-1"]
    job = await queue.redis.hgetall(f"rq:job:{SOURCE}-1")
    assert job[b"description"] == f"reconcile {SOURCE} (push c1)".encode()


async def test_more_pushes_while_a_job_waits_queue_nothing(queue: Queue) -> None:
    await queue.push("c1")
    assert [await queue.push(f"c{i}") for i in range(2, 50)] == ["coalesced"] * 48
    assert len(await queue.waiting()) == 1


async def test_a_hundred_pushes_while_a_run_is_held_make_exactly_one_more(queue: Queue) -> None:
    await queue.push("c0")
    run = await queue.begin()
    for number in range(100):
        await queue.push(f"c{number + 1}")
    assert await queue.waiting() == []
    assert await queue.complete(run, "c0") == 101
    assert await queue.waiting() == [f"{SOURCE}-101"]
    assert await queue.complete(await queue.begin(), "c100") is None
    assert await queue.waiting() == []


async def test_a_run_sees_every_push_since_the_last_one(queue: Queue) -> None:
    await queue.push("c1")
    await queue.push("c2")
    assert [hint.commit for hint in (await queue.begin()).hints] == ["c1", "c2"]


async def test_a_redelivery_of_what_is_applied_queues_nothing(queue: Queue) -> None:
    await queue.push("c1", delivery="d")
    await queue.complete(await queue.begin(), "c1")
    assert await queue.push("c1", delivery="d") == "applied"
    assert await queue.waiting() == []


async def test_a_redelivery_of_what_is_not_applied_retries_now(queue: Queue) -> None:
    await queue.push("c1", delivery="d")
    run = await queue.begin()
    await queue.sources.advance(run, commit="c1", documents="digest", dirty=["shop"])
    await queue.sources.finish(run, retry_in=300)
    assert await queue.push("c1", delivery="d") == "queued"


async def test_a_replayed_delivery_is_no_hint(queue: Queue) -> None:
    await queue.push("c1", delivery="d")
    await queue.complete(await queue.begin(), "c1")
    await queue.push("c2")
    await queue.complete(await queue.begin(), "c2")
    await queue.push("c1", delivery="d")
    assert (await queue.begin()).hints == ()


async def test_two_runs_of_a_source_are_never_at_once(queue: Queue) -> None:
    await queue.push("c1")
    run = await queue.begin()
    assert isinstance(await queue.sources.begin(f"{SOURCE}-1", SOURCE), Busy)
    await queue.complete(run, "c1")


async def test_a_job_whose_work_was_done_by_another_run_finds_nothing_left(queue: Queue) -> None:
    await queue.push("c1")
    await queue.complete(await queue.begin(), "c1")
    assert await queue.sources.begin(f"{SOURCE}-1", SOURCE) is None


async def test_a_push_that_lands_exactly_as_a_job_ends_is_never_lost(queue: Queue) -> None:
    await queue.push("c0")
    for number in range(300):
        run = await queue.begin()
        await asyncio.gather(queue.complete(run, f"c{number}"), queue.push(f"c{number + 1}"))
        assert len(await queue.waiting()) == 1, number


async def test_free_running_the_last_run_starts_after_the_last_push(queue: Queue) -> None:
    last_push, started, done = 0.0, 0.0, asyncio.Event()

    async def work() -> None:
        nonlocal started
        while not done.is_set() or await queue.waiting():
            if await queue.waiting():
                run = await queue.begin()
                started = time.monotonic()
                await queue.complete(run, "x")
            await asyncio.sleep(0)

    worker = asyncio.create_task(work())
    for number in range(200):
        last_push = time.monotonic()
        await queue.push(f"c{number}")
    done.set()
    await worker
    assert started > last_push
    state = await queue.sources.source_state(SOURCE)
    assert state["done"] == state["gen"]


async def test_a_run_that_lost_its_lease_can_write_nothing(queue: Queue) -> None:
    await queue.push("c1")
    run = await queue.begin()
    await queue.redis.set(f"windlass:lease:source:{SOURCE}", "999")
    with pytest.raises(LeaseLostError):
        await queue.sources.advance(run, commit="c1", documents="d", dirty=[])
    with pytest.raises(LeaseLostError):
        await queue.sources.finish(run)


async def test_state_under_an_old_token_is_refused(queue: Queue) -> None:
    lease = await queue.keeper.acquire("application", "shop")
    await queue.sources.record(lease, "shop", state={"phase": "Synced"})
    await queue.redis.set("windlass:lease:application:shop", str(lease.token + 1))
    with pytest.raises(LeaseLostError):
        await queue.sources.record(lease, "shop", state={"phase": "Failed"})
    assert await queue.redis.hget("windlass:app:shop", "phase") == b"Synced"


async def test_a_last_record_ends_the_lease_and_nothing_is_written_under_it_after(queue: Queue) -> None:
    lease = await queue.keeper.acquire("application", "shop")
    await queue.sources.record(lease, "shop", state={"phase": "Synced"}, release=True)
    second = await queue.keeper.try_acquire("application", "shop")
    assert second is not None
    await lease.release()
    await queue.sources.record(second, "shop", state={"phase": "Syncing"})
    with pytest.raises(LeaseLostError):
        await queue.sources.record(lease, "shop", state={"phase": "Synced"})


async def test_a_lease_is_renewed_for_as_long_as_its_holder_lives(queue: Queue) -> None:
    lease = await queue.keeper.acquire("application", "shop")
    await asyncio.sleep(3.5)
    assert not lease.lost
    assert lease.remaining() > 1


async def test_the_next_holder_waits_for_the_end_of_a_dead_ones_lease(queue: Queue) -> None:
    await queue.redis.set("windlass:lease:application:shop", "1", px=700)
    started = time.monotonic()
    await queue.keeper.acquire("application", "shop")
    assert time.monotonic() - started >= 0.7


async def test_a_lost_job_is_queued_again_by_the_sweep(queue: Queue) -> None:
    await queue.push("c1")
    await queue.redis.delete("rq:queue:windlass", f"rq:job:{SOURCE}-1")
    assert await queue.sources.sweep({SOURCE: "digest"}) == [SOURCE]
    assert await queue.waiting() == [f"{SOURCE}-2"]


async def test_a_job_that_waits_or_runs_is_left_alone_by_the_sweep(queue: Queue) -> None:
    await queue.push("c1")
    assert await queue.sources.sweep({SOURCE: "digest"}) == []


async def test_a_job_that_a_dead_worker_took_and_never_began_comes_back(queue: Queue) -> None:
    await queue.push("c1")
    await queue.redis.lmove("rq:queue:windlass", "rq:queue:windlass:intermediate", "LEFT", "RIGHT")
    for _ in range(3):
        await queue.sources.sweep({SOURCE: "digest"})
    assert await queue.waiting() == [f"{SOURCE}-1"]


async def test_a_job_that_rq_gave_up_parks_its_source_until_the_next_push(queue: Queue) -> None:
    await queue.push("c1")
    await queue.redis.delete("rq:queue:windlass")
    await queue.redis.hset(f"rq:job:{SOURCE}-1", "status", "failed")
    assert await queue.sources.sweep({SOURCE: "digest"}) == []
    assert "three times" in (await queue.sources.source_state(SOURCE))["error"]
    assert await queue.sources.sweep({SOURCE: "digest"}) == []
    assert await queue.push("c2") == "queued"


async def test_work_that_is_handed_back_goes_to_the_front(queue: Queue) -> None:
    await queue.push("c1")
    run = await queue.begin()
    await queue.redis.rpush("rq:queue:windlass", "other-1")
    await queue.sources.hand_back(run)
    assert await queue.waiting() == [f"{SOURCE}-2", "other-1"]
    assert (await queue.begin()).generation == 2


async def test_a_retry_is_due_when_its_time_has_come_and_a_push_takes_its_place(queue: Queue) -> None:
    await queue.push("c1")
    run = await queue.begin()
    await queue.sources.finish(run, error="the forge is away", retry_in=5)
    assert await queue.sources.due_retries(time.time()) == []
    assert await queue.sources.due_retries(time.time() + 6) == [SOURCE]
    await queue.push("c2")
    assert await queue.sources.due_retries(time.time() + 6) == []


async def test_redis_memory_is_new_once(queue: Queue) -> None:
    await queue.redis.flushall()
    assert await queue.sources.epoch(fresh=True)
    assert not await queue.sources.epoch()


async def test_after_redis_lost_its_memory_leases_wait_for_whoever_still_writes(queue: Queue) -> None:
    await queue.redis.flushall()
    await queue.sources.epoch(settle_seconds=0.6)
    started = time.monotonic()
    await queue.keeper.acquire("application", "shop")
    assert time.monotonic() - started >= 0.55


async def test_rq_reads_the_job_as_its_own(queue: Queue, redis_url: str) -> None:
    from redis import Redis as SyncRedis
    from rq import Queue as RqQueue
    from rq.serializers import JSONSerializer

    await queue.push("c1")

    def look() -> Any:
        with SyncRedis.from_url(redis_url) as connection:
            return RqQueue("windlass", connection=connection, serializer=JSONSerializer).jobs[0]

    job = await asyncio.to_thread(look)
    assert (job.func_name, list(job.args), job.retries_left) == ("reconcile", [SOURCE, 1, "digest"], 2)


async def test_in_a_lost_memory_no_lease_is_given_before_its_last_holder_can_no_longer_write(queue: Queue) -> None:
    """Nobody has looked at the epoch yet: a lease that is asked for finds out by itself."""
    await queue.push("c1")
    first = await queue.begin()
    await queue.redis.flushall()
    await queue.push("c2")
    job = await queue.redis.lpop("rq:queue:windlass")
    second = await queue.sources.begin(job.decode(), SOURCE)
    assert isinstance(second, Busy)
    assert second.wait_seconds > first.lease.remaining()
    with pytest.raises(LeaseLostError):
        await queue.sources.advance(first, commit="c1", documents="d", dirty=[])


async def test_whoever_looks_at_the_epoch_later_prolongs_nobodys_wait(queue: Queue) -> None:
    await queue.redis.flushall()
    assert await queue.keeper.try_acquire("application", "shop") is None
    before = await queue.redis.pttl("windlass:settling")
    assert await queue.sources.epoch(settle_seconds=3600)
    assert 0 < await queue.redis.pttl("windlass:settling") <= before


async def test_no_token_is_given_twice_even_if_the_memory_was_lost(queue: Queue) -> None:
    before = await queue.keeper.acquire("application", "shop")
    await queue.redis.flushall()
    await queue.sources.epoch(fresh=True)
    after = await queue.keeper.acquire("application", "shop")
    assert after.token > before.token
    with pytest.raises(LeaseLostError):
        await queue.sources.record(before, "shop", state={"phase": "Synced"})


async def test_the_newest_pushes_stay_known_however_many_came_during_a_run(queue: Queue) -> None:
    for number in range(20):
        await queue.push(f"old{number}")
    run = await queue.begin()
    for number in range(20):
        await queue.push(f"new{number}")
    await queue.complete(run, "old19")
    assert [hint.commit for hint in (await queue.begin()).hints] == [f"new{number}" for number in range(20)]


async def test_a_hint_that_can_not_be_read_stops_nothing(queue: Queue) -> None:
    await queue.push("c1")
    await queue.redis.lpush(f"windlass:source:{SOURCE}:hints", "no hint")
    run = await queue.begin()
    assert [hint.commit for hint in run.hints] == ["c1"]
    assert await queue.complete(run, "c1") is None


async def test_a_parked_source_is_not_tried_again_by_what_only_looks(queue: Queue) -> None:
    await queue.push("c1")
    await queue.redis.delete("rq:queue:windlass")
    await queue.redis.hset(f"rq:job:{SOURCE}-1", "status", "failed")
    await queue.sources.sweep({SOURCE: "digest"})
    nudged = await queue.sources.nudge(SOURCE, digest="digest", reason="the documents changed")
    assert (nudged.outcome, await queue.waiting()) == ("parked", [])
    asked = await queue.sources.nudge(SOURCE, digest="digest", reason="windlass sync", dirty=["shop"])
    assert (asked.outcome, len(await queue.waiting())) == ("queued", 1)


async def test_what_is_asked_for_while_a_run_goes_on_is_not_done_by_it(queue: Queue) -> None:
    lease = await queue.keeper.acquire("application", "shop")
    await queue.redis.hincrby("windlass:app:shop", "whole", 1)
    await queue.sources.nudge(SOURCE, digest="digest", reason="windlass sync", dirty=["shop"])
    await queue.sources.record(lease, "shop", state={"phase": "Synced"}, clean=SOURCE, whole="")
    assert await queue.redis.hget("windlass:app:shop", "whole") == b"1"
    assert await queue.redis.smembers(f"windlass:source:{SOURCE}:dirty") == {b"shop"}
    await queue.sources.record(lease, "shop", state={"phase": "Synced"}, clean=SOURCE, whole="1")
    assert await queue.redis.hget("windlass:app:shop", "whole") is None
    assert await queue.redis.smembers(f"windlass:source:{SOURCE}:dirty") == set()
