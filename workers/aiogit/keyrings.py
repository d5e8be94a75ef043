"""What Git's verifying programs need, made of a policy's public keys and of nothing else.

What must hold: a program that verifies sees these keys only: no key, trust, agent, key server or setting of this machine's
user. GPG gets a GNUPGHOME of its own, ssh-keygen an allowed-signers file (ssh-keygen(1)), gpgsm a home whose trust list
names the policy's authorities.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from windlass.errors import PermanentError
from workers.aiogit.gnupg import found_program, gpg_agent, run_gnupg
from workers.aiogit.signed_objects import Kind

_PROGRAMS: Mapping[Kind, str] = {"gpg": "gpg", "ssh": "ssh-keygen", "x509": "gpgsm"}
_CONFIGS: Mapping[Kind, str] = {"gpg": "gpg.program", "ssh": "gpg.ssh.program", "x509": "gpg.x509.program"}
_GPG_OPTIONS = """\
batch
no-tty
no-autostart
disable-dirmngr
no-auto-key-retrieve
no-auto-key-import
auto-key-locate local
trust-model always
"""
_GPGSM_OPTIONS = "batch\nno-tty\ndisable-dirmngr\ndisable-crl-checks\nno-autostart\nno-common-certs-import\n"


class PolicyError(PermanentError):
    """One of the policy's keys is none; the message says which. Nothing of the repository is applied."""


@dataclass(frozen=True)
class PublicKey:
    """A key of the policy, its text read. ``name`` says where in the document it stands."""

    kind: Kind
    text: bytes
    name: str
    principals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What `windlass.documents.signing.SignedCommits` asks, its references read."""

    keys: tuple[PublicKey, ...]
    every: bool = False
    revoked: bytes = b""

    @cached_property
    def digest(self) -> str:
        """Changes with any key; not with ``every``, which is no part of what one signature is worth."""
        parts = [(key.kind, key.text, key.principals) for key in self.keys]
        return hashlib.sha256(repr((parts, self.revoked)).encode()).hexdigest()


@dataclass(frozen=True)
class Keyring:
    """One kind's keys in the form its program reads. ``signers``: the name in the policy by fingerprint."""

    kind: Kind
    home: Path
    config: Mapping[str, str]
    signers: Mapping[str, str]
    _serving: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def environment(self) -> dict[str, str]:
        return {"GNUPGHOME": str(self.home)}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """With what the program needs running: an agent, for gpgsm alone."""
        if self.kind != "x509":
            yield
            return
        async with self._serving, gpg_agent(self.home):
            yield


async def make_keyring(kind: Kind, policy: Policy, folder: Path) -> Keyring:
    """The keyring of the policy's keys of ``kind``, in ``folder``, which is made.

    :raises PolicyError: one of the keys can't be read. :raises GitError: the program is not installed.
    """
    program = found_program(_PROGRAMS[kind])
    _make_home(kind, folder)
    keys = [key for key in policy.keys if key.kind == kind]
    config = {_CONFIGS[kind]: program}
    if kind == "ssh":
        signers = _allow(keys, folder / "allowed_signers")
        config["gpg.ssh.allowedSignersFile"] = str(folder / "allowed_signers")
        if policy.revoked:
            (folder / "revoked").write_bytes(_revoked(policy.revoked))
            config["gpg.ssh.revocationFile"] = str(folder / "revoked")
    elif kind == "gpg":
        signers = await _import_gpg(keys, program, folder)
    else:
        signers = await _import_authorities(keys, program, folder)
    return Keyring(kind, folder, config, signers)


def _make_home(kind: Kind, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if kind == "gpg":
        (folder / "gpg.conf").write_text(_GPG_OPTIONS)
        (folder / "common.conf").touch()  # or GnuPG 2.4 would start a key daemon for a new home
    elif kind == "x509":
        (folder / "gpgsm.conf").write_text(_GPGSM_OPTIONS)


def _allow(keys: list[PublicKey], file: Path) -> dict[str, str]:
    lines, signers = [], {}
    for number, key in enumerate(keys):
        words = key.text.decode("utf-8", "replace").split()
        principals = ",".join(key.principals or (f"key-{number}",))
        lines.append(f'{principals} namespaces="git" {words[0]} {words[1]}\n')
        digest = hashlib.sha256(base64.b64decode(words[1])).digest()
        signers[f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"] = key.name
    file.write_text("".join(lines))
    return signers


def _revoked(text: bytes) -> bytes:
    if text.startswith(b"SSHKRL"):
        raise PolicyError("signedCommits.revoked: expected SSH public keys, one a line, not a binary list")
    return text.rstrip(b"\n") + b"\n"


async def _import_gpg(keys: list[PublicKey], program: str, home: Path) -> dict[str, str]:
    signers = {}
    for number, key in enumerate(keys):
        file = home / f"key-{number}.asc"
        file.write_bytes(key.text)
        output = await run_gnupg([program, "--status-fd", "1", "--import", "--", str(file)], home)
        lines = [line.split() for line in output.out.decode("utf-8", "replace").splitlines()]
        found = [words[3] for words in lines if words[:2] == ["[GNUPG:]", "IMPORT_OK"] and len(words) > 3]
        if output.code or not found:
            raise PolicyError(f"{key.name}: gpg finds no public key in it")
        signers.update(dict.fromkeys(found, key.name))
    return signers


async def _import_authorities(keys: list[PublicKey], program: str, home: Path) -> dict[str, str]:
    signers = {}
    for number, key in enumerate(keys):
        for fingerprint in _certificates(key):
            signers[fingerprint] = key.name
        file = home / f"authority-{number}.pem"
        file.write_bytes(key.text)
        output = await run_gnupg([program, "--import", "--", str(file)], home)
        if output.code:
            raise PolicyError(f"{key.name}: gpgsm can't read the certificates in it")
    # S: trusted for signatures; relax: an authority's own certificate need not be of the form that RFC 5280 asks
    (home / "trustlist.txt").write_text("".join(f"{fingerprint} S relax\n" for fingerprint in signers))
    return signers


def _certificates(key: PublicKey) -> list[str]:
    """The SHA-1 fingerprints (what trustlist.txt goes by) of the certificates in a PEM file."""
    text, end = key.text.decode("ascii", "replace"), "-----END CERTIFICATE-----"
    try:
        return [
            hashlib.sha1(ssl.PEM_cert_to_DER_cert(part.strip() + "\n" + end)).hexdigest().upper()  # noqa: S324 - a name
            for part in text.split(end)[:-1]
        ]
    except ValueError:
        raise PolicyError(f"{key.name}: a certificate in it can't be read") from None
