"""The forges' deliveries as they document them (tests/data/webhooks), and how each forge signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, NamedTuple

from multidict import CIMultiDict

FOLDER = Path(__file__).parent / "data" / "webhooks"


class Sample(NamedTuple):
    """One delivery: what it is, the repository's URL in our documents, and the event that it should become."""

    name: str
    what: str
    forge: str
    url: str
    headers: dict[str, str]
    body: Any
    expect: dict[str, Any]

    @property
    def raw(self) -> bytes:
        return json.dumps(self.body).encode()


def samples() -> list[Sample]:
    return [Sample(file.stem, **json.loads(file.read_text())) for file in sorted(FOLDER.glob("*.json"))]


def sample(name: str) -> Sample:
    return Sample(name, **json.loads((FOLDER / f"{name}.json").read_text()))


def hex_hmac(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def signature(forge: str, secret: bytes, body: bytes) -> dict[str, str]:
    """The headers by which ``forge`` proves that it knows ``secret``."""
    match forge:
        case "github":
            return {"X-Hub-Signature-256": f"sha256={hex_hmac(secret, body)}"}
        case "gitea":
            return {"X-Gitea-Signature": hex_hmac(secret, body)}
        case "forgejo":
            return {"X-Forgejo-Signature": hex_hmac(secret, body), "X-Gitea-Signature": hex_hmac(secret, body)}
        case "gitlab":
            return {"X-Gitlab-Token": secret.decode()}
        case "bitbucket" | "bitbucket-server":
            return {"X-Hub-Signature": f"sha256={hex_hmac(secret, body)}"}
        case "azure":
            return {"Authorization": "Basic " + base64.b64encode(b"windlass:" + secret).decode()}
        case "generic":
            return {"X-Windlass-Signature": f"sha256={hex_hmac(secret, body)}"}
    raise AssertionError(f"how does {forge} sign?")


def signed(item: Sample, secret: bytes, body: bytes | None = None) -> CIMultiDict[str]:
    """The delivery's headers, signed."""
    return CIMultiDict({**item.headers, **signature(item.forge, secret, item.raw if body is None else body)})
