"""The git command line, fenced in: for SSH, for servers without protocol 2, for large packs, and for gc.

What must hold: nothing of this machine's or the repository's configuration is obeyed, no hook runs, no prompt waits,
only https, http and ssh are spoken, no redirect is followed, credentials are in the environment and never in
arguments, what the programs say is bounded, and a time-out or cancellation ends the whole process group.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.aiogit.address import Address
from workers.aiogit.errors import GitError, GitTimeoutError, RefusedUrlError
from workers.aiogit.model import Remote
from workers.aiogit.protocol import printable

_TAIL_BYTES = 8192
OUTPUT_BYTES = 1 << 20
"""How much of what a program says is kept: the end of it."""
_ENDING_SECONDS = 5.0
_TOLERATED = ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode")
"""Old slips in real histories, harmless here; everything else that fsck finds refuses the pack."""
_CONFIG = {
    "core.bigFileThreshold": "32m",
    "core.deltaBaseCacheLimit": "64m",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.packedGitLimit": "256m",
    "core.packedGitWindowSize": "32m",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "100",
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.version": "2",
    "safe.directory": "*",
    "submodule.recurse": "false",
    **{f"fetch.fsck.{name}": "ignore" for name in _TOLERATED},
}
FSCK_OPTION = "--strict=" + ",".join(f"{name}=ignore" for name in _TOLERATED)


@dataclass(frozen=True)
class Output:
    """How a program ended, and the end of what it said."""

    code: int
    out: bytes
    err: bytes


class GitCli:
    """Runs git for one store and one remote. ``scratch`` is a private folder (0700) for the SSH key and the home."""

    def __init__(self, directory: Path, address: Address, remote: Remote, scratch: Path) -> None:
        self._directory, self._address, self._remote, self._scratch = directory, address, remote, scratch
        self._program = shutil.which("git")

    @property
    def available(self) -> bool:
        return self._program is not None

    async def run(
        self,
        arguments: Sequence[str],
        *,
        seconds: float,
        stdin: AsyncIterable[bytes] | None = None,
        file_bytes: int | None = None,
        memory: int | None = None,
        network: bool = False,
        objects: Path | None = None,
        config: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Output:
        """Run ``git ARGUMENTS``; ``file_bytes`` and ``memory`` bound each file it writes and its address space.

        ``objects``: where new objects go, apart from the store's (see ``quarantine``). ``config``, ``environment``:
        what this run needs besides.

        :raises GitTimeoutError: not done within ``seconds``; the process group was killed.
        :raises GitError: there is no git.
        """
        if self._program is None:
            raise GitError("there is no `git` on the PATH")
        command = _limited([self._program, f"--git-dir={self._directory}", *arguments], file_bytes, memory)
        return await run_program(
            command,
            what=f"git {arguments[0]}",
            seconds=seconds,
            stdin=stdin,
            environment={**self._environment(network, objects, config or {}), **(environment or {})},
            folder=self._scratch,
        )

    def _environment(self, network: bool, objects: Path | None, more: Mapping[str, str]) -> dict[str, str]:
        config = {**_CONFIG, **more}
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._scratch),
            "XDG_CONFIG_HOME": str(self._scratch),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ATTR_NOSYSTEM": "1",
        }
        if objects is not None:
            environment |= {
                "GIT_OBJECT_DIRECTORY": str(objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self._directory / "objects"),
            }
        if network and self._address.scheme == "ssh":
            environment |= {"GIT_SSH_COMMAND": self._ssh_command(), "GIT_SSH_VARIANT": "ssh"}
        elif network:
            config |= self._http_config()
        environment["GIT_CONFIG_COUNT"] = str(len(config))
        for index, (name, value) in enumerate(config.items()):
            environment[f"GIT_CONFIG_KEY_{index}"], environment[f"GIT_CONFIG_VALUE_{index}"] = name, value
        return environment

    def _http_config(self) -> dict[str, str]:
        config = {}
        if authorization := basic_authorization(self._remote):
            config[f"http.{self._address.origin}/.extraHeader"] = f"Authorization: {authorization}"
        if ca_file := os.environ.get("SSL_CERT_FILE"):
            config["http.sslCAInfo"] = ca_file
        return config

    def _ssh_command(self) -> str:
        """The options leave nothing to the machine's configuration: this key, these hosts, no questions.

        :raises RefusedUrlError: no key, or no known hosts: an unknown server is never trusted.
        """
        if not self._remote.ssh_key:
            raise RefusedUrlError("an ssh address needs `credentials.sshKey`")
        if not self._remote.known_hosts:
            raise RefusedUrlError("an ssh address needs `credentials.knownHosts`: an unknown host is never trusted")
        key, hosts = self._scratch / "key", self._scratch / "known_hosts"
        _write_private(key, self._remote.ssh_key.rstrip(b"\n") + b"\n")
        _write_private(hosts, self._remote.known_hosts.rstrip(b"\n") + b"\n")
        options: Mapping[str, str] = {
            "BatchMode": "yes",
            "CheckHostIP": "no",
            "ClearAllForwardings": "yes",
            "ConnectTimeout": "10",
            "ForwardAgent": "no",
            "GlobalKnownHostsFile": os.devnull,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "IdentityFile": str(key),
            "PasswordAuthentication": "no",
            "PermitLocalCommand": "no",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "UserKnownHostsFile": str(hosts),
            "VerifyHostKeyDNS": "no",
        }
        return " ".join(["ssh", "-F", os.devnull, *(f"-o {name}={value}" for name, value in options.items())])


async def run_program(
    command: Sequence[str],
    *,
    what: str,
    seconds: float,
    environment: Mapping[str, str],
    folder: Path,
    stdin: AsyncIterable[bytes] | None = None,
) -> Output:
    """Run a program in ``folder`` with exactly this ``environment``; ``what`` is its name in errors.

    :raises GitTimeoutError: not done within ``seconds``; the process group was killed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            return await _converse(process, stdin)
    except TimeoutError:
        raise GitTimeoutError(f"{what} did not finish within {seconds:g} s") from None
    finally:
        await _end(process)


def basic_authorization(remote: Remote) -> str | None:
    """The ``Authorization`` header's value; None for an anonymous remote."""
    if remote.password is None:
        return None
    pair = f"{remote.username or 'git'}:{remote.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _limited(command: list[str], file_bytes: int | None, memory: int | None) -> list[str]:
    """Through a shell's ``ulimit`` (in 512 bytes and 1 KiB), so that the limits hold before git starts, for all it
    starts."""
    if file_bytes is None and memory is None:
        return command
    limits = [f"ulimit -f {-(-file_bytes // 512)}"] if file_bytes is not None else []
    limits += [f"ulimit -v {memory // 1024}"] if memory is not None else []
    return ["/bin/sh", "-c", " && ".join([*limits, 'exec "$@"']), "git", *command]


async def _converse(process: asyncio.subprocess.Process, stdin: AsyncIterable[bytes] | None) -> Output:
    assert process.stdout is not None
    assert process.stderr is not None
    out = asyncio.create_task(_read(process.stdout, OUTPUT_BYTES))
    err = asyncio.create_task(_read(process.stderr, _TAIL_BYTES))
    try:
        if stdin is not None:
            assert process.stdin is not None
            await _write(process.stdin, stdin)
        return Output(await process.wait(), await out, await err)
    finally:
        out.cancel()
        err.cancel()


async def _write(pipe: asyncio.StreamWriter, data: AsyncIterable[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit code and last words say why
        async for piece in data:
            pipe.write(piece)
            await pipe.drain()
        pipe.close()
        await pipe.wait_closed()


async def _read(pipe: asyncio.StreamReader, keep: int) -> bytes:
    """Everything, of which the last ``keep`` bytes are kept."""
    tail = b""
    while piece := await pipe.read(65536):
        tail = (tail + piece)[-keep:]
    return tail


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of the process group behind, also not a helper that outlived git itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING_SECONDS):
            await process.wait()


def _write_private(path: Path, data: bytes) -> None:
    if path.exists():
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def complaint(output: Output, secrets: Sequence[str | None] = ()) -> str:
    """What git said at last, without anything secret."""
    text = printable(output.err or output.out, 400)
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text or f"exit code {output.code}"
