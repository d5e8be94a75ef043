"""CloudEvents 1.0 over HTTP, structured, batched or binary, of the types that publish images.

* ``harbor.artifact.pushed``; ``Microsoft.ContainerRegistry.ImagePushed`` (Azure Event Grid);
* ``dev.cdevents.artifact.published.*`` (CDEvents), whose subject is a package URL (``pkg:oci/…?repository_url=…&tag=…``);
* ``dev.windlass.image.published``, with `windlass.registries.ci`'s body as its data.

The secret is a bearer token or in the address, as the CloudEvents HTTP 1.1 Web Hooks specification has it. Formats:
github.com/cloudevents/spec, "HTTP Protocol Binding" and "JSON Event Format"; purl-spec, "oci".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, PayloadError, decode, delivery_id
from windlass.forges.signatures import Headers
from windlass.registries import harbor
from windlass.registries.base import ImageEvent, Presented, by_token_or_url, published, timestamp
from windlass.registries.ci import Published
from windlass.registries.distribution import PushEvent
from windlass.registries.names import parse_reference

name: Final = "cloudevents"


class _Event(Payload, frozen=True):
    type: str
    id: str = ""
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Subject(Payload, frozen=True):
    id: str


class _CdEvent(Payload, frozen=True):
    subject: _Subject


_EVENT: Final = msgspec.json.Decoder(_Event)
_BATCH: Final = msgspec.json.Decoder(list[_Event])
_HARBOR: Final = msgspec.json.Decoder(harbor.Artifacts)
_AZURE: Final = msgspec.json.Decoder(PushEvent)
_CDEVENT: Final = msgspec.json.Decoder(_CdEvent)
_OURS: Final = msgspec.json.Decoder(Published)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token_or_url(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/cloudevents-batch+json":
        events = decode(_BATCH, body)
    elif headers.get("ce-type"):
        stamps: dict[str, Any] = {"id": headers.get("ce-id", ""), "time": headers.get("ce-time")}
        events = [_Event(headers["ce-type"], data=msgspec.Raw(body), **stamps)]
    else:
        events = [decode(_EVENT, body)]
    images = [image for event in events for image in _images(event, host)]
    types = ", ".join(sorted({event.type[:64] for event in events})[:3])
    return published(images, delivery_id(*(event.id for event in events[:1])), f"{types or 'nothing'} publishes no tag")


def _images(event: _Event, host: str | None) -> Iterator[ImagePublished]:
    data, at = bytes(event.data), timestamp(event.time)
    if event.type in harbor.PUSHED:
        yield from decode(_HARBOR, data).images(host, at)
    elif event.type == "Microsoft.ContainerRegistry.ImagePushed":
        yield from decode(_AZURE, data).images(host)
    elif event.type.startswith("dev.cdevents.artifact.published."):
        yield _of_purl(decode(_CDEVENT, data).subject.id, at)
    elif event.type == "dev.windlass.image.published":
        yield decode(_OURS, data).published(at)


def _of_purl(purl: str, at: float) -> ImagePublished:
    """``pkg:oci/web@sha256%3A…?repository_url=registry.example/shop/web&tag=1.4.2``."""
    address, _, query = purl.partition("#")[0].partition("?")
    scheme, _, rest = address.partition("/")
    try:
        words = parse_qs(query, max_num_fields=16)
    except ValueError:
        words = {}
    image, tag = words.get("repository_url", [""])[0], words.get("tag", [""])[0]
    digest = unquote(rest.partition("@")[2])
    reference = parse_reference(f"{image}:{tag}" + (f"@{digest}" if digest else ""))
    if scheme != "pkg:oci" or reference is None:
        raise PayloadError("subject.id is not the package URL of an image: pkg:oci/NAME@DIGEST?repository_url=…&tag=…")
    return ImagePublished(reference.name, reference.tag, reference.digest, at=at)
