"""Whose signatures a repository's commits must bear. Pure data and its rules, no I/O.

Only public keys stand here, inline or by reference; what they are worth is decided by Git's own verification, in the
workers. A forge that merges signs with a key of its own (GitHub's ``web-flow``): list that key too, or merge elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import msgspec

from windlass.documents import syntax
from windlass.documents.base import SecretKey
from windlass.yamls import Path

KINDS, MODES = ("gpg", "ssh", "x509"), ("head", "every")
NO_GITSIGN = "gitsign is not available: it asks Sigstore's servers for each verification; expected gpg, ssh or x509"
_FORMS = {
    "gpg": "expected an ASCII-armoured public key: -----BEGIN PGP PUBLIC KEY BLOCK----- …",
    "ssh": "expected one public key as in a .pub file: ssh-ed25519 AAAA…",
    "x509": "expected the certificates of an authority, as PEM: -----BEGIN CERTIFICATE----- …",
}
_ARMOURED = re.compile(r"\s*-----BEGIN (PGP PUBLIC KEY BLOCK|CERTIFICATE)-----\n[^-]+-----END \1-----\s*", re.ASCII)
_SSH_TYPE = re.compile(
    r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
)
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,127}")


class _Strict(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    pass


class KeyReference(_Strict, frozen=True):
    """Where public keys are: exactly one of ``key`` (the text itself), an environment variable, a file, and (in a custom
    resource) a Secret's key.
    """

    key: str | None = None
    env: str | None = None
    file: str | None = None
    secret: SecretKey | None = None


class SigningKey(KeyReference, frozen=True, kw_only=True):
    """A key whose signatures count: a GPG or SSH public key, or (x509) the authority whose certificates' do."""

    kind: str  # gpg, ssh or x509
    principals: tuple[str, ...] = ()  # ssh: whose key it is, for people; the key alone decides


class SignedCommits(_Strict, frozen=True):
    """What must be signed before anything of it is applied, and by whom.

    ``head``: the commit that is applied. ``every``: also each commit between the one applied before and it.
    """

    keys: tuple[SigningKey, ...]
    mode: str = "head"
    revoked: KeyReference | None = None  # SSH public keys that no longer count, one a line


def violations(policy: SignedCommits) -> Iterator[tuple[Path, str]]:
    """What is wrong with the policy: (path below ``signedCommits``, message). No message repeats a key."""
    if policy.mode not in MODES:
        yield ("mode",), f"expected one of {', '.join(MODES)}"
    if not policy.keys:
        yield ("keys",), "expected at least one key: without any, nothing could ever be applied"
    for index, key in enumerate(policy.keys):
        for path, message in _signing_key(key):
            yield ("keys", index, *path), message
    if policy.revoked is not None:
        for path, message in _reference(policy.revoked):
            yield ("revoked", *path), message
        if policy.revoked.key is not None and not all(map(valid_ssh_key, policy.revoked.key.strip().splitlines())):
            yield ("revoked", "key"), "expected SSH public keys, one a line"


def _signing_key(key: SigningKey) -> Iterator[tuple[Path, str]]:
    if key.kind not in KINDS:
        yield ("kind",), NO_GITSIGN if key.kind == "gitsign" else f"expected one of {', '.join(KINDS)}"
        return
    yield from _reference(key)
    if key.key is not None and not valid_key(key.kind, key.key):
        yield ("key",), "a private key has no place in a document" if "PRIVATE KEY" in key.key else _FORMS[key.kind]
    if key.principals and key.kind != "ssh":
        yield ("principals",), "goes with kind ssh only: the other kinds name their owner"
    for index, principal in enumerate(key.principals):
        if not _PRINCIPAL.fullmatch(principal):
            yield ("principals", index), "expected a name or e-mail address, without patterns"


def _reference(reference: KeyReference) -> Iterator[tuple[Path, str]]:
    if sum(way is not None for way in (reference.key, reference.env, reference.file, reference.secret)) != 1:
        yield (), "expected exactly one of key, env and file"
    elif reference.env is not None and not syntax.valid_variable(reference.env):
        yield ("env",), "expected the name of an environment variable"
    elif reference.file is not None and not syntax.valid_file(reference.file):
        yield ("file",), "expected the path of a file"
    elif reference.secret is not None and not syntax.valid_secret_key(reference.secret.name, reference.secret.key):
        yield ("secret",), "expected the name of a Secret, and of one of its keys"


def valid_key(kind: str, text: str) -> bool:
    """Has ``text`` the form of a public key of ``kind``? Whether it is one, only the program that reads it knows."""
    if kind == "ssh":
        return valid_ssh_key(text.strip())
    block = "PGP PUBLIC KEY BLOCK" if kind == "gpg" else "CERTIFICATE"
    rest = text.replace("\r\n", "\n")
    while rest.strip():
        match = _ARMOURED.match(rest)
        if match is None or match[1] != block:
            return False
        rest = rest[match.end() :]
    return bool(text.strip())


def valid_ssh_key(line: str) -> bool:
    """One line of a ``.pub`` file (sshd(8), AUTHORIZED_KEYS FILE FORMAT), without options; the blob names its own type."""
    words = line.split(" ")
    if not line.isprintable() or len(words) < 2 or not _SSH_TYPE.fullmatch(words[0]):
        return False
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        return False
    fields, position = [], 0
    while position < len(blob):  # each with its length before it (RFC 4253, 6.6)
        start = position + 4
        position = start + int.from_bytes(blob[position:start], "big")
        fields.append(blob[start:position])
    return position == len(blob) and len(fields) > 1 and fields[0] == words[0].encode()
