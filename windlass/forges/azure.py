"""Azure DevOps: git.push with every one of its refUpdates, and git.pullrequest.merged (or .updated) once completed or
abandoned.

Service hooks are not signed: the webhook's basic authentication (the user name is free) is all that they offer, so
the secret is the password, or ``user:password``. "Resource details to send" must be "All". One repository has several
addresses (dev.azure.com, visualstudio.com, SSH), all of which are derived. A tag's ``newObjectId`` is the tag
object's where the tag is annotated, so a tag's update names no commit. Shapes: learn.microsoft.com, "Service hooks
events"; statuses: "Statuses - Create".
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from windlass.events import Event, RefUpdate
from windlass.forges.address import repository_address
from windlass.forges.base import (
    ObjectId,
    Payload,
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
from windlass.forges.signatures import Headers, base64_bytes, same_secret
from windlass.forges.status import Status, StatusRequest

name: Final = "azure"

_STATES: Final = {"pending": "pending", "success": "succeeded", "failure": "failed", "error": "error"}


class _Repository(Payload, frozen=True, rename="camel"):
    remote_url: str
    ssh_url: str | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.remote_url, *([self.ssh_url] if self.ssh_url else []))


class _RefUpdate(Payload, frozen=True, rename="camel"):
    name: RefName
    old_object_id: ObjectId
    new_object_id: ObjectId

    def update(self) -> RefUpdate:
        return RefUpdate(self.name, tip(self.name, self.new_object_id, None), self.old_object_id)


class _Push(Payload, frozen=True, rename="camel"):
    ref_updates: list[_RefUpdate]
    repository: _Repository


class _PushEvent(Payload, frozen=True):
    resource: _Push


class _Commit(Payload, frozen=True, rename="camel"):
    commit_id: str


class _PullRequest(Payload, frozen=True, rename="camel"):
    status: str
    target_ref_name: RefName
    repository: _Repository
    source_ref_name: str | None = None
    pull_request_id: int = 0
    merge_status: str | None = None
    last_merge_commit: _Commit | None = None


class _PullRequestEvent(Payload, frozen=True):
    resource: _PullRequest


class _Kind(Payload, frozen=True, rename="camel"):
    event_type: str
    id: Any = None


_KIND: Final = msgspec.json.Decoder(_Kind)
_PUSH: Final = msgspec.json.Decoder(_PushEvent)
_PULL_REQUEST: Final = msgspec.json.Decoder(_PullRequestEvent)


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    credentials = base64_bytes(value) if scheme.lower() == "basic" else None
    if credentials is None:
        return False
    password = credentials.partition(b":")[2]
    verified = same_secret(password, secrets)
    verified |= same_secret(credentials, [secret for secret in secrets if b":" in secret])
    return verified


def parse(headers: Headers, body: bytes) -> Event:
    kind = decode(_KIND, body)
    delivery = delivery_id(kind.id)
    if kind.event_type == "git.push":
        push = decode(_PUSH, body).resource
        return pushed(push.repository.urls, [update.update() for update in push.ref_updates], delivery)
    if kind.event_type in ("git.pullrequest.created", "git.pullrequest.merged", "git.pullrequest.updated"):
        return _changed(decode(_PULL_REQUEST, body).resource, delivery)
    return ignored_event(kind.event_type, delivery)


def _changed(request: _PullRequest, delivery: str) -> Event:
    """A merge event says that one was tried: active pull requests are merged on trial at every push."""
    urls, number = request.repository.urls, request.pull_request_id
    head, base = request.source_ref_name, request.target_ref_name
    if request.status == "abandoned":
        return closed(urls, number=number, head=head, base=base, delivery=delivery)
    if request.status == "active":
        return opened(urls, number=number, head=head, base=base, delivery=delivery)
    if request.status != "completed" or request.merge_status not in (None, "succeeded"):
        return not_closed(delivery)
    commit = request.last_merge_commit.commit_id if request.last_merge_commit else None
    return merged(urls, number=number, head=head, base=base, commit=commit, delivery=delivery)


def coordinates(url: str) -> tuple[str, str, str] | None:
    """Organisation, project and repository of an Azure DevOps Services URL; None for a server of one's own."""
    address = repository_address(url)
    if address is None:
        return None
    host, parts = address.host, address.path.split("/")
    if host.endswith(".visualstudio.com"):
        parts = [host.removesuffix(".visualstudio.com"), *(parts[1:] if parts[0] == "DefaultCollection" else parts)]
    elif host == "ssh.dev.azure.com" and parts[0] == "v3":
        parts = [*parts[1:3], "_git", *parts[3:]]
    elif host != "dev.azure.com":
        return None
    if len(parts) == 3 and parts[1] == "_git":  # a project's repository of the same name
        return parts[0], parts[2], parts[2]
    return (parts[0], parts[1], parts[3]) if len(parts) == 4 and parts[2] == "_git" else None


def other_urls(url: str) -> tuple[str, ...]:
    """The other URLs of the same repository on Azure DevOps Services."""
    found = coordinates(url)
    if found is None:
        return ()
    organisation, project, repository = (quote(part) for part in found)
    paths = [f"{project}/_git/{repository}", *([f"_git/{repository}"] if project == repository else [])]
    return (
        f"ssh://git@ssh.dev.azure.com/v3/{organisation}/{project}/{repository}",
        *(f"https://dev.azure.com/{organisation}/{path}" for path in paths),
        *(f"https://{organisation}.visualstudio.com/{path}" for path in paths),
        *(f"https://{organisation}.visualstudio.com/DefaultCollection/{path}" for path in paths),
    )


def status_request(status: Status) -> StatusRequest | None:
    found = coordinates(status.url)
    if found is None:
        return None
    organisation, project, repository = (quote(part, safe="") for part in found)
    api = status.api or f"https://dev.azure.com/{organisation}"
    genre, _, context = status.context.rpartition("/")
    return StatusRequest(
        url=f"{api}/{project}/_apis/git/repositories/{repository}/commits/{status.commit}/statuses?api-version=7.1",
        headers={"Authorization": "Basic " + base64.b64encode(f":{status.token}".encode()).decode()},
        body=status.fields(
            state=_STATES[status.state],
            description=status.description,
            targetUrl=status.target_url,
            context={"name": context, "genre": genre},
        ),
    )
