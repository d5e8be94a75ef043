"""As whom commits are made, and how they are signed: by GnuPG or ssh-keygen, with one key and nothing else of this machine.

What must hold: the private key is in a folder of this process alone (0700), which goes with it, and in no argument, environment,
log or error; no agent outlives a signature.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from windlass.documents.editing import SigningKind
from windlass.errors import PermanentError
from workers.aiogit.errors import GitError
from workers.aiogit.gitcli import Output, run_program
from workers.aiogit.gnupg import SECONDS, found_program, gpg_agent, run_gnupg

_GPG_OPTIONS = "batch\nno-tty\nno-autostart\ndisable-dirmngr\npinentry-mode loopback\n"
_BEGINS = {"gpg": b"-----BEGIN PGP SIGNATURE-----\n", "ssh": b"-----BEGIN SSH SIGNATURE-----\n"}


class SigningError(PermanentError):
    """The key can't sign; only another one can help."""


@dataclass(frozen=True)
class Key:
    """A private key without a passphrase: GnuPG's (armoured), or OpenSSH's."""

    kind: SigningKind
    text: bytes = field(repr=False)


@dataclass(frozen=True)
class Identity:
    """Author and committer."""

    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


class Signer:
    """Signs with one key. Its folder is made with the first signature; one signature at a time."""

    def __init__(self, key: Key) -> None:
        self._key, self._lock = key, asyncio.Lock()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._fingerprint = ""

    async def sign(self, payload: bytes) -> bytes:
        """The armoured, detached signature of ``payload``, as Git's commits hold it.

        :raises SigningError: the key is none, or has a passphrase. :raises GitError: the program isn't there.
        """
        async with self._lock:
            home = self._home()
            output = await (self._ssh(home, payload) if self._key.kind == "ssh" else self._gpg(home, payload))
        if output.code or not output.out.startswith(_BEGINS[self._key.kind]):
            raise SigningError(f"the {self._key.kind} key can't sign: is it a private key without a passphrase?")
        return output.out

    def _home(self) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="windlass-sign-")  # a short path: a socket is in it
            home = Path(self._scratch.name)
            _write(home / "key", self._key.text.rstrip(b"\r\n") + b"\n")
            if self._key.kind == "gpg":
                (home / "gpg.conf").write_text(_GPG_OPTIONS)
                (home / "common.conf").touch()  # or GnuPG 2.4 would start a key daemon for a new home
        return Path(self._scratch.name)

    async def _ssh(self, home: Path, payload: bytes) -> Output:
        return await run_program(
            [found_program("ssh-keygen"), "-q", "-Y", "sign", "-n", "git", "-f", str(home / "key")],
            what="ssh-keygen",
            seconds=SECONDS,
            environment={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C"},
            folder=home,
            stdin=_once(payload),
        )

    async def _gpg(self, home: Path, payload: bytes) -> Output:
        program = found_program("gpg")
        (home / "payload").write_bytes(payload)
        async with gpg_agent(home):
            if not self._fingerprint:
                output = await run_gnupg([program, "--status-fd", "1", "--import", "--", str(home / "key")], home)
                lines = [line.split() for line in output.out.decode("utf-8", "replace").splitlines()]
                found = [words[3] for words in lines if words[:2] == ["[GNUPG:]", "IMPORT_OK"] and len(words) > 3]
                if not found:
                    raise SigningError("the gpg key can't be read: expected one armoured private key")
                self._fingerprint = found[0]
            arguments = ["--local-user", self._fingerprint, "--armor", "--output", "-", "--detach-sign"]
            return await run_gnupg([program, *arguments, "--", str(home / "payload")], home)

    def close(self) -> None:
        """The key's folder goes."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
            self._fingerprint = ""


def _write(path: Path, data: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise GitError(f"the signing key's folder can't be written: {error.strerror}") from None


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
