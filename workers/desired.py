"""What an application wants: the objects of its sources at their commits, as sketches.

Plain manifests of one source are read by what changed since the commit applied last. Whatever is rendered, or comes from
several sources, is compared whole with the inventory: renders are cached by the content of their inputs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from windlass.documents.types import Source
from workers.aiogit import Change, GitRepository
from workers.followed import Inputs
from workers.ignore import NOTHING_LEFT, IgnoreRules
from workers.plan import ObjectError, Sketch, sketch
from workers.render.plain import Manifest
from workers.render.tree import ManifestReader, Rendered, render
from workers.slices import sliced


class SourceAt(NamedTuple):
    """A source at the commit that is to be made true."""

    source: Source
    repository: GitRepository
    commit: str


class Manifests(Protocol):
    """Where the body of a sketch is read again."""

    def manifest(self, item: Sketch) -> Manifest: ...


class Desired(NamedTuple):
    """``rendered.files`` are the files that changed where ``by_changes``; otherwise ``rendered.wanted`` is everything.

    ``inputs``: by the source's place, what its render read; none for plain manifests.
    """

    rendered: Rendered
    by_changes: bool
    inputs: dict[int, Inputs]
    warnings: tuple[str, ...]
    manifests: Manifests


class Output(NamedTuple):
    """What a renderer made of a source. ``random``: by an object's place, the paths of what no two renders share."""

    manifests: Sequence[Manifest]
    inputs: Mapping[str, str]
    warnings: tuple[str, ...]
    random: Mapping[int, tuple[tuple[str | int, ...], ...]]


Rendering = Callable[[SourceAt], Awaitable[Output | None]]
"""Renders a source; None: it is plain manifests."""


class Instead(NamedTuple):
    """What a run makes true in place of what the sources hold by themselves."""

    sources: Sequence[SourceAt]
    rendering: Rendering


Changes = Callable[[], Awaitable[list[Change] | None]]
"""The files that differ from those applied last; None: all of them must be looked at."""


async def everything() -> None:
    """The `Changes` of who must look at all files."""


async def desired(
    sources: Sequence[SourceAt],
    rendering: Rendering,
    changes: Changes,
    secret_key: bytes,
    ignore: IgnoreRules = NOTHING_LEFT,
) -> Desired:
    """What the sources hold. ``changes`` is asked only where one source of plain manifests is all there is.

    :raises PermanentError: a source can't be rendered. :raises GitError: or read.
    """
    wanted, before, errors, files = list[Sketch](), list[Sketch](), list[ObjectError](), set[str]()
    inputs, warnings, manifests, by_changes = dict[int, Inputs](), list[str](), _BySource(), False
    for place, at in enumerate(sources):
        output = await rendering(at)
        if output is None:
            reader = ManifestReader(at.repository)
            changed = await changes() if len(sources) == 1 else None
            by_changes = changed is not None
            every = at.repository.iter_diff(None, at.commit, at.source.path) if changed is None else changed
            read = await render(every, reader, secret_key, ignore)
            wanted += [item._replace(source=place) for item in read.wanted] if place else read.wanted
            before += read.before
            errors += read.errors
            files |= read.files
            manifests.add(place, reader)
        else:
            inputs[place] = output.inputs
            warnings += output.warnings
            wanted += await _sketches(output, place, secret_key, ignore)
            manifests.add(place, _Rendered(output.manifests))
    rendered = Rendered(wanted, before, errors, frozenset(files))
    return Desired(rendered, by_changes, inputs, tuple(warnings), manifests)


async def _sketches(output: Output, place: int, secret_key: bytes, ignore: IgnoreRules) -> list[Sketch]:
    """In slices: hashing thousands of objects must not hold the loop."""
    found: list[Sketch] = []
    async for index, manifest in sliced(enumerate(output.manifests)):
        paths = output.random.get(index, ())
        made = sketch(manifest, "", index, secret_key, random=paths, ignore=ignore)
        found.append(made._replace(source=place) if place else made)
    return found


class _BySource:
    def __init__(self) -> None:
        self._readers: dict[int, Manifests] = {}

    def add(self, place: int, reader: Manifests) -> None:
        self._readers[place] = reader

    def manifest(self, item: Sketch) -> Manifest:
        return self._readers[item.source].manifest(item)


class _Rendered:
    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._manifests = manifests

    def manifest(self, item: Sketch) -> Manifest:
        return self._manifests[item.place]
