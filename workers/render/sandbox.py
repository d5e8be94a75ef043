"""Runs a renderer on somebody else's files: fenced in, bounded, and nothing of it left behind.

What must hold: the program sees an empty environment, a private folder, and no network where the machine can take it away (a
user and a network namespace of its own, which also keeps it from this process' memory and environment); its time, memory,
output, files and processes are bounded; a time-out or a cancellation ends its whole process group. Limits are set by
prlimit(2) just after the program started, before it can have read a byte of the repository: that costs no extra process.
RLIMIT_DATA is the limit of memory because Go and Python reserve address space far beyond what they use (RLIMIT_AS would stop
them at once); Linux counts private writable memory in it, and both end with "out of memory" when it is reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from workers.render.commit_tree import RenderError

log = structlog.get_logger(__name__)

MIB = 1 << 20
_COMPLAINT_BYTES = 64 << 10
_ENDING_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """What one program may cost us. Seconds, bytes and counts."""

    seconds: float = 30.0
    cpu_seconds: int = 30
    memory: int = 768 * MIB
    output: int = 32 * MIB
    file: int = 64 * MIB
    """The largest file that it may write."""
    processes: int = 64
    """Threads count. Holds where the machine gives it a user namespace, in which it is counted apart, and we aren't root:
    the kernel never counts root's."""


class Finished(NamedTuple):
    """How a program ended: its exit code (negative: the signal), all its output, the beginning of its complaints."""

    code: int
    out: bytes
    err: str


class Sandbox:
    """Where renderers run. ``isolated`` is True once :meth:`open` found that the machine can take the network away."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.isolated = False
        self._fence: tuple[str, ...] = ()

    async def open(self) -> None:
        """Find out, once, what this machine permits."""
        unshare = shutil.which("unshare")
        if unshare is not None:
            fence = (unshare, "--user", "--net", "--")
            probe = await asyncio.create_subprocess_exec(
                *fence, unshare, "--version", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            if await probe.wait() == 0:
                self._fence, self.isolated = fence, True
        if not self.isolated:
            log.warning(
                "render.not_isolated", reason="no user and network namespaces: remote inputs are refused by name only"
            )

    async def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        home: Path,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        network: bool = False,
    ) -> Finished:
        """Run ``command`` in ``folder``, with ``home`` for whatever it must write.

        ``network``: keep this machine's network (for a cloud's KMS only).

        :raises RenderError: it took too long, or said too much; its process group is gone.
        """
        starting = asyncio.create_subprocess_exec(
            *(() if network else self._fence),
            *command,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**_private(home), **(environment or {})},
            cwd=folder,
            start_new_session=True,
            limit=MIB,
        )
        process = await started(starting)
        try:
            self._restrict(process.pid, counted_apart=self.isolated and not network)
            async with asyncio.timeout(self.limits.seconds):
                return await self._converse(process, stdin)
        except TimeoutError:
            name = Path(command[0]).name
            raise RenderError(f"{name} did not finish within {self.limits.seconds:g} s, and was stopped") from None
        finally:
            await end(process)

    def _restrict(self, pid: int, *, counted_apart: bool) -> None:
        limits = {
            resource.RLIMIT_DATA: self.limits.memory,
            resource.RLIMIT_CPU: self.limits.cpu_seconds,
            resource.RLIMIT_FSIZE: self.limits.file,
            resource.RLIMIT_CORE: 0,
        }
        if counted_apart:
            limits[resource.RLIMIT_NPROC] = self.limits.processes
        for kind, value in limits.items():
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                _, most = resource.prlimit(pid, kind)
                value = value if most == resource.RLIM_INFINITY else min(value, most)
                resource.prlimit(pid, kind, (value, value))

    async def _converse(self, process: asyncio.subprocess.Process, stdin: bytes) -> Finished:
        assert process.stdout is not None
        assert process.stderr is not None
        out = asyncio.create_task(_read(process.stdout, self.limits.output))
        err = asyncio.create_task(_read_beginning(process.stderr, _COMPLAINT_BYTES))
        ended = asyncio.create_task(_ended(process.pid))
        ended.add_done_callback(lambda _: _kill(process.pid))  # what it started would hold its pipes open
        try:
            if stdin:
                assert process.stdin is not None
                await _write(process.stdin, stdin)
            output = await out
            if output is None:
                raise RenderError(f"the rendered objects are more than {self.limits.output} bytes")
            return Finished(await process.wait(), output, (await err).decode(errors="replace"))
        finally:
            for task in (out, err, ended):
                task.cancel()


def _private(home: Path) -> dict[str, str]:
    """All that a program is told of this machine."""
    return {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


async def _write(pipe: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit code and last words say why
        pipe.write(data)
        await pipe.drain()
        pipe.close()
        await pipe.wait_closed()


async def _read(pipe: asyncio.StreamReader, most: int) -> bytes | None:
    """Everything; None: it is more than ``most``."""
    pieces: list[bytes] = []
    size = 0
    while piece := await pipe.read(MIB):
        size += len(piece)
        if size > most:
            return None
        pieces.append(piece)
    return b"".join(pieces)


async def _read_beginning(pipe: asyncio.StreamReader, keep: int) -> bytes:
    """Everything, of which the first ``keep`` bytes are kept: the first complaint is the one that matters."""
    head = b""
    while piece := await pipe.read(65536):
        head = (head + piece)[:keep]
    return head


async def started(starting: Coroutine[Any, Any, asyncio.subprocess.Process]) -> asyncio.subprocess.Process:
    """The process, once it runs. Whoever is cancelled meanwhile leaves none: asyncio alone would."""
    task = asyncio.create_task(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await end(await task)
        raise


async def _ended(pid: int) -> None:
    """Until the process has ended; asyncio's own `wait` also waits for whoever holds its pipes."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


async def end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of the process group behind."""
    _kill(process.pid)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING_SECONDS):
            await process.wait()
