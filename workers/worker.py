"""The asyncio RQ worker: one event loop, many jobs at once, warm connections.

It is a `BaseWorker`, so that `rq info`, rq-dashboard and RQ's registries see it like any other. Taking a job is BLMOVE, HGETALL
and one transaction, ending it one more. Heartbeats are seconds apart, on the lease keeper's thread: a killed worker's jobs
are back in the queue in seconds. Functions are those of the registry that it is given; nothing else is ever run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError
from rq.executions import Execution, cleanup_execution
from rq.job import Job, JobStatus
from rq.job_lifecycle import format_exc_info
from rq.utils import now
from rq.worker import BaseWorker, WorkerStatus

from windlass import metrics
from windlass.queue.leases import LeaseKeeper
from windlass.queue.rqjob import JOB_PREFIX, SERIALIZER, WindlassJob, call_of
from windlass.wire import text
from workers.services import Service, kept_running, stop

log = structlog.get_logger(__name__)

Function = Callable[..., Awaitable[Any]]

HEARTBEAT_TTL = 5
"""Seconds without a heartbeat after which a job is taken to have lost its worker."""
MAINTENANCE_SECONDS = 2.0
POP_SECONDS = 2
"""How long one BLMOVE waits: no delay for a job, only how often an idle connection is heard of."""
RECONNECT_SECONDS = 0.5


async def _at_once() -> None:
    return


class WindlassWorker(BaseWorker):
    """Runs the jobs of one queue."""

    job_class = WindlassJob

    def __init__(
        self,
        queue_name: str,
        *,
        connection: Redis,
        redis: AsyncRedis,
        keeper: LeaseKeeper,
        functions: Mapping[str, Function],
        services: Sequence[Service] = (),
        ready: Callable[[], Awaitable[Any]] = _at_once,
        concurrency: int = 16,
        drain_seconds: float = 25.0,
    ) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        super().__init__([queue_name], name=name, connection=connection, serializer=SERIALIZER, worker_ttl=30)
        self._redis, self._keeper, self._functions, self._services = redis, keeper, functions, services
        self._concurrency, self._drain_seconds, self._ready = concurrency, drain_seconds, ready
        self._queue = self.queues[0]
        self._running: set[asyncio.Task[None]] = set()
        self._started: dict[str, tuple[Job, Execution]] = {}
        self._started_lock = threading.Lock()
        self._stop = asyncio.Event()

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return HEARTBEAT_TTL

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then drain, and hand back what is left."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self._born()
        self._keeper.every_beat(self._beat)
        self._keeper.start()
        background = [asyncio.create_task(kept_running(service)) for service in (*self._services, self._maintain)]
        log.info("worker.started", worker=self.name, concurrency=self._concurrency)
        try:
            await self._ready_or_stopped()
            await self._take_jobs()
        finally:
            await self._drain()
            await stop(background)
            with contextlib.suppress(RedisError):
                await asyncio.to_thread(self.register_death)
            self._keeper.close()
            log.info("worker.stopped", worker=self.name)

    async def _ready_or_stopped(self) -> None:
        waits = [asyncio.ensure_future(wait) for wait in (self._ready(), self._stop.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _born(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._be_born)
                await asyncio.to_thread(self.set_state, WorkerStatus.IDLE)
                return
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    def _be_born(self) -> None:
        register: Callable[[], None] = self.register_birth
        register()

    # -- taking jobs ----------------------------------------------------------------------------------------------

    async def _take_jobs(self) -> None:
        slots = asyncio.Semaphore(self._concurrency)
        metrics.JOBS_LIMIT.set(self._concurrency)
        metrics.JOBS_RUNNING.set_function(lambda: len(self._running))
        stop = asyncio.create_task(self._stop.wait())
        while not self._stop.is_set():
            await slots.acquire()
            pop = asyncio.create_task(self._pop())
            await asyncio.wait((pop, stop), return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                await self._put_back(pop)
                break
            job_id = pop.result()
            if job_id is None:
                slots.release()
                continue
            task = asyncio.create_task(self._work_on(job_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _: slots.release())
        stop.cancel()

    async def _pop(self) -> str | None:
        try:
            raw = await self._redis.blmove(
                self._queue.key, self._queue.intermediate_queue_key, POP_SECONDS, src="LEFT", dest="RIGHT"
            )
        except RedisError as error:
            log.warning("redis.unreachable", error=str(error))
            await asyncio.sleep(RECONNECT_SECONDS)
            return None
        try:
            return text(raw) if raw else None
        except UnicodeDecodeError:
            log.error("job.unreadable", job=repr(raw))
            await self._redis.lrem(self._queue.intermediate_queue_key, 1, raw)  # type: ignore[arg-type]  # bytes are as good
            return None

    async def _put_back(self, pop: asyncio.Task[str | None]) -> None:
        """Wait for the last BLMOVE: cut off, it might still take a job that nobody would hear of."""
        if job_id := await pop:
            async with self._transaction() as pipeline:
                pipeline.lrem(self._queue.intermediate_queue_key, 1, job_id)
                pipeline.lpush(self._queue.key, job_id)

    # -- one job --------------------------------------------------------------------------------------------------

    async def _work_on(self, job_id: str) -> None:
        try:
            job = await self._fetch(job_id)
            if job is None:
                return
            starting = asyncio.create_task(self._start(job))
            try:
                await self._perform(job, starting)
            finally:
                execution = await starting
                with self._started_lock:
                    self._started.pop(execution.id, None)
                    self.executions.pop(execution.id, None)
        except RedisError as error:
            log.warning("job.unfinished", job=job_id, error=str(error))
        except Exception as error:
            log.error("job.unfinished", job=job_id, error=repr(error), exc_info=error)

    async def _fetch(self, job_id: str) -> Job | None:
        raw = await self._redis.hgetall(JOB_PREFIX + job_id)
        if not raw:
            await self._redis.lrem(self._queue.intermediate_queue_key, 1, job_id)
            return None
        try:
            job = WindlassJob(job_id, connection=self.connection, serializer=self.serializer)
            job.restore(raw)
        except Exception as error:  # noqa: BLE001 - whatever somebody wrote there, it is no job
            log.error("job.unreadable", job=job_id, error=repr(error))
            await self._redis.lrem(self._queue.intermediate_queue_key, 1, job_id)
            return None
        return job

    async def _start(self, job: Job) -> Execution:
        async with self._transaction() as pipeline:
            execution = Execution.create(job, HEARTBEAT_TTL, pipeline=pipeline, worker_name=self.name)
            self.set_state(WorkerStatus.BUSY, pipeline=pipeline)
            job.prepare_for_execution(self.name, pipeline=pipeline)
            pipeline.lrem(self._queue.intermediate_queue_key, 1, job.id)
        # Only now: were its answer lost, nobody would beat for it, and RQ's clean-up has the job back in seconds.
        with self._started_lock:
            self.executions[execution.id] = execution
            self._started[execution.id] = job, execution
        return execution

    async def _perform(self, job: Job, starting: asyncio.Task[Execution]) -> None:
        """Run the job's function; RQ's bookkeeping of its start goes on meanwhile, and is done before that of its end."""
        try:
            call = call_of(job)
            function = self._functions.get(call.function)
            if function is None:
                raise ValueError(f"{call.function!r} is no function of this worker's registry")
            result = await function(job.id, *call.arguments, **call.keywords)
        except asyncio.CancelledError:
            await self._succeeded(job, await starting, "cancelled")
            raise
        except RedisError:
            raise  # left as it is: without heartbeats RQ's clean-up has it back in the queue in seconds
        except Exception:  # noqa: BLE001 - RQ's own bookkeeping takes whatever a job raises
            job.retries_left = 0
            await self._failed(job, await starting)
        else:
            await self._succeeded(job, await starting, result)

    async def _succeeded(self, job: Job, execution: Execution, result: Any) -> None:
        job.ended_at = now()
        job._result = result
        ttl = job.get_result_ttl(self.default_result_ttl)
        async with self._transaction() as pipeline:
            self.increment_successful_job_count(pipeline)
            job._handle_success(
                ttl,
                pipeline=pipeline,
                worker_name=self.name,
                execution_id=execution.id,
                execution_started_at=execution.created_at,
                execution_ended_at=job.ended_at,
            )
            job.cleanup(ttl, pipeline=pipeline, remove_from_queue=False)
            with self._started_lock:
                cleanup_execution(self, job, pipeline, execution)
                idle = not self.executions
            if idle:
                self.set_state(WorkerStatus.IDLE, pipeline=pipeline)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        """One MULTI. RQ's own helpers only buffer commands into it, so an asyncio pipeline serves them as well."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            yield pipeline
            await pipeline.execute()

    async def _failed(self, job: Job, execution: Execution) -> None:
        trace = format_exc_info(sys.exc_info())
        log.error("job.failed", job=job.id, error=trace.splitlines()[-1] if trace else "")
        job.ended_at = now()
        job._status = JobStatus.FAILED
        await asyncio.to_thread(self.handle_job_failure, job, self._queue, None, trace, execution)

    # -- staying alive, and ending --------------------------------------------------------------------------------

    def _beat(self) -> None:
        """On the keeper's thread: worker and jobs are alive. After Redis lost its memory, the worker is born again."""
        with self._started_lock:
            started = list(self._started.values())
        with self.connection.pipeline() as pipeline:
            self.heartbeat(self.worker_ttl, pipeline=pipeline)
            for job, execution in started:
                execution.heartbeat(job.started_job_registry, HEARTBEAT_TTL, pipeline=pipeline)
            answers = pipeline.execute()
        if answers[0] == 1:  # HSET made the field anew: the hash was gone
            self.connection.delete(self.key)
            self._be_born()

    async def _maintain(self) -> None:
        """RQ's own clean-up, often: the jobs of a killed worker go back to the queue, or are given up at the third time."""
        self.log.disabled = True  # says so at every look
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            try:
                await asyncio.to_thread(self._queue.started_job_registry.cleanup)
                await asyncio.to_thread(self._clean)
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))

    def _clean(self) -> None:
        for registry in (self._queue.finished_job_registry, self._queue.failed_job_registry):
            registry.cleanup()

    async def _drain(self) -> None:
        """Let the running jobs end; cancel those that take too long, so that they hand back their work."""
        running = set(self._running)
        if not running:
            return
        log.info("worker.draining", jobs=len(running), seconds=self._drain_seconds)
        _, left = await asyncio.wait(running, timeout=self._drain_seconds)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)
