"""What the API server refuses, typed, and fit to be shown.

What must hold: no value of a Secret is ever in a message. The server repeats values in its errors, so one about a
Secret is reduced to its reason and the paths of the fields. Network trouble is not an object's error: it is
`Unreachable`, which ends the run and has it tried again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from windlass.errors import TransientError, WindlassError

LONGEST_MESSAGE = 1000
"""Characters of an API server's message that are kept: some repeat a whole object."""
PERMANENT = frozenset({400, 405, 406, 413, 415, 422})
"""Statuses that the same request gets again: only another manifest can help. A 403 or 404 may be mended in the
cluster."""

_FIELD = re.compile(
    r"^(?:failed to create (?:typed|manager for existing fields)[^:]*: )?(?:errors:\s*)?(\.[\w.\-/]{1,200}): "
)
_DENIED = re.compile(
    r'secrets(?: "[^"]*")? is forbidden: User "[^"]*" cannot [a-z]+ resource "secrets" in API group ""'
    r' (?:in the namespace "[^"]*"|at the cluster scope)'
)
"""The authorizer's refusal: it names who may not do what, and comes before the object is even read."""


class Cause(NamedTuple):
    """One entry of a ``Status``' ``details.causes``."""

    reason: str
    field: str
    message: str


class ApiError(WindlassError):
    """The API server answered, and its answer is an error of this object (or of this list) alone.

    ``status`` is the HTTP status, 0 where there was none (a time-out); ``retry_after`` seconds, where the server
    named them.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: Sequence[Cause] = (),
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.reason, self.causes = message, status, reason, tuple(causes)
        self.retry_after = retry_after
        self.retryable = status not in PERMANENT if retryable is None else retryable

    @property
    def conflict(self) -> bool:
        return self.status == 409

    @property
    def forbidden(self) -> bool:
        return self.status == 403

    @property
    def missing(self) -> bool:
        return self.status == 404


class RequestTimeoutError(ApiError):
    """No answer within the request's time: whether a write took effect is unknown, and doing it again is safe."""


class Conflict(NamedTuple):
    """A field that another manager owns. ``application`` is set when that manager is another Windlass application."""

    field: str
    manager: str


class ConflictError(ApiError):
    """Fields that Git names belong to others; lists each of them with its manager."""

    def __init__(
        self, conflicts: Sequence[Conflict], message: str, *, application: str = "", retryable: bool = False
    ) -> None:
        super().__init__(message, status=409, reason="Conflict", retryable=retryable)
        self.conflicts, self.application = tuple(conflicts), application


class UnreachableError(TransientError):
    """No connection to the API server: nothing was answered, for whatever object."""

    retryable = True


def from_answer(status: int, body: bytes, *, secret: bool, retry_after: float | None = None) -> ApiError:
    """The error that an answer with ``status`` means.

    :param secret: the request was about a Secret: keep only what can't hold a value.
    """
    document = _status_document(body)
    details = document.get("details")
    raw = details.get("causes") if isinstance(details, dict) else None
    reason = str(document.get("reason") or "")
    text = str(document.get("message") or "")
    causes = [_cause(item) for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    message = _redacted(status, reason, text, causes) if secret else (text or f"HTTP {status} {reason}".rstrip())
    if secret:
        causes = [c if c.reason == "FieldManagerConflict" else c._replace(message="") for c in causes]
    return ApiError(message[:LONGEST_MESSAGE], status=status, reason=reason, causes=causes, retry_after=retry_after)


def _status_document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}  # a proxy's page: the status code says it all
    return document if isinstance(document, dict) else {}


def _cause(item: dict[str, Any]) -> Cause:
    return Cause(str(item.get("reason") or ""), str(item.get("field") or ""), str(item.get("message") or ""))


def _redacted(status: int, reason: str, text: str, causes: Sequence[Cause]) -> str:
    """Reason and fields, or the authorizer's own words.

    A message that begins with a path (the server's schema errors do) gives that path, no more.
    """
    if status == 403 and (denied := _DENIED.match(text)):
        return denied[0]
    fields = [cause.field for cause in causes if cause.field]
    if not fields and (match := _FIELD.match(text)):
        fields = [match[1]]
    what = reason or f"HTTP {status}"
    return f"{what}: {', '.join(dict.fromkeys(fields))}" if fields else f"{what} (details of Secrets are withheld)"
