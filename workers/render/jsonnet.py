"""Jsonnet through its own library, in a fenced child process that is handed the files and opens none.

Jsonnet only imports what a literal names, so the closure of imports is found by reading (words in comments and texts may add a
file that is not needed, never leave one out). An import that is not in it fails: the child knows no file system.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from windlass.documents.rendering import JsonnetOptions
from workers.render import jsonnet_child
from workers.render.commit_tree import CommitTree, RenderError, join, parent
from workers.render.complaints import Given, complaint
from workers.render.sandbox import Sandbox
from workers.render.scratch import Scratch

MAX_FILES = 2_000
MAX_BYTES = 32 << 20
VERSION = metadata.version("jsonnet")
MAX_DEPTH = 32
"""How deep objects by name may be nested."""

_IMPORT = re.compile(rb"""\bimport(?:str|bin)?\s*@?(?:"([^"\n]*)"|'([^'\n]*)')""")
_PLACE = re.compile(r"([^\s:()]+\.(?:jsonnet|libsonnet)):\(?(\d+)")


class Closure(NamedTuple):
    """The program, all that it may import, and every path at which an import was looked for ("" where nothing is)."""

    main: str
    libraries: tuple[str, ...]
    files: dict[str, bytes]
    inputs: dict[str, str]


async def resolve(
    tree: CommitTree, folder: str, options: JsonnetOptions, read: Callable[[str], Awaitable[bytes]]
) -> Closure:
    """What the program reads.

    :raises RenderError: it isn't there, or reads too much.
    """
    main = _inside(folder, options.file)
    libraries = tuple(_inside(folder, library) for library in options.libraries)
    files: dict[str, bytes] = {}
    inputs: dict[str, str] = {}
    waiting, size = [main], 0
    while waiting:
        file = waiting.pop()
        if file in files:
            continue
        data = files[file] = await read(file)
        inputs[file] = tree.oid(file)
        size += len(data)
        if len(files) > MAX_FILES or size > MAX_BYTES:
            raise RenderError(f"imports more than {MAX_FILES} files or {MAX_BYTES} bytes", main)
        if not file.endswith((".jsonnet", ".libsonnet", ".json")):
            continue
        for match in _IMPORT.finditer(data):
            name = (match[1] or match[2] or b"").decode(errors="replace")
            for path in jsonnet_child.candidates(parent(file), name, libraries):
                inputs[path] = tree.oid(path)
                if tree.is_file(path):
                    waiting.append(path)
                    break
    return Closure(main, libraries, files, inputs)


async def evaluate(
    sandbox: Sandbox, scratch: Scratch, closure: Closure, options: JsonnetOptions
) -> list[dict[str, Any]]:
    """The objects that the program's value holds.

    :raises RenderError: with Jsonnet's own message, and the file and line.
    """
    asked = {
        "main": closure.main,
        "libraries": closure.libraries,
        "files": {path: data.decode("utf-8", "replace") for path, data in closure.files.items()},
        "external": options.external,
        "external_code": options.external_code,
        "arguments": options.arguments,
        "arguments_code": options.arguments_code,
    }
    async with scratch.folder({}) as made:
        command = [sys.executable, "-I", str(Path(jsonnet_child.__file__))]
        finished = await sandbox.run(command, folder=made.files, home=made.home, stdin=orjson.dumps(asked))
        if finished.code:
            given = Given(str(made.files), closure.files)
            message = await asyncio.to_thread(complaint, finished, "jsonnet", given)
            place = _PLACE.search(message)
            raise RenderError(message, place[1] if place else closure.main, int(place[2]) if place else 0)
    try:
        return list(_objects(orjson.loads(finished.out), closure.main))
    except orjson.JSONDecodeError:
        raise RenderError("the value is no JSON", closure.main) from None


def _objects(value: Any, file: str, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The objects in a value: one, a list of them, or a mapping to them (as deep as programs nest them)."""
    if depth > MAX_DEPTH:
        raise RenderError(f"objects are nested more than {MAX_DEPTH} deep", file)
    if isinstance(value, dict) and "kind" in value and "apiVersion" in value:
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _objects(item, file, depth + 1)
    elif value is not None:
        raise RenderError("expected Kubernetes objects (with apiVersion and kind), in lists or by name", file)


def dump(objects: Iterable[Mapping[str, Any]]) -> bytes:
    """The objects as documents, as other renderers print them."""
    return b"".join(b"---\n" + orjson.dumps(item) + b"\n" for item in objects)


def _inside(folder: str, path: str) -> str:
    found = join(folder, path)
    if found is None:
        raise RenderError(f"{path} leads out of the repository")
    return found
