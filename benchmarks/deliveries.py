"""Pushes as a forge tells of them: one signed delivery each."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import aiohttp

from tests.parts.windlass import Windlass


def body(url: str, after: str, before: str = "") -> bytes:
    """What the generic forge says of a push to main."""
    update = {"ref": "refs/heads/main", "after": after} | ({"before": before} if before else {})
    return json.dumps({"repository": url, "updates": [update]}).encode()


def headers(windlass: Windlass, content: bytes) -> dict[str, str]:
    """The signature of ``content``."""
    digest = hmac.new(windlass.secret.encode(), content, hashlib.sha256).hexdigest()
    return {"X-Windlass-Signature": f"sha256={digest}", "Content-Type": "application/json"}


async def deliver(windlass: Windlass, name: str, url: str, commit: str) -> dict[str, Any]:
    """Tell of one push to ``url``; returns the answer.

    :raises aiohttp.ClientResponseError: it was refused.
    """
    content = body(url, commit)
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{windlass.url}/webhooks/{name}", data=content, headers=headers(windlass, content)) as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found
