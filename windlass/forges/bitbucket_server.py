"""Bitbucket Server and Data Center: repo:refs_changed with every one of its changes, pr:merged, pr:declined and pr:deleted.
X-Hub-Signature, sha256.

A tag's ``toHash`` is the tag object's where the tag is annotated, so a tag's update names no commit. Shapes:
confluence.atlassian.com, "Event payload"; statuses: the builds resource of the REST API, since 7.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from windlass.events import ZERO, Event, Ignored, RefUpdate
from windlass.forges.address import repository_address
from windlass.forges.base import (
    ObjectId,
    Payload,
    RefName,
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
from windlass.forges.bitbucket import STATES
from windlass.forges.github import tip
from windlass.forges.signatures import Headers, hex_digest, signed
from windlass.forges.status import Status, StatusRequest, bearer

name: Final = "bitbucket-server"

HOSTLESS: Final = "scm:"
"""Stands for the host where a payload names none; an endpoint's own repositories are then compared by the rest."""


class _Link(Payload, frozen=True):
    href: str


class _Links(Payload, frozen=True):
    clone: list[_Link]


class _Project(Payload, frozen=True):
    key: str


class _Repository(Payload, frozen=True):
    slug: str
    project: _Project
    links: _Links | None = None

    @property
    def urls(self) -> list[str]:
        named = [link.href for link in self.links.clone] if self.links else []
        return named or [HOSTLESS + f"{self.project.key}/{self.slug}"]


def other_urls(url: str) -> tuple[str, ...]:
    """The repository by project and name alone, as the documented payloads have it (and servers before 5.x send it)."""
    address = repository_address(url)
    return (HOSTLESS + "/".join(address.path.split("/")[-2:]),) if address else ()


class _Change(Payload, frozen=True, rename="camel"):
    ref_id: RefName
    from_hash: ObjectId
    to_hash: ObjectId
    type: str

    def update(self) -> RefUpdate:
        after = ZERO if self.type == "DELETE" else self.to_hash
        return RefUpdate(self.ref_id, tip(self.ref_id, after, None), self.from_hash)


class _Push(Payload, frozen=True):
    repository: _Repository
    changes: list[_Change]


class _MergeCommit(Payload, frozen=True):
    id: str


class _Properties(Payload, frozen=True, rename="camel"):
    merge_commit: _MergeCommit | None = None


class _ToRef(Payload, frozen=True):
    id: RefName
    repository: _Repository


class _FromRef(Payload, frozen=True):
    id: str | None = None


class _PullRequest(Payload, frozen=True, rename="camel"):
    to_ref: _ToRef
    from_ref: _FromRef | None = None
    id: int = 0
    properties: _Properties | None = None


class _Changed(Payload, frozen=True, rename="camel"):
    pull_request: _PullRequest


_PUSH: Final = msgspec.json.Decoder(_Push)
LOOKED_AT: Final = ("pr:opened", "pr:from_ref_updated", "pr:modified", "pr:reopened")
_CHANGED: Final = msgspec.json.Decoder(_Changed)


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    return signed(hex_digest(headers.get("X-Hub-Signature"), "sha256="), body, secrets)


def parse(headers: Headers, body: bytes) -> Event:
    event = header(headers, "X-Event-Key")
    delivery = delivery_id(headers.get("X-Request-Id"))
    if event == "diagnostics:ping":
        return Ignored("a ping: the webhook works", delivery)
    if event == "repo:refs_changed":
        push = decode(_PUSH, body)
        return pushed(push.repository.urls, [change.update() for change in push.changes], delivery)
    if event in ("pr:merged", "pr:declined", "pr:deleted", *LOOKED_AT):
        return _changed(decode(_CHANGED, body).pull_request, event, delivery)
    if event.startswith("pr:"):
        return not_closed(delivery)
    return ignored_event(event, delivery)


def _changed(request: _PullRequest, key: str, delivery: str) -> Event:
    urls, head = request.to_ref.repository.urls, request.from_ref.id if request.from_ref else None
    number, base = request.id, request.to_ref.id
    if key in LOOKED_AT:
        return opened(urls, number=number, head=head, base=base, delivery=delivery)
    if key != "pr:merged":
        return closed(urls, number=number, head=head, base=base, delivery=delivery)
    found = request.properties and request.properties.merge_commit
    commit = found.id if found else None
    return merged(urls, number=number, head=head, base=base, commit=commit, delivery=delivery)


def status_request(status: Status) -> StatusRequest | None:
    project, repository = status.owner_and_name()
    base = status.origin + status.prefix().removesuffix("/scm")
    api = status.api or f"{base}/rest/api/latest"
    return StatusRequest(
        url=f"{api}/projects/{project}/repos/{repository}/commits/{status.commit}/builds",
        headers=bearer(status.token),
        body=status.fields(
            state=STATES[status.state],
            key=status.context,
            name=status.context,
            description=status.description,
            url=status.target_url or f"{base}/projects/{project}/repos/{repository}",
        ),
    )
