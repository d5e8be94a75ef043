"""`Registry`: who may say that an image was published, and of which images. Pure data and its rules.

A registry calls ``POST /registries/{name}``; of ``type: ci`` are the tokens of ``POST /images``. What must hold: whoever holds a
secret of one document can speak of exactly the images that the document names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from windlass.documents.base import SecretRef, Strict
from windlass.yamls import Path

RegistryType = Literal[
    "ci",
    "distribution",
    "dockerhub",
    "github",
    "gitlab",
    "harbor",
    "quay",
    "azure",
    "google",
    "ecr",
    "cloudevents",
]

LONGEST_PATTERN = 255
_PATTERN = re.compile(r"(?=[^/]*[.:*]|localhost/)[a-z0-9*][a-z0-9._*:-]*(/[a-z0-9._*-]+)+\Z", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?\Z", re.ASCII)
PATTERN_EXPECTED = (
    "expected an image with its registry, such as registry.example/shop/web, docker.io/shop/* or registry.example/**"
)


class RegistrySpec(Strict, frozen=True):
    """``images``: patterns, ``*`` for a part of a name between slashes, ``**`` for any number of them.

    ``host``: the registry as images name it, where its events name another (behind a proxy), or none.
    """

    type: RegistryType
    images: tuple[str, ...]
    secrets: tuple[SecretRef, ...]  # all of them valid, for rotation
    host: str | None = None


class Registry(Strict, frozen=True):
    name: str
    spec: RegistrySpec


def violations(spec: RegistrySpec) -> Iterator[tuple[Path, str]]:
    """What is wrong with a registry: (path below ``spec``, message). References are judged by `windlass.documents.rules`."""
    if not spec.secrets:
        yield ("secrets",), "expected at least one secret: an event that nobody signs could be sent by anybody"
    if not spec.images:
        yield ("images",), "expected at least one pattern"
    for index, pattern in enumerate(spec.images):
        if len(pattern) > LONGEST_PATTERN or not _PATTERN.match(pattern):
            yield ("images", index), PATTERN_EXPECTED
    if spec.host is not None and not _HOST.match(spec.host):
        yield ("host",), "expected a host name, with a port where it has one"
