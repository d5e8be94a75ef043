"""RQ's job and its private names, as the queue and the worker use them; a contract test holds what is assumed here.

Who writes Redis must not choose what runs: names of callbacks and webhooks in a job are not read, and its function is
only looked up in the worker's own registry, never imported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from rq.job import Job
from rq.serializers import JSONSerializer

QUEUE_PREFIX = "rq:queue:"
JOB_PREFIX = "rq:job:"
SERIALIZER = JSONSerializer


class Call(NamedTuple):
    """What a job asks for: the name of a function of the registry, and its arguments."""

    function: str
    arguments: list[Any]
    keywords: dict[str, Any]


class WindlassJob(Job):
    """A job whose callbacks and webhooks are nobody's: RQ would import and run what the hash in Redis names."""

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []


def call_of(job: Job) -> Call:
    """The call that a job's data describes, without importing anything.

    :raises ValueError: the data is not ours: another serializer's, or of another shape.
    """
    try:
        parts = orjson.loads(job.data)
    except orjson.JSONDecodeError:
        raise ValueError("the job's data is not JSON") from None
    match parts:
        case [str() as function, None, list() as arguments, dict() as keywords]:
            return Call(function, arguments, keywords)
    raise ValueError("the job's data is not a call: expected [function, null, [arguments], {keywords}]")
