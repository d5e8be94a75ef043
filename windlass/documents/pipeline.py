"""`Pipeline`: the image of an application's code, built and published at every push to its repository. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from windlass.documents import ordering, syntax
from windlass.documents.base import SecretRef, Strict
from windlass.documents.promotion import IMAGE
from windlass.yamls import Path

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?\Z", re.ASCII)


class PipelineSource(Strict, frozen=True):
    """A branch of a Repository. ``paths``: only a push that changes one of these files or folders is built."""

    repository: str
    branch: str = "main"
    paths: tuple[str, ...] = ()


class PipelineSpec(Strict, frozen=True):
    """``credentials``: the registry's, a file as `docker login` writes it (``config.json``)."""

    source: PipelineSource
    image: str  # without tag and digest
    context: str = ""  # the folder that is built from
    dockerfile: str | None = None  # else CONTEXT/Dockerfile
    target: str = ""
    platform: str = ""
    arguments: dict[str, str] = msgspec.field(default_factory=dict)
    credentials: SecretRef | None = None
    insecure: bool = False  # the registry speaks no TLS
    trusted: bool = False  # may what the Dockerfile says run here, by whoever can push?
    timeout: str = "15m"


class Pipeline(Strict, frozen=True):
    name: str
    spec: PipelineSpec

    @property
    def id(self) -> str:
        return f"pipeline_{self.name}"


def violations(spec: PipelineSpec) -> Iterator[tuple[Path, str]]:
    """What is wrong with a pipeline: (path below ``spec``, message). References are judged by `windlass.documents.rules`."""
    yield from _places(spec)
    if not IMAGE.match(spec.image):
        yield ("image",), "expected an image without tag and digest, such as registry.example/shop/web"
    for name in spec.arguments:
        if not _NAME.match(name):
            yield ("arguments", name), "expected a name of letters, digits and underscores"
    if spec.platform and not _PLATFORM.match(spec.platform):
        yield ("platform",), "expected a platform such as linux/arm64"
    if ordering.seconds(spec.timeout) is None:
        yield ("timeout",), "expected a duration such as 90s, 5m or 1h30m, of a day at most"


def _places(spec: PipelineSpec) -> Iterator[tuple[Path, str]]:
    if not syntax.valid_label(spec.source.repository):
        yield ("source", "repository"), "expected the name of a Repository"
    if not syntax.valid_ref(spec.source.branch):
        yield ("source", "branch"), "not a valid name of a Git ref (git check-ref-format)"
    named: list[tuple[Path, str]] = [(("source", "paths", i), path) for i, path in enumerate(spec.source.paths)]
    named += [(("context",), spec.context), (("dockerfile",), spec.dockerfile or "")]
    for field, path in named:
        if not syntax.valid_folder(path):
            yield field, "expected a path within the repository"
