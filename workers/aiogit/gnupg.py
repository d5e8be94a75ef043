"""Running GnuPG's programs on a home of our own, and the agent on which gpgsm insists.

What must hold: nothing outlives the call: no agent stays behind, and no socket. gpgsm asks a gpg-agent whether it may trust
an authority; left to itself it would start one that goes on for ever, in a session of its own. So we start it, as systemd
would (`gpg-agent --supervised`: it does not fork, and takes the socket that it is given), and kill its process group.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

from workers.aiogit.errors import GitError
from workers.aiogit.gitcli import Output, run_program

SECONDS = 20.0
"""For one program."""


def found_program(name: str) -> str:
    """Where it is.

    :raises GitError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise GitError(f"there is no `{name}` on the PATH, which signedCommits needs")
    return path


async def run_gnupg(command: Sequence[str], home: Path) -> Output:
    """Run one of GnuPG's programs; of this machine's environment it sees the PATH only.

    :raises GitTimeoutError: it was killed, with all that it started.
    """
    return await run_program(
        command, what=Path(command[0]).name, seconds=SECONDS, environment=_environment(home), folder=home
    )


@asynccontextmanager
async def gpg_agent(home: Path) -> AsyncIterator[None]:
    """With an agent for ``home``; one at a time.

    :raises GitError: it can't be had.
    """
    folder, made = await _socket_folder(home)
    try:
        agent = await _start(home, folder / "S.gpg-agent")
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGKILL)
            await agent.wait()
    finally:
        _tidy(folder, made)


async def _start(home: Path, path: Path) -> asyncio.subprocess.Process:
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(str(path))
        except OSError as error:
            raise GitError(f"gpg-agent's socket {path} can't be made: {error}") from None
        listening.listen()
        return await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@" 3<&0 </dev/null', "agent",
            found_program("gpg-agent"), "--homedir", str(home), "--quiet", "--batch", "--supervised",
            stdin=listening.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**_environment(home), "LISTEN_FDS": "1"},
            cwd=home,
            start_new_session=True,
        )  # fmt: skip


async def _socket_folder(home: Path) -> tuple[Path, bool]:
    """Where gpgsm looks for its agent's socket: the home, or a folder below /run/user; and whether we made it."""
    output = await run_gnupg([found_program("gpgconf"), "--homedir", str(home), "--list-dirs", "agent-socket"], home)
    folder = Path(unquote(output.out.decode().strip())).parent
    if output.code or not folder.is_absolute():
        raise GitError("gpgconf can't say where gpg-agent's socket is")
    return folder, _make_folder(folder)


def _make_folder(folder: Path) -> bool:
    if folder.is_dir():
        return False
    folder.mkdir(mode=0o700, parents=True)
    return True


def _tidy(folder: Path, made: bool) -> None:
    for name in folder.glob("S.gpg-agent*"):
        name.unlink(missing_ok=True)
    if made:
        folder.rmdir()


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "GNUPGHOME": str(home), "LC_ALL": "C"}
