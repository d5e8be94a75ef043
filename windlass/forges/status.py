"""Commit statuses: each forge's module says which call, this one makes it.

What must hold: a token goes to the forge's own host and nowhere else (no redirect to another origin is followed);
errors are reduced to what was refused and the forge's own one-line message, without the token; what is worth trying
again says when.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
import orjson
from yarl import URL

from windlass.documents.types import Repository
from windlass.errors import PermanentError, TransientError
from windlass.forges.address import Address, repository_address

State = Literal["pending", "success", "failure", "error"]

REDIRECTS = 3
LONGEST_WAIT = 3600.0
"""Seconds; a forge that names a longer one is asked again after this."""
_TRANSIENT = frozenset({408, 409, 425, 429})


class StatusRequest(msgspec.Struct, frozen=True):
    """One POST. ``already``: what a 400 says when the status is in this state already."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    already: str = ""


class Status(msgspec.Struct, frozen=True):
    """What is to be said of a commit, and where its repository is."""

    url: str
    commit: str
    state: State
    context: str
    description: str
    target_url: str | None
    token: str
    api: str | None = None

    @property
    def address(self) -> Address:
        address = repository_address(self.url)
        if address is None:
            raise PermanentError("the repository's URL names no host and path, so its forge's API has no address")
        return address

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def path(self) -> str:
        return self.address.path

    @property
    def origin(self) -> str:
        """Where the forge usually is: the repository's own host, by HTTPS unless the repository is read by HTTP."""
        scheme = urlsplit(self.url).scheme
        if scheme in ("http", "https"):
            return f"{scheme}://{self.host}"
        return f"https://{self.host}"

    def owner_and_name(self) -> tuple[str, str]:
        """The path's last two parts, quoted for a URL."""
        parts = self.path.split("/")
        if len(parts) < 2:
            raise PermanentError("the repository's URL names no owner, so the forge's API can't be called")
        return quote(parts[-2], safe=""), quote(parts[-1], safe="")

    def prefix(self) -> str:
        """What stands before owner and name where the forge isn't at its host's root: "" or "/git"."""
        return "".join(f"/{quote(part, safe='')}" for part in self.path.split("/")[:-2])

    def body(self) -> dict[str, Any]:
        """The request's body where the forge uses GitHub's names, which are ours."""
        return self.fields(
            state=self.state, context=self.context, description=self.description, target_url=self.target_url
        )

    @staticmethod
    def fields(**fields: Any) -> dict[str, Any]:
        """A request's body without what we have nothing to say of."""
        return {name: value for name, value in fields.items() if value}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def post_status(
    session: aiohttp.ClientSession,
    repository: Repository,
    commit: str,
    *,
    state: State,
    context: str,
    description: str,
    target_url: str | None,
    token: str,
) -> None:
    """Set the status ``context`` of ``commit`` on the repository's forge. Forges without such an API: nothing happens.

    :raises PermanentError: refused; the same call would be refused again.
    :raises TransientError: worth trying again, after ``retry_after`` seconds where the forge named a time.
    """
    from windlass.forges import forge  # the modules of this package build on this one

    api = repository.spec.status.api if repository.spec.status else None
    status = Status(
        url=repository.spec.url,
        commit=commit,
        state=state,
        context=context,
        description=description,
        target_url=target_url,
        token=token,
        api=api.rstrip("/") if api else None,
    )
    request = forge(repository.spec.forge).status_request(status)
    if request is not None:
        await _send(session, request, token)


async def _send(session: aiohttp.ClientSession, request: StatusRequest, token: str) -> None:
    url, body = URL(request.url, encoded=True), orjson.dumps(request.body)
    headers = {"Accept": "application/json", **request.headers, "Content-Type": "application/json"}
    for _ in range(REDIRECTS + 1):
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                if answer.status not in (307, 308):
                    return _judge(answer.status, answer.headers, await answer.content.read(4096), request, token)
                url = _redirected(url, answer.headers.get("Location", ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"{url.host}: {type(error).__name__}") from None
        except ValueError:
            raise PermanentError(f"{url.host}: the call can't be made; is the token one line of ASCII?") from None
    raise PermanentError(f"{url.host}: too many redirects")


def _redirected(url: URL, location: str) -> URL:
    """A renamed repository's new place, if it is on the same origin."""
    target = url.join(URL(location))
    if target.origin() != url.origin():
        raise PermanentError(f"{url.host}: redirects to another host, which gets no token; set status.api")
    return target


def _judge(status: int, headers: Mapping[str, str], body: bytes, request: StatusRequest, token: str) -> None:
    if status < 300:
        return
    message = _message(body, token)
    if status == 400 and request.already and request.already in message:
        return
    host = URL(request.url, encoded=True).host
    text = f"{host}: {status}{': ' if message else ''}{message}"
    wait = _retry_after(headers)
    if status in _TRANSIENT or status >= 500 or (status == 403 and wait is not None):
        raise TransientError(text, retry_after=wait)
    raise PermanentError(text)


def _message(body: bytes, token: str) -> str:
    """The forge's own words: one short line of its JSON's usual field, without the token."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    found = value.get("message") or value.get("error") if isinstance(value, dict) else None
    found = found.get("message") if isinstance(found, dict) else found
    if not isinstance(found, str):
        return ""
    return " ".join(found.replace(token, "…").split())[:200]


def _retry_after(headers: Mapping[str, str]) -> float | None:
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
