"""`helm template` on exactly a chart's files, its values files and the `file://` dependencies that it has in the repository.

What must hold: the chart's folder is read whole (its id is one input), and of the rest only what is named; charts that are not in
the repository come only from `pull`, which knows what is allowed. A chart that calls a random function is rendered twice, and
what differs is reported; any other is rendered once.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import orjson

from windlass.documents.rendering import ChartSource, HelmOptions
from workers.render import chart
from workers.render.commit_tree import CommitTree, RenderError, join
from workers.render.complaints import Given, complaint, warnings
from workers.render.programs import Program
from workers.render.sandbox import Sandbox
from workers.render.scratch import Scratch

PULLED = ".windlass-chart"
VALUES = ".windlass-values"
ELSEWHERE = "chart:"
"""Begins the name of an input that is a pinned chart from elsewhere: no commit changes it."""
MAX_DEPENDENCIES = 64

_SPEED = {"GOGC": "400", "GOMEMLIMIT": "512MiB", "GOMAXPROCS": "4", "HELM_NO_PLUGINS": "1"}
_SOURCE = re.compile(rb"\s*# Source: ([^\r\n]+)")
_TEMPLATE = re.compile(r"([A-Za-z0-9._-]+/(?:templates|crds|charts)/[^\s:()]+?):(\d+)")

Read = Callable[[str], Awaitable[bytes]]
"""The content of a file of the commit, by path."""
Pull = Callable[[ChartSource], Awaitable[bytes]]
"""The archive of a chart that is not in the repository; raises RenderError where it isn't allowed or isn't there."""


class Prepared(NamedTuple):
    """A chart and all that its render reads.

    ``files`` are by path in the scratch folder; ``values`` are those files of values, by where they are really from;
    ``prefixes`` say where a template that Helm names really is.
    """

    folder: str
    name: str
    files: dict[str, bytes]
    values: dict[str, str]
    inputs: dict[str, str]
    prefixes: dict[str, str]
    facts: chart.Facts

    def origin(self, named: str) -> str:
        """The file in the repository that Helm calls ``named``, `chart/templates/x.yaml`."""
        for prefix in sorted(self.prefixes, key=len, reverse=True):
            if named.startswith(prefix):
                return self.prefixes[prefix] + named[len(prefix) :]
        return named


class Target(NamedTuple):
    """Where the objects go: what templates may ask of it. ``kube_version`` "" is Helm's own default."""

    name: str
    namespace: str
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()


async def prepare(
    tree: CommitTree, folder: str, options: HelmOptions, *, read: Read, read_values: Read, pull: Pull
) -> Prepared:
    """Gather the chart in ``folder`` (or the one that ``options`` name), its dependencies, and its values.

    :raises RenderError: with file and line: something is missing, not allowed, or leads out of the repository.
    """
    gathering = _Gathering(tree, read, pull)
    if options.chart is not None:
        at, name = await gathering.pulled(options.chart)
        prefixes = {f"{name}/": f"{options.chart.repository}/{name}/"}
    else:
        at = folder
        name = await gathering.folder(folder)
        prefixes = {f"{name}/": f"{folder}/" if folder else ""}
    values = dict(
        [await gathering.values(folder, path, index, read_values) for index, path in enumerate(options.values_files)]
    )
    if options.values:
        values[f"{VALUES}/inline.yaml"] = "the application's values"
        gathering.files[f"{VALUES}/inline.yaml"] = orjson.dumps(options.values)
    facts = await asyncio.to_thread(chart.facts, gathering.files)
    prefixes |= {prefix: origin for prefix, origin in gathering.origins.items() if prefix.startswith(f"{name}/")}
    return Prepared(at, name, gathering.files, values, gathering.inputs, prefixes, facts)


class _Gathering:
    def __init__(self, tree: CommitTree, read: Read, pull: Pull) -> None:
        self._tree, self._read, self._pull = tree, read, pull
        self.files: dict[str, bytes] = {}
        self.inputs: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self._dependencies = 0

    async def folder(self, folder: str) -> str:
        """Take in the chart in ``folder`` of the repository; its name."""
        found = await self._chart(folder, folder)
        await self._depend(found, at=folder, home=folder, chain=(folder,), named=f"{found.name}/")
        return found.name

    async def pulled(self, source: ChartSource) -> tuple[str, str]:
        """Take in a chart from elsewhere; its folder and name."""
        archive = await self._pulled(source)
        where = f"{source.repository}/{source.name}"
        unpacked = await asyncio.to_thread(chart.unpack, archive, where)
        name = chart.archived_chart(archive, where).name
        top = next(iter(unpacked)).partition("/")[0]
        self.files.update((f"{PULLED}/{path}", data) for path, data in unpacked.items())
        found = chart.read_chart(self.files, f"{PULLED}/{top}")
        await self._depend(found, at=f"{PULLED}/{top}", home=None, chain=(), named=f"{name}/")
        return f"{PULLED}/{top}", name

    async def values(self, folder: str, path: str, index: int, read: Read) -> tuple[str, str]:
        """Take in a values file: where it is in the scratch folder (a name without commas, at which Helm would split),
        and in the repository."""
        at = join(folder, path)
        if at is None:
            raise RenderError(f"the values file {path} leads out of the repository")
        self.inputs[at] = self._tree.oid(at)
        self.files[f"{VALUES}/{index}.yaml"] = await read(at)
        return f"{VALUES}/{index}.yaml", at

    async def _pulled(self, source: ChartSource) -> bytes:
        archive = await self._pull(source)
        name = f"{ELSEWHERE}{source.repository}/{source.name}@{source.version}"
        self.inputs[name] = hashlib.sha256(archive).hexdigest()
        return archive

    async def _chart(self, home: str, at: str) -> chart.Chart:
        """Take in the chart in the folder ``home`` of the repository, to be at ``at``."""
        self.inputs[home] = self._tree.oid(home)
        for path, _ in self._tree.files(home):
            below = path[len(home) :].lstrip("/") if home else path
            self.files[f"{at}/{below}" if at else below] = await self._read(path)
        return chart.read_chart(self.files, at)

    async def _depend(
        self, found: chart.Chart, *, at: str, home: str | None, chain: tuple[str, ...], named: str
    ) -> None:
        """Put what ``found`` needs into its charts/ folder, as `helm dependency build` would, where it isn't there already."""
        there = chart.vendored(self.files, at) if found.dependencies else set()
        versions = chart.locked(self.files, at) if found.dependencies else {}
        for needed in found.dependencies:
            if needed.name in there:
                continue
            self._dependencies += 1
            if self._dependencies > MAX_DEPENDENCIES:
                raise RenderError(f"more than {MAX_DEPENDENCIES} dependencies", found.file, needed.line)
            charts = f"{at}/charts" if at else "charts"
            if needed.repository.startswith("file://"):
                await self._local(found, needed, charts, home, chain, named)
            else:
                await self._remote(found, needed, charts, versions.get(needed.name, needed.version))
            there.add(needed.name)

    async def _local(
        self,
        found: chart.Chart,
        needed: chart.Dependency,
        charts: str,
        home: str | None,
        chain: tuple[str, ...],
        named: str,
    ) -> None:
        path = join(home, needed.repository.removeprefix("file://").lstrip("/")) if home is not None else None
        if path is None or needed.repository.startswith("file:///"):
            raise RenderError(f"the dependency {needed.name} leads out of the repository", found.file, needed.line)
        if path in chain:
            raise RenderError(f"the dependency {needed.name} leads back to {path or '/'}", found.file, needed.line)
        if not self._tree.is_folder(path):
            raise RenderError(f"the dependency {needed.name}: there is no folder {path}", found.file, needed.line)
        below = await self._chart(path, f"{charts}/{needed.name}")
        self.origins[f"{named}charts/{below.name}/"] = f"{path}/" if path else ""
        await self._depend(
            below,
            at=f"{charts}/{needed.name}",
            home=path,
            chain=(*chain, path),
            named=f"{named}charts/{below.name}/",
        )

    async def _remote(self, found: chart.Chart, needed: chart.Dependency, charts: str, version: str) -> None:
        if not needed.repository.startswith(("https://", "http://", "oci://")):
            message = f"the dependency {needed.name} is not in charts/, and names no repository"
            raise RenderError(message, found.file, needed.line)
        try:
            archive = await self._pulled(ChartSource(needed.repository, needed.name, version))
        except RenderError as error:
            message = f"the dependency {needed.name} is not in charts/: {error.message}"
            raise RenderError(message, found.file, needed.line) from None
        self.files[f"{charts}/{needed.name}-{version}.tgz"] = archive


async def template(
    program: Program, sandbox: Sandbox, scratch: Scratch, prepared: Prepared, options: HelmOptions, target: Target
) -> tuple[list[bytes], tuple[str, ...]]:
    """What `helm template` prints: once, or twice where the chart calls a random function; and its warnings.

    :raises RenderError: with Helm's own message, and the template's file and line.
    """
    arguments = _arguments(prepared, options, target)
    async with scratch.folder(prepared.files) as made:
        command = [program.path, *arguments]
        times = 2 if prepared.facts.random else 1
        finished = await asyncio.gather(
            *(sandbox.run(command, folder=made.files, home=made.home, environment=_SPEED) for _ in range(times))
        )
        given = Given(str(made.files), prepared.files)
        for one in finished:
            if one.code:
                raise _failure(await asyncio.to_thread(complaint, one, "helm", given), prepared)
        return [one.out for one in finished], await asyncio.to_thread(warnings, finished[0].err, given)


def _arguments(prepared: Prepared, options: HelmOptions, target: Target) -> list[str]:
    kube_version = options.kube_version or target.kube_version
    api_versions = sorted({*target.api_versions, *options.api_versions})
    return [
        "template",
        options.release or target.name,
        f"./{prepared.folder}",
        f"--namespace={target.namespace or 'default'}",
        "--skip-tests",
        *(() if options.skip_crds else ("--include-crds",)),
        *(("--no-hooks",) if options.skip_hooks else ()),
        *(f"--values=./{path}" for path in prepared.values),
        *((f"--kube-version={kube_version}",) if kube_version else ()),
        *((f"--api-versions={','.join(api_versions)}",) if api_versions else ()),
    ]


def _failure(message: str, prepared: Prepared) -> RenderError:
    """Helm's message, at the template that it names last: the innermost one."""
    for given, origin in prepared.values.items():
        message = message.replace(f"./{given}", origin).replace(given, origin)
    places = _TEMPLATE.findall(message)
    if not places:
        return RenderError(message, prepared.folder or "/")
    named, line = places[-1]
    return RenderError(message, prepared.origin(named), int(line))


def source_of(prepared: Prepared) -> Callable[[bytes], str]:
    """Tells from a rendered document which file of the repository it comes from."""

    def find(document: bytes) -> str:
        match = _SOURCE.match(document)
        return prepared.origin(match[1].decode(errors="replace")) if match else prepared.folder

    return find
