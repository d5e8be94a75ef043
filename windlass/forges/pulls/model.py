"""Pull requests in one form whatever the forge, and what each forge's module of this package provides.

What must hold: what a person did (a title changed, a review, a closed pull request) is read from the forge, never guessed; a
label, reviewer or assignee that the forge refuses is told, and fails nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from windlass.errors import PermanentError, WindlassError
from windlass.forges.address import Address, repository_address
from windlass.forges.calls import Answer, RefusedError, call

State = Literal["open", "merged", "closed"]
Method = Literal["merge", "squash", "rebase"]
Merged = Literal["merged", "scheduled", "waiting"]
"""``scheduled``: the forge does it when its checks pass; ``waiting``: it can't, ask again."""
LABEL_COLOUR = "#1f6feb"
MOST_PAGES, PAGE = 20, 100
NOT_OURS = (401, 403, 404)
"""How forges answer who would change somebody else's comment."""


class PullRequest(msgspec.Struct, frozen=True):
    """A pull request as the forge has it now. ``merge`` is the commit that it became, "" where nobody says."""

    number: int
    url: str
    state: State
    head: str  # the branch
    base: str
    title: str
    body: str
    commit: str = ""  # the head's
    merge: str = ""
    fork: bool = True  # comes its head from another repository? True also where the forge doesn't say
    conflicts: bool = False  # with its base, where the forge says so; one that isn't sure yet may say so too
    extra: Any = None  # what the forge wants back with the next change: a version, an id


class Wanted(msgspec.Struct, frozen=True):
    """What a pull request shall say. Both branches by their short names."""

    head: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()


class Place(NamedTuple):
    """A repository on its forge, and where that forge's API is (None: where it usually is)."""

    url: str
    api: str | None = None

    @property
    def address(self) -> Address:
        address = repository_address(self.url)
        if address is None or "/" not in address.path:
            raise PermanentError("the repository's URL names no owner, so the forge's API can't be called")
        return address

    @property
    def origin(self) -> str:
        """The forge, by HTTPS unless the repository is read by HTTP."""
        scheme = urlsplit(self.url).scheme
        return f"{scheme if scheme in ('http', 'https') else 'https'}://{self.address.host}"

    @property
    def prefix(self) -> str:
        """What stands before owner and name where the forge isn't at its host's root: "" or "/git"."""
        return "".join(f"/{part}" for part in self._parts[:-2])

    @property
    def owner(self) -> str:
        return self._parts[-2]

    @property
    def name(self) -> str:
        return self._parts[-1]

    @property
    def _parts(self) -> list[str]:
        return [quote(part, safe="") for part in self.address.path.split("/")]


class Credential(NamedTuple):
    """How to call: the token, which appears in no error, and a user name where the token is a password.

    ``seal``: the key of the markers of comments, so that nobody could have written one before us.
    """

    token: str
    username: str | None = None
    seal: bytes = b""


class Caller:
    """Calls of one forge's API with one credential, over a session that stays warm."""

    def __init__(
        self, session: aiohttp.ClientSession, base: str, headers: Mapping[str, str], credential: Credential
    ) -> None:
        self._session, self._base, self._headers, self._secrets = session, base, headers, (credential.token,)
        self._seal = credential.seal

    async def __call__(self, method: str, path: str, body: Any = None, *, expected: Iterable[int] = ()) -> Answer:
        """Call ``path`` below the API's address, or an absolute URL."""
        url = path if path.startswith(("http://", "https://")) else self._base + path
        return await call(
            self._session,
            method,
            url,
            headers=self._headers,
            body=body,
            secrets=self._secrets,
            expected=tuple(expected),
        )

    async def get(self, path: str) -> Any:
        return (await self("GET", path)).value

    def hidden(self, marker: str, pull: PullRequest) -> str:
        """The `hidden` marker for a comment on ``pull``."""
        if not self._seal:
            return hidden(marker)
        place = f"{marker}\n{self._base}\n{pull.url}".encode()
        return hidden(f"{marker} {hmac.new(self._seal, place, hashlib.sha256).hexdigest()[:16]}")

    async def pages(self, path: str) -> list[Any]:
        """A list, page by page, as GitHub and GitLab number them; at most `MOST_PAGES` of them."""
        found: list[Any] = []
        for page in range(1, MOST_PAGES + 1):
            values = await self.get(f"{path}{'&' if '?' in path else '?'}per_page={PAGE}&page={page}") or []
            found += values
            if len(values) < PAGE:
                break
        return found


class PullRequests(Protocol):
    """The pull requests of one repository."""

    async def open(self) -> list[PullRequest]:
        """All that are open."""

    async def find(self, head: str, base: str) -> PullRequest | None:
        """The open one from ``head``, a branch of this very repository, into ``base``; else the one that was changed last."""

    async def get(self, number: int) -> PullRequest:
        """One of them.

        :raises RefusedError: there is none.
        """

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        """Open one; also what of labels, reviewers and assignees was refused, in words."""

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        """Say something else."""

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        """Say ``text`` in one comment, known again by its hidden ``marker``: written once, then changed (`say_once`)."""

    async def close(self, pull: PullRequest) -> None:
        """Close it without merging it."""

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        """Merge it when its checks pass, and only as it is now (``pull.commit``)."""

    async def unschedule(self, pull: PullRequest) -> None:
        """Take back a merge that was ``scheduled``; nothing happens where none is."""


def hidden(marker: str) -> str:
    """A marker that Markdown shows nobody: a link's definition, which also the forges hide that show HTML comments."""
    return f"[//]: # ({marker})"


class Said(NamedTuple):
    """A comment that is there: its text, and how to say something else in it."""

    text: str
    change: Callable[[], Awaitable[object]]


async def say_once(there: Iterable[Said], marker: str, text: str, write: Callable[[], Awaitable[object]]) -> None:
    """Say ``text``, which ends with the hidden ``marker``, in the oldest comment that has it and is ours to change.

    ``there``: the comments, oldest first; ``write`` adds one, if none is ours. Who copies our marker comes later; and what
    another account said, as ours before its token was changed, isn't ours to change.

    :raises RefusedError: for another reason than whose comment it is.
    """
    for one in there:
        if marker not in one.text:
            continue
        if one.text == text:
            return
        try:
            await one.change()
        except RefusedError as error:
            if error.status not in NOT_OURS:
                raise
        else:
            return
    await write()


def newest(pulls: Iterable[PullRequest]) -> PullRequest | None:
    """The open one of these, else the first (they come newest first). Forks don't count: theirs may have a branch of any name."""
    found = [pull for pull in pulls if not pull.fork]
    return next((pull for pull in found if pull.state == "open"), found[0] if found else None)


async def tried(steps: Iterable[tuple[str, Callable[[], Awaitable[object]]]]) -> list[str]:
    """Take each step; what could not be had, in words (Gitea answers 500 where it doesn't know an assignee)."""
    refused = []
    for what, step in steps:
        try:
            await step()
        except WindlassError as error:
            refused.append(f"{what}: {error}")
    return refused


def named(found: Any, *path: str) -> str:
    """The text at ``path`` in an answer; "" where it isn't."""
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def differ(value: Any, one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Do two places of an answer hold different things, or one of them nothing?"""
    found = []
    for path in (one, other):
        place = value
        for step in path:
            place = place.get(step) if isinstance(place, dict) else None
        found.append(place)
    return found[0] is None or found[0] != found[1]


def short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
