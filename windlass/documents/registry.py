"""`Registry`: who may say that an image was published, and of which images. Pure data and its rules.

A registry calls ``POST /registries/{name}``; of ``type: ci`` are the tokens of ``POST /images``; one that can't call is polled.
What must hold: whoever holds a secret of one document can speak of exactly the images that the document names; credentials
are for one registry, which the document names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from windlass.documents import ordering, syntax
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


class RegistryLogin(Strict, frozen=True):
    """How to read the registry: what `docker login` is given."""

    username: str
    password: SecretRef


class RegistrySpec(Strict, frozen=True):
    """``images``: patterns, ``*`` for a part of a name between slashes, ``**`` for any number of them.

    ``host``: the registry as images name it, where its events name another (behind a proxy), or none.
    """

    type: RegistryType
    images: tuple[str, ...]
    secrets: tuple[SecretRef, ...] = ()  # all of them valid, for rotation
    host: str | None = None
    poll: str | None = None  # so often its tags are looked at: 5m
    api: str | None = None  # where it is asked, if not https://HOST
    credentials: RegistryLogin | None = None
    trusted: tuple[
        str, ...
    ] = ()  # hosts it may send us to: its token service, which gets the credentials, its blobs' storage

    @property
    def registry(self) -> str:
        """The registry that every pattern names; "" if there is none such."""
        hosts = {pattern.partition("/")[0] for pattern in self.images}
        return next(iter(hosts)) if len(hosts) == 1 and "*" not in "".join(hosts) else ""


class Registry(Strict, frozen=True):
    name: str
    spec: RegistrySpec


def violations(spec: RegistrySpec) -> Iterator[tuple[Path, str]]:
    """What is wrong with a registry: (path below ``spec``, message). References are judged by `windlass.documents.rules`."""
    if not spec.secrets and spec.poll is None:
        yield ("secrets",), "expected at least one secret: an event that nobody signs could be sent by anybody"
    if not spec.images:
        yield ("images",), "expected at least one pattern"
    for index, pattern in enumerate(spec.images):
        if len(pattern) > LONGEST_PATTERN or not _PATTERN.match(pattern):
            yield ("images", index), PATTERN_EXPECTED
    if spec.host is not None and not _HOST.match(spec.host):
        yield ("host",), "expected a host name, with a port where it has one"
    yield from _polling(spec)


def _polling(spec: RegistrySpec) -> Iterator[tuple[Path, str]]:
    if spec.poll is None:
        for field, given in (("api", spec.api), ("credentials", spec.credentials), ("trusted", spec.trusted)):
            if given:
                yield (field,), "goes with poll only"
        return
    if ordering.seconds(spec.poll) is None:
        yield ("poll",), "expected a duration such as 90s, 5m or 1h30m, of a day at most"
    if spec.type == "ci":
        yield ("poll",), "expected a registry's type: CI has no tags"
    if not spec.registry:
        yield ("images",), "with poll, expected images of one registry, which is named without *"
    if spec.api is not None and not syntax.valid_http(spec.api):
        yield ("api",), "expected an http(s) URL, without user name and query"
    yield from _peers(spec)


def _peers(spec: RegistrySpec) -> Iterator[tuple[Path, str]]:
    login = spec.credentials
    if login is not None and (not login.username or ":" in login.username or not login.username.isprintable()):
        yield ("credentials", "username"), "expected a user name without colons and control characters"
    for index, host in enumerate(spec.trusted):
        if not _HOST.match(host):
            yield ("trusted", index), "expected a host name, with a port where it has one"
