"""One call of a forge's API: where a token may go, what is made of every answer, when to come back.

What must hold: a token goes to the forge's own host and nowhere else (no redirect to another origin is followed);
errors are reduced to what was refused and the forge's own one-line message, without the token; what is worth trying
again says when.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import aiohttp
import orjson
from yarl import URL

from windlass.errors import PermanentError, TransientError

REDIRECTS = 3
LONGEST_WAIT = 3600.0
"""Seconds; a forge that names a longer one is asked again after this."""
LARGEST = 8 << 20
"""Bytes of an answer that are read."""
_TRANSIENT = frozenset({408, 409, 425, 429})
_KEEP_METHOD = (307, 308)


class RefusedError(PermanentError):
    """The forge said no: ``status`` of HTTP, ``reason`` in its own words."""

    def __init__(self, text: str, *, status: int, reason: str) -> None:
        super().__init__(text)
        self.status, self.reason = status, reason


class Answer(NamedTuple):
    """A status, and the value of its JSON; None where there is none."""

    status: int
    value: Any
    headers: Mapping[str, str]


async def call(
    session: aiohttp.ClientSession,
    method: str,
    address: str,
    *,
    headers: Mapping[str, str],
    body: Any = None,
    secrets: Collection[str] = (),
    expected: Collection[int] = (),
) -> Answer:
    """Make one call; answers below 300, and ``expected`` ones, are returned. ``secrets`` appear in no error.

    :raises RefusedError: the same call would be refused again.
    :raises PermanentError: it can't be made.
    :raises TransientError: worth trying again, after ``retry_after`` seconds where the forge named a time.
    """
    url, data = URL(address, encoded=True), None if body is None else orjson.dumps(body)
    sent = {"Accept": "application/json", **headers}
    if data is not None:
        sent["Content-Type"] = "application/json"
    redirects = _KEEP_METHOD if method != "GET" else (301, 302, *_KEEP_METHOD)
    for _ in range(REDIRECTS + 1):
        try:
            async with session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
                if answer.status not in redirects:
                    value = _value(await _read(answer))
                    _judge(url, answer.status, answer.headers, value, secrets, expected)
                    return Answer(answer.status, value, answer.headers)
                url = _redirected(url, answer.headers.get("Location", ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"{url.host}: {type(error).__name__}") from None
        except ValueError:
            raise PermanentError(f"{url.host}: the call can't be made; is the token one line of ASCII?") from None
    raise PermanentError(f"{url.host}: too many redirects")


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """What is there, up to the limit: a single `read` stops at whatever has come so far."""
    content = bytearray()
    while len(content) < LARGEST and (chunk := await answer.content.read(LARGEST - len(content))):
        content += chunk
    return bytes(content)


def _value(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _redirected(url: URL, location: str) -> URL:
    """A renamed repository's new place, if it is on the same origin."""
    target = url.join(URL(location))
    if target.origin() != url.origin():
        raise PermanentError(f"{url.host}: redirects to another host, which gets no token; set the document's api")
    return target


def _judge(
    url: URL,
    status: int,
    headers: Mapping[str, str],
    value: Any,
    secrets: Collection[str],
    expected: Collection[int],
) -> None:
    if status < 300 or status in expected:
        return
    message = _message(value, secrets)
    text = f"{url.host}: {status}{': ' if message else ''}{message}"
    wait = retry_after(headers)
    if status in _TRANSIENT or status >= 500 or (status == 403 and wait is not None):
        raise TransientError(text, retry_after=wait)
    raise RefusedError(text, status=status, reason=message)


def _message(value: Any, secrets: Collection[str]) -> str:
    """The forge's own words: one short line of its JSON's usual field, without the secrets."""
    found = value.get("message") or value.get("error") or value.get("errors") if isinstance(value, dict) else None
    found = found[0] if isinstance(found, list) and found else found
    found = found.get("message") if isinstance(found, dict) else found
    found = found[0] if isinstance(found, list) and found else found
    if not isinstance(found, str):
        return ""
    for secret in secrets:
        found = found.replace(secret, "…")
    return " ".join(found.split())[:200]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the forge may be asked again: Retry-After (RFC 9110), or the end of an exhausted rate limit."""
    value = headers.get("Retry-After", "")
    seconds: float | None = None
    if value.isdecimal():
        seconds = float(value)
    elif value:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            seconds = None
    elif headers.get("X-RateLimit-Remaining") == "0" and headers.get("X-RateLimit-Reset", "").isdecimal():
        seconds = float(headers["X-RateLimit-Reset"]) - time.time()
    return None if seconds is None else min(max(seconds, 1.0), LONGEST_WAIT)
