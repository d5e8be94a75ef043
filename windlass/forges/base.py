"""What every forge's module provides, and how payloads become events: typed by msgspec, so that a wrong shape names
its field.

What must hold: `parse` is only called for bytes that `verify` accepted; whatever the bytes are, it returns an event
or raises `PayloadError`, never anything else; unknown fields are skipped, not built (a payload's commit list costs
nothing).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Protocol, TypeVar
from urllib.parse import parse_qs

import msgspec

from windlass.errors import WindlassError
from windlass.events import Event, Ignored, PullRequestEvent, PushEvent, RefUpdate
from windlass.forges.signatures import Headers
from windlass.forges.status import Status, StatusRequest

T = TypeVar("T")

ObjectId = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")]
"""A full object id: sha1 or sha256, in lower-case hex."""
RefName = Annotated[str, msgspec.Meta(pattern=r"\Arefs/[^\x00-\x20\x7f~^:?*\[\\]+\Z", max_length=1024)]
"""A full ref name, of the characters that git-check-ref-format(1) allows."""
Branch = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x20\x7f~^:?*\[\\]+\Z", max_length=1000)]
"""A branch's or tag's short name."""

_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEADS = "refs/heads/"
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")


class PayloadError(WindlassError):
    """A verified payload isn't what the forge documents; the message names the field. The answer is 400."""


class Payload(msgspec.Struct, frozen=True, gc=False):
    """Part of a payload: the fields that we read, by the vendor's names."""


class Forge(Protocol):
    """One forge: a module of this package."""

    @property
    def name(self) -> str:
        """As documents spell it."""

    def verify(self, headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
        """Do these raw bytes come from someone who knows one of the secrets? In constant time; nothing is parsed."""

    def parse(self, headers: Headers, body: bytes) -> Event:
        """The event of verified bytes.

        :raises PayloadError: the payload isn't of the documented shape.
        """

    def status_request(self, status: Status) -> StatusRequest | None:
        """The documented API call that writes a commit status; None if this forge has none."""


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a payload; every way in which that can fail is a `PayloadError`."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise PayloadError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise PayloadError("the body is nested too deeply") from None


def json_body(headers: Headers, body: bytes) -> bytes:
    """The JSON document of a delivery, also where the webhook's content type is a form with one field, ``payload``."""
    if not headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return body
    try:
        values = parse_qs(body.decode("ascii"), max_num_fields=8).get("payload", [])
    except ValueError:
        raise PayloadError("the form is malformed; set the webhook's content type to application/json") from None
    if len(values) != 1:
        raise PayloadError("the form has no single field `payload`; set the webhook's content type to application/json")
    return values[0].encode(errors="surrogateescape")


def header(headers: Headers, *names: str) -> str:
    """The first of these headers that is there.

    :raises PayloadError: none is.
    """
    for name in names:
        if value := headers.get(name):
            return value
    raise PayloadError(f"header {names[0]} is missing")


def delivery_id(*values: Any) -> str:
    """The first value fit for an id in logs and Redis (1 to 64 of A-Z, a-z, 0-9 and -), "" if none is.

    Headers aren't signed: this is a name for people to search by, never an identity to trust.
    """
    for value in values:
        if isinstance(value, str) and _TOKEN.fullmatch(value):
            return value
    return ""


def full_id(value: str | None) -> str:
    """``value`` where it is a full object id, else "": Bitbucket Cloud abbreviates merge commits."""
    return value if value is not None and _FULL_ID.fullmatch(value) else ""


def ignored_event(event: str, delivery: str) -> Ignored:
    """An event that asks for nothing."""
    return Ignored(f"event {event[:64]!r} is of no interest: pushes and closed pull requests are", delivery)


def pushed(urls: Iterable[str | None], updates: Iterable[RefUpdate], delivery: str) -> Event:
    """The event of refs that moved; a push that only deletes refs is ignored, since an absent ref deletes nothing."""
    repositories, moved = _named(urls), tuple(updates)
    if not moved:
        return Ignored("the push moved no ref", delivery)
    if all(update.deleted for update in moved):
        refs = ", ".join(update.ref for update in moved[:5])
        return Ignored(f"{refs} deleted: nothing follows from a ref that is gone", delivery)
    return PushEvent(repositories, moved, delivery)


def not_closed(delivery: str) -> Ignored:
    """The event of a pull request that stays open, and as it is."""
    return Ignored("the pull request was not merged, nor closed, by this", delivery)


def merged(
    urls: Iterable[str | None], *, number: int, head: str | None, base: str, commit: str | None, delivery: str
) -> Event:
    """The event of a pull request that was merged: ``base`` (a short name) is at ``commit`` now, where that is a full id."""
    repositories, branch = _named(urls), base.removeprefix(_HEADS)
    update = RefUpdate(_HEADS + branch, full_id(commit))
    return PullRequestEvent(repositories, (update,), number, (head or "").removeprefix(_HEADS), branch, delivery)


def closed(urls: Iterable[str | None], *, number: int, head: str | None, base: str, delivery: str) -> Event:
    """The event of a pull request that was closed without a merge."""
    names = ((head or "").removeprefix(_HEADS), base.removeprefix(_HEADS))
    return PullRequestEvent(_named(urls), (), number, *names, delivery, "close")


def opened(urls: Iterable[str | None], *, number: int, head: str | None, base: str, delivery: str) -> Event:
    """The event of a pull request that is new, or not what it was."""
    names = ((head or "").removeprefix(_HEADS), base.removeprefix(_HEADS))
    return PullRequestEvent(_named(urls), (), number, *names, delivery, "open")


def _named(urls: Iterable[str | None]) -> tuple[str, ...]:
    repositories = tuple(url for url in urls if url)
    if not repositories:
        raise PayloadError("the payload names no URL of its repository")
    return repositories
