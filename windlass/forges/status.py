"""Commit statuses: each forge's module says which call, this one makes it (as `windlass.forges.calls` makes every one)."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from windlass.documents.types import Repository
from windlass.errors import PermanentError
from windlass.forges.address import Address, repository_address
from windlass.forges.calls import RefusedError, call

State = Literal["pending", "success", "failure", "error"]


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
    try:
        await call(session, "POST", request.url, headers=request.headers, body=request.body, secrets=(token,))
    except RefusedError as error:
        if error.status != 400 or not request.already or request.already not in error.reason:
            raise
