"""GitLab: push, tag_push, and merge requests merged or closed; webhooks of projects and groups, and system hooks.

Two kinds of secret: the secret token, which GitLab sends as it is (X-Gitlab-Token), and the signing token
(``whsec_…``), with which it signs by the Standard Webhooks specification: HMAC-SHA256 over
``{webhook-id}.{webhook-timestamp}.{body}``, in ``webhook-signature: v1,<base64>``. A signing token is never accepted
as a secret token: that would undo the signature. The timestamp is authenticated but not held against our clock: a
replay does no harm here (the tip decides), a skewed clock would. Shapes: docs.gitlab.com, "Webhook events"; statuses:
"Commits API", "Set commit pipeline status".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from windlass.events import Event, RefUpdate
from windlass.forges.base import (
    Branch,
    ObjectId,
    Payload,
    PayloadError,
    RefName,
    closed,
    decode,
    delivery_id,
    ignored_event,
    merged,
    not_closed,
    opened,
    pushed,
)
from windlass.forges.github import tip
from windlass.forges.signatures import Headers, base64_bytes, same_secret, signed
from windlass.forges.status import Status, StatusRequest, bearer

name: Final = "gitlab"

SIGNING_TOKEN: Final = b"whsec_"
_STATES: Final = {"pending": "pending", "success": "success", "failure": "failed", "error": "failed"}


class _Project(Payload, frozen=True):
    git_http_url: str | None = None
    git_ssh_url: str | None = None
    web_url: str | None = None

    @property
    def urls(self) -> tuple[str | None, ...]:
        return self.git_http_url, self.git_ssh_url, self.web_url


class _Kind(Payload, frozen=True):
    object_kind: str | None = None
    event_name: str | None = None


class _Push(Payload, frozen=True):
    ref: RefName
    before: ObjectId
    after: ObjectId
    project: _Project
    checkout_sha: ObjectId | None = None


class _Commit(Payload, frozen=True):
    id: str


class _Attributes(Payload, frozen=True):
    target_branch: Branch
    source_branch: str | None = None
    iid: int = 0
    action: str | None = None
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None
    last_commit: _Commit | None = None


class _MergeRequest(Payload, frozen=True):
    project: _Project
    object_attributes: _Attributes


_KIND: Final = msgspec.json.Decoder(_Kind)
_PUSH: Final = msgspec.json.Decoder(_Push)
_MERGE_REQUEST: Final = msgspec.json.Decoder(_MergeRequest)


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    tokens = [secret for secret in secrets if not secret.startswith(SIGNING_TOKEN)]
    keys = [_key(secret) for secret in secrets if secret.startswith(SIGNING_TOKEN)]
    verified = same_secret(headers.get("X-Gitlab-Token", "").encode(errors="surrogateescape"), tokens)
    if keys:
        verified |= _verify_standard(headers, body, keys)
    return verified


def _key(token: bytes) -> bytes:
    return base64_bytes(token.removeprefix(SIGNING_TOKEN).decode("ascii", "replace")) or b""


def _verify_standard(headers: Headers, body: bytes, keys: Sequence[bytes]) -> bool:
    """Several signatures, separated by spaces, are the specification's way of rotation on the sender's side."""
    stamp = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}."
    content = stamp.encode(errors="surrogateescape") + body
    verified = False
    for signature in headers.get("webhook-signature", "").split(" ")[:8]:
        version, _, value = signature.partition(",")
        if version == "v1":
            verified |= signed(base64_bytes(value), content, keys)
    return verified


def parse(headers: Headers, body: bytes) -> Event:
    ids = (headers.get(name) for name in ("webhook-id", "Idempotency-Key", "X-Gitlab-Event-UUID"))
    delivery = delivery_id(*ids)
    found = decode(_KIND, body)
    kind = found.object_kind or found.event_name
    if not kind:
        raise PayloadError("Object missing required field `object_kind` - at `$`")
    if kind in ("push", "tag_push"):
        push = decode(_PUSH, body)
        commit = tip(push.ref, push.after, push.checkout_sha)
        return pushed(push.project.urls, [RefUpdate(push.ref, commit, push.before)], delivery)
    if kind == "merge_request":
        return _changed(decode(_MERGE_REQUEST, body), delivery)
    return ignored_event(kind, delivery)


def _changed(event: _MergeRequest, delivery: str) -> Event:
    urls, request = event.project.urls, event.object_attributes
    number, head, base = request.iid, request.source_branch, request.target_branch
    if request.action == "close":
        return closed(urls, number=number, head=head, base=base, delivery=delivery)
    if request.action in ("open", "reopen", "update"):
        return opened(urls, number=number, head=head, base=base, delivery=delivery)
    if request.action != "merge":
        return not_closed(delivery)
    # A fast-forward makes no merge commit: the branch is then at the squashed commit, or at the request's own last one.
    last = request.last_commit.id if request.last_commit else None
    commit = request.merge_commit_sha or request.squash_commit_sha or last
    return merged(urls, number=number, head=head, base=base, commit=commit, delivery=delivery)


def status_request(status: Status) -> StatusRequest | None:
    project = quote(status.path, safe="")
    return StatusRequest(
        url=f"{status.api or f'{status.origin}/api/v4'}/projects/{project}/statuses/{status.commit}",
        headers=bearer(status.token),
        body=status.fields(
            state=_STATES[status.state],
            name=status.context,
            description=status.description,
            target_url=status.target_url,
        ),
        # GitLab refuses to set the state that a status already has; then it already says what we wanted to say.
        already="Cannot transition status",
    )
