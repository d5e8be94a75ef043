"""Bitbucket Cloud: repo:push with every one of its changes, pullrequest:fulfilled and :rejected. X-Hub-Signature is sha256 here.

Payloads name the repository by its web address only, and abbreviate merge commits (no hint then; the push event has
it in full). Shapes: support.atlassian.com, "Event payloads"; statuses: "Create a build status for a commit".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from windlass.events import ZERO, Event, RefUpdate
from windlass.forges.base import (
    Branch,
    ObjectId,
    Payload,
    closed,
    decode,
    delivery_id,
    header,
    ignored_event,
    merged,
    not_closed,
    opened,
    pushed,
)
from windlass.forges.signatures import Headers, hex_digest, signed
from windlass.forges.status import Status, StatusRequest, bearer

name: Final = "bitbucket"

STATES: Final = {"pending": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "error": "FAILED"}
KEY_LIMIT: Final = 40
"""Characters of a build status' key, by the API's documentation."""


class _Link(Payload, frozen=True):
    href: str


class _Links(Payload, frozen=True):
    html: _Link


class _Repository(Payload, frozen=True):
    links: _Links


class _Target(Payload, frozen=True):
    hash: ObjectId


class _Ref(Payload, frozen=True):
    type: Literal["branch", "named_branch", "bookmark", "tag"]
    name: Branch
    target: _Target

    @property
    def full(self) -> str:
        return f"refs/tags/{self.name}" if self.type == "tag" else f"refs/heads/{self.name}"


class _Change(Payload, frozen=True):
    new: _Ref | None = None
    old: _Ref | None = None

    def updates(self) -> list[RefUpdate]:
        before = self.old.target.hash if self.old else ZERO
        if self.new is not None:
            return [RefUpdate(self.new.full, self.new.target.hash, before)]
        return [RefUpdate(self.old.full, ZERO, before)] if self.old else []


class _Changes(Payload, frozen=True):
    changes: list[_Change]


class _Push(Payload, frozen=True):
    push: _Changes
    repository: _Repository


class _Name(Payload, frozen=True):
    name: Branch


class _Destination(Payload, frozen=True):
    branch: _Name


class _MergeCommit(Payload, frozen=True):
    hash: str


class _SourceName(Payload, frozen=True):
    name: str | None = None


class _Source(Payload, frozen=True):
    branch: _SourceName | None = None


class _PullRequest(Payload, frozen=True):
    destination: _Destination
    source: _Source | None = None
    id: int = 0
    merge_commit: _MergeCommit | None = None


class _Changed(Payload, frozen=True):
    pullrequest: _PullRequest
    repository: _Repository


_PUSH: Final = msgspec.json.Decoder(_Push)
_CHANGED: Final = msgspec.json.Decoder(_Changed)


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    return signed(hex_digest(headers.get("X-Hub-Signature"), "sha256="), body, secrets)


def parse(headers: Headers, body: bytes) -> Event:
    event = header(headers, "X-Event-Key")
    delivery = delivery_id(headers.get("X-Request-UUID"))
    if event == "repo:push":
        push = decode(_PUSH, body)
        updates = [update for change in push.push.changes for update in change.updates()]
        return pushed([push.repository.links.html.href], updates, delivery)
    if event in ("pullrequest:fulfilled", "pullrequest:rejected", "pullrequest:created", "pullrequest:updated"):
        return _changed(decode(_CHANGED, body), event, delivery)
    if event.startswith("pullrequest:"):
        return not_closed(delivery)
    return ignored_event(event, delivery)


def _changed(event: _Changed, key: str, delivery: str) -> Event:
    urls, request = [event.repository.links.html.href], event.pullrequest
    head = request.source.branch.name if request.source and request.source.branch else None
    number, base = request.id, request.destination.branch.name
    if key in ("pullrequest:created", "pullrequest:updated"):
        return opened(urls, number=number, head=head, base=base, delivery=delivery)
    if key == "pullrequest:rejected":
        return closed(urls, number=number, head=head, base=base, delivery=delivery)
    commit = request.merge_commit.hash if request.merge_commit else None
    return merged(urls, number=number, head=head, base=base, commit=commit, delivery=delivery)


def build_key(context: str) -> str:
    """The context, or a digest of it where it is longer than a key may be."""
    return context if len(context) <= KEY_LIMIT else hashlib.sha256(context.encode()).hexdigest()[:KEY_LIMIT]


def status_request(status: Status) -> StatusRequest | None:
    owner, repository = status.owner_and_name()
    api = status.api or "https://api.bitbucket.org/2.0"
    return StatusRequest(
        url=f"{api}/repositories/{owner}/{repository}/commit/{status.commit}/statuses/build",
        headers=bearer(status.token),
        body=status.fields(
            state=STATES[status.state],
            key=build_key(status.context),
            name=status.context,
            description=status.description,
            url=status.target_url or f"{status.origin}/{status.path}",
        ),
    )
