"""The one way out of notifications: a POST to an address that is public, unless the document says that it may be private.

What must hold (SSRF): the address is judged after it was resolved, and the connection goes to the very address that was judged;
no redirect is followed; a cloud's metadata is never reached. The URL is a secret: it is in no error and no log.
"""

from __future__ import annotations

from typing import NamedTuple

import aiohttp
from yarl import URL

from windlass.errors import PermanentError, TransientError
from windlass.forges.calls import retry_after
from workers.addresses import NOT_PUBLIC, REFUSED, RefusedAddressError, guarded, judge, refused
from workers.notify.formats import Request

SECONDS = 10.0
LARGEST = 4096
"""Bytes of an answer that are looked at."""
_TRANSIENT = frozenset({408, 425, 429})


class Answer(NamedTuple):
    status: int
    text: str


class Outward:
    """Two sessions, opened when first needed: to public addresses, and to private ones too."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, url: str, request: Request, *, private: bool) -> Answer:
        """Send it.

        :raises PermanentError: the address may not be called, or the receiver would refuse the same again.
        :raises TransientError: worth trying again, after ``retry_after`` seconds where the receiver named a time.
        """
        target = _target(url, private)
        try:
            async with self._session(private).post(
                target, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                found = Answer(answer.status, (await answer.content.read(LARGEST)).decode("utf-8", "replace"))
                wait = retry_after(answer.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if refused(error):
                raise PermanentError(REFUSED if private else NOT_PUBLIC + HOW) from None
            raise TransientError(f"the receiver can't be reached: {type(error).__name__}") from None
        _judge(found, wait)
        return found

    def _session(self, private: bool) -> aiohttp.ClientSession:
        if private not in self._sessions:
            self._sessions[private] = guarded(private=private, seconds=SECONDS)
        return self._sessions[private]

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


HOW = " (`private: true` allows private ones)"


def _target(url: str, private: bool) -> URL:
    """:raises PermanentError: it is no address to call."""
    try:
        target = URL(url.strip(), encoded=True)
        host, scheme = target.host, target.scheme
    except ValueError:
        host = scheme = None
    if not host or scheme not in ("http", "https"):
        raise PermanentError("the secret is not an http(s) URL")
    if scheme == "http" and not private:
        raise PermanentError("the URL is not https (`private: true` allows http)")
    try:
        judge(host, private=private)
    except RefusedAddressError as error:
        raise PermanentError(f"{error}{'' if private else HOW}") from None
    return target


def _judge(answer: Answer, wait: float | None) -> None:
    """Teams' connectors say 200 also of what was throttled, and the error in the text."""
    status = answer.status
    if status == 200 and answer.text.startswith("Webhook message delivery failed"):
        status = 429 if "429" in answer.text else 400
    if status < 300:
        return
    if status in _TRANSIENT or status >= 500:
        raise TransientError(f"the receiver answers {status}", retry_after=wait)
    if status < 400:
        raise PermanentError(f"the receiver answers {status}: redirects are not followed")
    raise PermanentError(f"the receiver answers {status}{_word(answer.text)}")


def _word(text: str) -> str:
    """A chat's error in one word (``invalid_payload``); anything longer may repeat what was sent."""
    word = text.strip()
    return f": {word}" if len(word) <= 40 and word.replace("_", "").isalpha() and word.isascii() else ""
