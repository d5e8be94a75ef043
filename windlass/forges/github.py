"""GitHub, also Enterprise Server: push, and pull_request closed. X-Hub-Signature-256 only, never the sha1
header.

Shapes: docs.github.com, "Webhook events and payloads"; statuses: "REST API endpoints for commit statuses".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from windlass.events import Event, Ignored, RefUpdate
from windlass.forges.base import (
    Branch,
    ObjectId,
    Payload,
    RefName,
    closed,
    decode,
    delivery_id,
    header,
    ignored_event,
    json_body,
    merged,
    not_closed,
    opened,
    pushed,
)
from windlass.forges.signatures import Headers, hex_digest, signed
from windlass.forges.status import Status, StatusRequest, bearer

name: Final = "github"


class _Repository(Payload, frozen=True):
    clone_url: str
    ssh_url: str | None = None
    html_url: str | None = None

    @property
    def urls(self) -> tuple[str | None, ...]:
        return self.clone_url, self.ssh_url, self.html_url


class _Commit(Payload, frozen=True):
    id: ObjectId


class _Push(Payload, frozen=True):
    ref: RefName
    before: ObjectId
    after: ObjectId
    repository: _Repository
    head_commit: _Commit | None = None

    def update(self) -> RefUpdate:
        commit = self.head_commit.id if self.head_commit else None
        return RefUpdate(self.ref, tip(self.ref, self.after, commit), self.before)


class _Base(Payload, frozen=True):
    ref: Branch


class _Head(Payload, frozen=True):
    ref: str | None = None


class _PullRequest(Payload, frozen=True):
    base: _Base
    head: _Head | None = None
    number: int = 0
    merged: bool = False
    merge_commit_sha: str | None = None


class _PullRequestEvent(Payload, frozen=True):
    action: str
    pull_request: _PullRequest
    repository: _Repository


PUSH: Final = msgspec.json.Decoder(_Push)
LOOKED_AT: Final = frozenset({"opened", "reopened", "synchronize", "synchronized", "edited"})
"""Actions after which a pull request is to be looked at; Gitea says ``synchronized``."""
PULL_REQUEST: Final = msgspec.json.Decoder(_PullRequestEvent)


def tip(ref: str, after: str, commit: str | None) -> str:
    """The commit that ``ref`` is at: an annotated tag's ``after`` is the tag object, its commit is told apart from
    it."""
    if ref.startswith("refs/tags/") and after.strip("0"):
        return commit or ""
    return after


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    return signed(hex_digest(headers.get("X-Hub-Signature-256"), "sha256="), body, secrets)


def parse(headers: Headers, body: bytes) -> Event:
    event = header(headers, "X-GitHub-Event")
    return parse_event(event, json_body(headers, body), delivery_id(headers.get("X-GitHub-Delivery")))


def parse_event(event: str, document: bytes, delivery: str) -> Event:
    """What GitHub and Gitea have in common, once the headers are read."""
    if event == "ping":
        return Ignored("a ping: the webhook works", delivery)
    if event == "push":
        push = decode(PUSH, document)
        return pushed(push.repository.urls, [push.update()], delivery)
    if event == "pull_request":
        return _changed(decode(PULL_REQUEST, document), delivery)
    return ignored_event(event, delivery)


def _changed(event: _PullRequestEvent, delivery: str) -> Event:
    urls, request = event.repository.urls, event.pull_request
    number, head, base = request.number, request.head.ref if request.head else None, request.base.ref
    if event.action in LOOKED_AT:
        return opened(urls, number=number, head=head, base=base, delivery=delivery)
    if event.action != "closed":
        return not_closed(delivery)
    if not request.merged:
        return closed(urls, number=number, head=head, base=base, delivery=delivery)
    commit = request.merge_commit_sha
    return merged(urls, number=number, head=head, base=base, commit=commit, delivery=delivery)


def status_request(status: Status) -> StatusRequest | None:
    owner, repository = status.owner_and_name()
    usual = "https://api.github.com" if status.host == "github.com" else f"{status.origin}/api/v3"
    return StatusRequest(
        url=f"{status.api or usual}/repos/{owner}/{repository}/statuses/{status.commit}",
        headers={**bearer(status.token), "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
        body=status.body(),
    )
