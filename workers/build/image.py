"""The story of an image: the commit's files, the builder, its names, and what came of it.

What must hold: an image is of a commit, never of a work tree; what it is named and labelled says of which one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pygit2

from windlass.errors import PermanentError, TransientError
from windlass.images import parse_image, valid_tag
from workers.build import snapshot, untrusted
from workers.build.tools import Order, Tool
from workers.render.sandbox import end, started

LINE = 64 << 10
"""Bytes of a line that a builder says; a longer one is cut."""
TOLD = 5
"""The last lines that an error repeats."""


class Wish(NamedTuple):
    """What somebody wants to have built. ``context`` and ``dockerfile`` are paths in the repository; ``tags`` come beside the
    commit's id and the Git tags that name it."""

    image: str
    revision: str = "HEAD"
    context: str = ""
    dockerfile: str = "Dockerfile"
    tags: Sequence[str] = ()
    arguments: Mapping[str, str] = {}
    target: str = ""
    platform: str = ""
    source: str = ""  # the repository's URL, for people
    insecure: bool = False
    publish: bool = True
    trusted: bool = True
    seconds: float = 1800.0


class Built(NamedTuple):
    """``tag`` is the one to deploy by: the version, where there is one, else the commit."""

    image: str
    tag: str
    tags: tuple[str, ...]
    digest: str
    commit: str

    @property
    def reference(self) -> str:
        return f"{self.image}:{self.tag}"


async def build(
    repository: pygit2.Repository,
    wish: Wish,
    tool: Tool,
    *,
    tell: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Built:
    """Build the image of a commit, and publish it where that is wished. ``tell`` hears each line that the builder says.

    :raises PermanentError: what is wished can't be, or the build failed. :raises TransientError: it took too long.
    """
    named = parse_image(wish.image)
    if named is None or named.tag or named.digest:
        raise PermanentError(
            f"{wish.image}: expected an image without tag and digest, such as registry.example/shop/web"
        )
    with (
        tempfile.TemporaryDirectory(prefix="windlass-build-") as folder,
        tempfile.TemporaryDirectory(prefix="windlass-built-") as told,
    ):
        files, scratch = Path(folder), Path(told)
        shot = await asyncio.to_thread(snapshot.write, repository, wish.revision, files)
        dockerfile = _inside(files, wish.dockerfile)
        if not dockerfile.is_file():
            raise PermanentError(f"{wish.dockerfile}: no such file in {shot.commit[:10]}")
        if not wish.trusted:
            dockerfile = untrusted.checked(dockerfile, scratch)
        tags = tags_of(shot, wish.tags)
        order = Order(
            _inside(files, wish.context),
            dockerfile,
            [f"{wish.image}:{tag}" for tag in tags],
            _labels(shot, wish),
            wish.arguments,
            shot.time,
            target=wish.target,
            platform=wish.platform,
            insecure=wish.insecure,
            publish=wish.publish,
        )
        try:
            async with asyncio.timeout(wish.seconds):
                for command in tool.steps(order, scratch):
                    await _run(command, scratch, tell, environment)
        except TimeoutError:
            raise TransientError(f"{tool.name} did not finish within {wish.seconds:g} s, and was stopped") from None
        return Built(wish.image, tags[0], tags, tool.digest(scratch), shot.commit)


def tags_of(shot: snapshot.Snapshot, wished: Sequence[str]) -> tuple[str, ...]:
    """The image's tags, the one to deploy by first: those wished, those of Git, the commit's id.

    :raises PermanentError: one is none.
    """
    for tag in wished:
        if not valid_tag(tag):
            raise PermanentError(f"{tag[:60]!r} is no tag of an image: letters, digits, `.`, `_`, `-`; at most 128")
    return tuple(dict.fromkeys((*wished, *filter(valid_tag, reversed(shot.tags)), shot.commit)))


def _labels(shot: snapshot.Snapshot, wish: Wish) -> dict[str, str]:
    """Of the OCI image specification's pre-defined annotation keys."""
    created = datetime.fromtimestamp(shot.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"revision": shot.commit, "created": created, "version": tags_of(shot, wish.tags)[0]}
    if wish.source:
        labels["source"] = wish.source
    return {f"org.opencontainers.image.{name}": value for name, value in labels.items()}


def _inside(folder: Path, path: str) -> Path:
    """:raises PermanentError: it leaves the folder, be it by a link."""
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise PermanentError(f"{path}: leaves the repository")
    return found


async def _run(
    command: Sequence[str], folder: Path, tell: Callable[[str], None], environment: Mapping[str, str] | None
) -> None:
    starting = asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ} if environment is None else dict(environment),
        cwd=folder,
        start_new_session=True,
        limit=LINE,
    )
    process = await started(starting)
    last: list[str] = []
    try:
        assert process.stdout is not None
        async for line in _lines(process.stdout):
            tell(line)
            last = [*last[1 - TOLD :], line]
        if await process.wait():
            raise PermanentError(f"{' '.join(command[:2])} failed ({process.returncode}): " + " | ".join(last))
    finally:
        await end(process)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while True:
        try:
            raw = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            raw = error.partial
            if not raw:
                return
        except asyncio.LimitOverrunError:
            raw = await stream.read(LINE)
        yield raw.decode(errors="replace").rstrip()
