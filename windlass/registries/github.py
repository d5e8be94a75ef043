"""GitHub Packages (ghcr.io): ``registry_package`` and ``package`` events, signed as every webhook of GitHub is.

Shape: docs.github.com, "Webhook events and payloads".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from windlass.events import Ignored, ImagePublished
from windlass.forges import github as forge
from windlass.forges.base import Payload, PayloadError, decode, delivery_id, full_id, header, json_body
from windlass.forges.signatures import Headers
from windlass.registries.base import Digest, ImageEvent, Presented, named, published, timestamp
from windlass.registries.names import TAG

name: Final = "github"

_EVENTS: Final = ("registry_package", "package")
_TagOrNothing = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{TAG})?\Z")]


class _Tag(Payload, frozen=True):
    name: _TagOrNothing = ""
    digest: Digest | None = None


class _Labels(Payload, frozen=True):
    revision: str | None = None
    source: str | None = None


class _Metadata(Payload, frozen=True):
    tag: _Tag | None = None
    labels: _Labels | None = None


class _Version(Payload, frozen=True):
    container_metadata: _Metadata | None = None
    target_oid: str | None = None
    updated_at: str | None = None


class _Package(Payload, frozen=True):
    name: str
    namespace: str
    package_type: str
    package_version: _Version | None = None
    updated_at: str | None = None


class _Event(Payload, frozen=True):
    action: str
    registry_package: _Package | None = None
    package: _Package | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return forge.verify(presented.headers, body, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    delivery, kind = delivery_id(headers.get("X-GitHub-Delivery")), header(headers, "X-GitHub-Event")
    if kind not in _EVENTS:
        return Ignored(f"event {kind[:64]!r} is of no interest: packages are", delivery)
    event = decode(_EVENT, json_body(headers, body))
    package = event.registry_package or event.package
    if package is None:
        raise PayloadError(f"Object missing required field `{kind}` - at `$`")
    version = package.package_version
    metadata = version.container_metadata if version else None
    tag = metadata.tag if metadata else None
    if event.action not in ("published", "updated") or package.package_type.upper() != "CONTAINER":
        return Ignored(f"{package.package_type[:64]} {event.action[:64]}: no image was published", delivery)
    if version is None or tag is None or not tag.name:
        return Ignored("the version has no tag", delivery)
    labels = (metadata.labels if metadata else None) or _Labels()
    image = ImagePublished(
        named(f"{host or 'ghcr.io'}/{package.namespace}/{package.name}".lower()),
        tag.name,
        tag.digest or "",
        commit=full_id(labels.revision) or full_id(version.target_oid),
        repository=(labels.source or "")[:2048],
        at=timestamp(version.updated_at or package.updated_at),
    )
    return published([image], delivery, "")
