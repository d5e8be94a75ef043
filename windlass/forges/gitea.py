"""Gitea and Forgejo: push, and pull_request closed. The payloads are GitHub's where we read them; the
signature is not.

Both sign with X-Gitea-Signature (hex sha256, no prefix), Forgejo with X-Forgejo-Signature too. The X-Hub-Signature
that they send for GitHub's sake is never looked at. Shapes: docs.gitea.com and forgejo.org, "Webhooks"; statuses:
their /api/v1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from windlass.events import Event
from windlass.forges import github
from windlass.forges.base import delivery_id, header, json_body
from windlass.forges.signatures import Headers, hex_digest, signed
from windlass.forges.status import Status, StatusRequest

name: Final = "gitea"


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    given = headers.get("X-Gitea-Signature") or headers.get("X-Forgejo-Signature")
    return signed(hex_digest(given), body, secrets)


def parse(headers: Headers, body: bytes) -> Event:
    event = header(headers, "X-Gitea-Event", "X-Forgejo-Event")
    delivery = delivery_id(headers.get("X-Gitea-Delivery"), headers.get("X-Forgejo-Delivery"))
    return github.parse_event(event, json_body(headers, body), delivery)


def status_request(status: Status) -> StatusRequest | None:
    owner, repository = status.owner_and_name()
    api = status.api or f"{status.origin}{status.prefix()}/api/v1"
    return StatusRequest(
        url=f"{api}/repos/{owner}/{repository}/statuses/{status.commit}",
        headers={"Authorization": f"token {status.token}"},
        body=status.body(),
    )
