"""One module a registry: how it shows who it is, and what it says when an image was published. A new one is one more module."""

from __future__ import annotations

from typing import Final

from windlass.registries import azure, ci, cloudevents, distribution, dockerhub, ecr, github, google, harbor, quay
from windlass.registries.base import ImageEvent, Presented, Registry
from windlass.registries.names import Reference, Scope, image_name, parse_reference

REGISTRIES: Final[dict[str, Registry]] = {
    "ci": ci,
    "distribution": distribution,
    "dockerhub": dockerhub,
    "github": github,
    "gitlab": distribution,
    "harbor": harbor,
    "quay": quay,
    "azure": azure,
    "google": google,
    "ecr": ecr,
    "cloudevents": cloudevents,
}
"""By the names that documents use."""

__all__ = [
    "REGISTRIES",
    "ImageEvent",
    "Presented",
    "Reference",
    "Registry",
    "Scope",
    "image_name",
    "parse_reference",
]
