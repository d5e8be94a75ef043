"""The job of a source (a repository's ref, or a promotion), whatever it does: begun once, handed back when it is cut off, and
whatever goes wrong ends up in the source's state, never in a lost job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from windlass.errors import LeaseLostError, PermanentError, SupersededError, TransientError, WindlassError
from windlass.queue import Busy, Run, SourceQueue

log = structlog.get_logger(__name__)

FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0

Work = Callable[[Run], Awaitable[dict[str, Any]]]
"""Does it, ends the run in the queue, and answers with a summary for the job's result."""
Failed = Callable[[Run, str], Awaitable[None]]
"""Is told the error that ended it, once that is recorded."""


async def serve(queue: SourceQueue, job_id: str, source: str, work: Work, failed: Failed) -> dict[str, Any]:
    """Run a source's job; answers with a summary for its result.

    :raises RedisError: nothing can be recorded now: the job comes back.
    """
    run = await _begin(queue, job_id, source)
    if run is None:
        return {"source": source, "outcome": "nothing left to do"}
    event = run.hints[-1].event if run.hints else ""
    with structlog.contextvars.bound_contextvars(source=source, event_id=event or None, job=job_id):
        try:
            return await work(run)
        except asyncio.CancelledError:
            await asyncio.shield(queue.hand_back(run))
            raise
        except LeaseLostError as error:
            log.error("source.lost", error=str(error))
            return {"source": source, "outcome": "another worker has it"}
        except SupersededError:
            await queue.finish(run)  # what was pushed meanwhile is queued by it
            return {"source": source, "outcome": "superseded"}
        except RedisError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must end up in the source's state
            message = await _record(queue, run, error)
            await failed(run, message)
            return {"source": source, "outcome": "failed", "error": message}
        finally:
            run.lease.forget()


async def _begin(queue: SourceQueue, job_id: str, source: str) -> Run | None:
    while True:
        begun = await queue.begin(job_id, source)
        if not isinstance(begun, Busy):
            return begun
        await asyncio.sleep(begun.wait_seconds)


async def _record(queue: SourceQueue, run: Run, error: Exception) -> str:
    """The error's message, recorded; tried again with back-off unless only a commit or a document can help."""
    retry_in = None if isinstance(error, PermanentError) else min(FIRST_RETRY * 2**run.attempts, LONGEST_RETRY)
    if isinstance(error, TransientError) and error.retry_after is not None:
        retry_in = error.retry_after
    message = str(error) if isinstance(error, WindlassError) else f"{type(error).__name__}: {error}"
    log.error("source.failed", error=message, retry_in=retry_in, exc_info=not isinstance(error, WindlassError))
    await queue.finish(run, error=message, retry_in=retry_in)
    return message
