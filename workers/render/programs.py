"""The renderers' programs: where they are, and which version, asked once."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from typing import NamedTuple

from workers.render.commit_tree import RenderError
from workers.render.sandbox import end, started

_VERSION = re.compile(r"v?\d+\.\d+\.\d+[0-9A-Za-z.+-]*")
_ASKED = {
    "helm": ("version", "--template={{.Version}}"),
    "kustomize": ("version",),
    "sops": ("--disable-version-check", "--version"),
}
_SECONDS = 20.0


class Program(NamedTuple):
    path: str
    version: str


class Programs:
    """Finds programs: where ``paths`` says, else on the PATH."""

    def __init__(self, paths: Mapping[str, str] | None = None) -> None:
        self._paths = dict(paths or {})
        self._known: dict[str, Program] = {}

    async def find(self, name: str) -> Program:
        """The program called ``name``.

        :raises RenderError: it is not here, or does not say which version it is.
        """
        known = self._known.get(name)
        if known is None:
            path = shutil.which(self._paths.get(name, name))
            if path is None:
                raise RenderError(f"there is no `{name}` on the worker's PATH")
            known = self._known[name] = Program(path, await _version(name, path))
        return known


async def _version(name: str, path: str) -> str:
    process = await started(
        asyncio.create_subprocess_exec(
            path,
            *_ASKED[name],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"HOME": "/nonexistent", "HELM_NO_PLUGINS": "1"},
            start_new_session=True,
        )
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise RenderError(f"`{name}` does not say which version it is") from None
    finally:
        await end(process)
    match = _VERSION.search(output.decode(errors="replace"))
    if match is None:
        raise RenderError(f"`{name}` does not say which version it is")
    return match[0]
