"""The door: a source of a commit in, its objects out, by whichever renderer the source asks for.

What must hold: `Output.inputs` names everything that the output was made of, so that a commit which changes none of it is not
rendered again; two renders with the same digest have the same output (but for what `Output.random` names), and the second one is
taken from memory. At most a few programs run at once: each may take as much memory as its limit says.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from windlass.documents.rendering import ChartSource, HelmOptions, JsonnetOptions
from windlass.documents.types import Source
from windlass.secrets import Secrets
from windlass.yamls import Path as YamlPath
from workers.render import helm, jsonnet, kustomize
from workers.render.cache import ByteCache
from workers.render.commit_tree import CommitTree, RenderError
from workers.render.detect import Renderer as Kind
from workers.render.detect import deciding, detect
from workers.render.helm import Pull, Target
from workers.render.plain import Manifest, ManifestError, is_manifest, parse_file
from workers.render.programs import Programs
from workers.render.rendered import RenderedReader, differing
from workers.render.sandbox import Limits, Sandbox
from workers.render.scratch import Scratch
from workers.render.sops import Sops, is_encrypted
from workers.slices import SLICE_SECONDS

OUTPUT_BYTES = 16 << 20
"""Bytes of YAML whose render is kept: its bodies are those that the reader keeps, as long as both do."""
DECRYPTED_BYTES = 4 << 20
MAX_BYTES = 64 << 20
"""What the files of one render may hold."""


class RandomField(NamedTuple):
    """A field whose value differs from render to render; ``path`` () is the object as a whole."""

    api_version: str
    kind: str
    namespace: str
    name: str
    path: YamlPath

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")
        return f"{self.kind} {where}" + (f": {field}" if field else "")


class Output(NamedTuple):
    """What came of a source. ``inputs`` are ids by path, "" for what was looked for and is absent."""

    manifests: list[Manifest]
    inputs: Mapping[str, str]
    digest: str
    random: tuple[RandomField, ...] = ()
    warnings: tuple[str, ...] = ()


class Renderer:
    """Renders the sources of all applications of a worker.

    ``programs``: where helm, kustomize and sops are, if not on the PATH. ``pull`` brings charts from elsewhere; without it
    none are allowed. ``scratch``: where folders of renders are made, in memory by default.
    """

    def __init__(
        self,
        secrets: Secrets,
        *,
        programs: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        scratch: Path | None = None,
        pull: Pull | None = None,
        concurrency: int | None = None,
    ) -> None:
        self.sandbox, self.scratch = Sandbox(limits), Scratch(scratch)
        self._programs = Programs(programs)
        self._sops = Sops(self.sandbox, self.scratch, secrets)
        self._pull = pull or _refuse
        self._reader = RenderedReader()
        self._outputs: ByteCache[str, Output] = ByteCache(OUTPUT_BYTES)
        self._decrypted: ByteCache[tuple[str, str, bytes], bytes] = ByteCache(DECRYPTED_BYTES)
        self._places = asyncio.Semaphore(concurrency or max(2, os.cpu_count() or 1))

    async def open(self) -> None:
        """Make the scratch folder, and find out what the machine permits."""
        self.scratch.open()
        await self.sandbox.open()

    def close(self) -> None:
        self.scratch.close()

    def kind(self, tree: CommitTree, source: Source) -> Kind:
        """What renders ``source``: "plain" needs no program.

        :raises RenderError: the folder says two things at once.
        """
        return detect(tree, source)

    async def render(self, tree: CommitTree, source: Source, target: Target) -> Output:
        """The objects of ``source`` at the commit of ``tree``.

        :raises RenderError: with file and line where they are known.
        :raises TransientError: Git, a key or a chart's repository can't be reached now.
        """
        return await _Render(self, tree, source, target).run()


def inputs_unchanged(inputs: Mapping[str, str], tree: CommitTree) -> bool:
    """Does the commit of ``tree`` hold the same inputs? Compares ids only; a read folder is one comparison."""
    return all(tree.oid(path) == oid for path, oid in inputs.items() if not path.startswith(helm.ELSEWHERE))


class _Render:
    """One source, one commit."""

    def __init__(self, renderer: Renderer, tree: CommitTree, source: Source, target: Target) -> None:
        self._of, self._tree, self._source, self._target = renderer, tree, source, target
        self._read_bytes = 0
        self._slice_end = time.monotonic() + SLICE_SECONDS

    async def run(self) -> Output:
        kind = detect(self._tree, self._source)
        found = {path: self._tree.oid(path) for path in deciding(self._source.path)} if self._detected else {}
        render = {"plain": self._plain, "kustomize": self._kustomize, "helm": self._helm, "jsonnet": self._jsonnet}[
            kind
        ]
        return await render(found)

    @property
    def _detected(self) -> bool:
        return self._source.helm is None and self._source.kustomize is None and self._source.jsonnet is None

    # -- one a renderer -------------------------------------------------------------------------------------------

    async def _plain(self, inputs: dict[str, str]) -> Output:
        folder = self._tree.node(self._source.path)
        if folder is None or folder.kind != "folder":
            raise RenderError("there is no such folder", self._source.path or "/")
        inputs |= {self._source.path: folder.oid}
        digest = self._digest("plain", "", inputs)
        if (known := self._of._outputs.get(digest)) is not None:
            return known
        found: list[Manifest] = []
        for path, _ in sorted(self._tree.files(self._source.path)):
            if is_manifest(path):
                try:
                    found += parse_file(await self._read(path), path)
                except ManifestError as error:
                    raise RenderError(error.message, error.file, error.line) from None
        return self._keep(Output(found, inputs, digest), self._read_bytes)

    async def _kustomize(self, inputs: dict[str, str]) -> Output:
        folder, options = self._source.path, self._source.kustomize
        closure = kustomize.resolve(self._tree, folder, options)
        program = await self._of._programs.find("kustomize")
        inputs |= closure.inputs
        digest = self._digest("kustomize", program.version, inputs)
        if (known := self._of._outputs.get(digest)) is not None:
            return known
        files = {path: await self._read(path) for path in closure.files}
        async with self._of._places:
            output, warned = await kustomize.build(
                program, self._of.sandbox, self._of.scratch, folder, options, files, closure.secret
            )
        file = next(path for path in closure.files)  # the resolver begins with the folder's own
        manifests = await self._of._reader.manifests(output, lambda _: file)
        return self._keep(Output(manifests, inputs, digest, (), warned), len(output))

    async def _helm(self, inputs: dict[str, str]) -> Output:
        options = self._source.helm or HelmOptions()
        prepared = await helm.prepare(
            self._tree,
            self._source.path,
            options,
            read=self._read_raw,
            read_values=self._read,
            pull=self._of._pull,
        )
        program = await self._of._programs.find("helm")
        inputs |= prepared.inputs
        digest = self._digest("helm", program.version, inputs, target=self._target)
        if (known := self._of._outputs.get(digest)) is not None:
            return known
        async with self._of._places:
            outputs, warned = await helm.template(
                program, self._of.sandbox, self._of.scratch, prepared, options, self._target
            )
        origin = helm.source_of(prepared)
        renders = [await self._of._reader.manifests(output, origin) for output in outputs]
        random = tuple(_random(*renders)) if len(renders) == 2 else ()
        if prepared.facts.looks_up:
            warned += ("the chart calls lookup, which finds nothing when a chart is rendered outside of a cluster",)
        return self._keep(Output(renders[0], inputs, digest, random, warned), len(outputs[0]))

    async def _jsonnet(self, inputs: dict[str, str]) -> Output:
        options = self._source.jsonnet or JsonnetOptions()
        closure = await jsonnet.resolve(self._tree, self._source.path, options, self._read)
        inputs |= closure.inputs
        digest = self._digest("jsonnet", jsonnet.VERSION, inputs)
        if (known := self._of._outputs.get(digest)) is not None:
            return known
        async with self._of._places:
            objects = await jsonnet.evaluate(self._of.sandbox, self._of.scratch, closure, options)
        output = jsonnet.dump(objects)
        manifests = await self._of._reader.manifests(output, lambda _: closure.main)
        return self._keep(Output(manifests, inputs, digest), len(output))

    # -- what they share ------------------------------------------------------------------------------------------

    async def _read_raw(self, path: str) -> bytes:
        data = self._tree.read(path)
        self._read_bytes += len(data)
        if self._read_bytes > MAX_BYTES:
            raise RenderError(f"reads more than {MAX_BYTES} bytes", self._source.path or "/")
        if time.monotonic() >= self._slice_end:
            await asyncio.sleep(0)
            self._slice_end = time.monotonic() + SLICE_SECONDS
        return data

    async def _read(self, path: str) -> bytes:
        """The file's content, decrypted where it is encrypted with SOPS."""
        data = await self._read_raw(path)
        if not is_encrypted(data):
            return data
        options = self._source.sops
        if options is None:
            raise RenderError("is encrypted with SOPS, and the application's source names no keys (sops)", path)
        if not self._of.scratch.in_memory:
            raise RenderError(
                "is encrypted, and is decrypted only where scratch folders are in memory (/dev/shm)", path
            )
        key = self._tree.oid(path), path, msgspec.json.encode(options)
        known = self._of._decrypted.get(key)
        if known is None:
            program = await self._of._programs.find("sops")
            async with self._of._places:
                plain = await self._of._sops.decrypt(program, data, path, options)
            known = self._of._decrypted.put(key, plain, len(plain))
        return known

    def _digest(self, kind: Kind, version: str, inputs: Mapping[str, str], target: Target | None = None) -> str:
        options = (self._source.helm, self._source.kustomize, self._source.jsonnet, self._source.sops)
        asked: list[Any] = [
            kind,
            version,
            self._source.path,
            msgspec.to_builtins(options),
            target and tuple(target),
            inputs,
        ]
        return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _keep(self, output: Output, size: int) -> Output:
        return self._of._outputs.put(output.digest, output, size)


def _random(one: Iterable[Manifest], other: Iterable[Manifest]) -> Iterable[RandomField]:
    """What differs between two renders of the same."""
    first, second = ({manifest[:4]: manifest.body for manifest in render} for render in (one, other))
    for identity in {**first, **second}:
        if identity in first and identity in second:
            for path in differing(first[identity], second[identity]):
                yield RandomField(*identity, path)
        else:
            yield RandomField(*identity, ())


async def _refuse(chart: ChartSource) -> bytes:
    raise RenderError(f"charts of {chart.repository} are not allowed: vendor it, or allow its repository")
