"""Who may speak of which images, and which promotions an image concerns: looked up, built once a version of the documents.

What must hold: a secret speaks of the images of its own document and of no others; what is looked at for one image does not
depend on how many promotions of other images there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from service.endpoints import Resolver
from windlass.documents.catalog import Catalog
from windlass.documents.promotions import PromotionView
from windlass.documents.registry import Registry as RegistryDocument
from windlass.errors import WindlassError
from windlass.events import ImagePublished
from windlass.queue.promotions import Noted
from windlass.registries import REGISTRIES, Presented, Registry, Scope, image_name
from windlass.tag_policy import Policy

log = structlog.get_logger(__name__)

CI = "ci"


class Speaker:
    """One Registry document."""

    def __init__(self, document: RegistryDocument) -> None:
        self.kind = document.spec.type
        self.registry: Registry = REGISTRIES[document.spec.type]
        self.host = document.spec.host
        self.scope = Scope(document.spec.images)
        self._secrets = document.spec.secrets

    def secrets(self, resolver: Resolver) -> list[bytes]:
        """Those that can be read now; the others are logged by name."""
        values = []
        for ref in self._secrets:
            try:
                values.append(resolver.resolve(ref))
            except WindlassError as error:
                log.error("registry.secret_missing", error=str(error))
        return values


class Speakers:
    """The speakers of one version of the documents, and what they are heard for."""

    def __init__(
        self,
        registries: Mapping[str, Speaker] | None = None,
        ci: Sequence[Speaker] = (),
        promotions: Mapping[str, Sequence[tuple[PromotionView, Policy]]] | None = None,
    ) -> None:
        self.registries, self.ci = registries or {}, ci
        self._promotions = promotions or {}

    @classmethod
    def of(cls, catalog: Catalog) -> Speakers:
        promotions: dict[str, list[tuple[PromotionView, Policy]]] = {}
        for view in catalog.promotions.values():
            name = image_name(view.promotion.spec.image)
            if name is not None:
                promotions.setdefault(name, []).append((view, Policy(view.promotion.spec.policy)))
        documents = {name: document for name, document in catalog.registries.items() if document.spec.secrets}
        return cls(
            {name: Speaker(document) for name, document in documents.items() if document.spec.type != CI},
            [Speaker(document) for document in documents.values() if document.spec.type == CI],
            promotions,
        )

    def concerned(self, images: Iterable[ImagePublished]) -> list[Noted]:
        """The promotions that follow these images and accept their tags, in the images' order."""
        return [
            Noted(view.promotion.name, view.digest, image)
            for image in images
            for view, policy in self._promotions.get(image.image, ())
            if policy.accepts(image.tag)
        ]


def believed(
    speakers: Sequence[Speaker], presented: Presented, body: bytes, resolver: Resolver
) -> list[Speaker] | None:
    """Those one of whose secrets the sender knows; None if no secret at all can be read.

    Each is tried, so that the time taken doesn't tell which one it was.
    """
    secrets = [speaker.secrets(resolver) for speaker in speakers]
    verified = [s for s, known in zip(speakers, secrets, strict=True) if s.registry.verify(presented, body, known)]
    return verified if any(secrets) else None
