"""A commit's or tag's bytes, read so strictly that nothing in them could be read in two ways. Pure.

A signature covers bytes; what is applied is what those bytes mean. Git signs everything but the headers whose names begin
with ``gpgsig``, joins two of them, and takes the last signature of a tag: an object that makes use of any of that can say
one thing to the verifier and another to a reader (CVE-2026-45022 is of this kind). So before a signature is looked at, the
object must have exactly the headers that Git itself writes, each once and in order (commit.c, tag.c, gpg-interface.c).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from workers.aiogit.errors import CorruptPackError

Kind = Literal["gpg", "ssh", "x509"]

_ARMOUR: dict[bytes, tuple[Kind, bytes]] = {
    b"-----BEGIN PGP SIGNATURE-----": ("gpg", b"-----END PGP SIGNATURE-----"),
    b"-----BEGIN SSH SIGNATURE-----": ("ssh", b"-----END SSH SIGNATURE-----"),
    b"-----BEGIN SIGNED MESSAGE-----": ("x509", b"-----END SIGNED MESSAGE-----"),
}
_BEGINS = (*_ARMOUR, b"-----BEGIN PGP MESSAGE-----")
"""Where Git takes a signature to begin; the last form is from before 2007, and refused."""
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9:._-]{0,63}")
_ID = re.compile(rb"[0-9a-f]{40}")
_ONCE = (b"tree", b"author", b"committer", b"encoding", b"gpgsig")
_ONE_LINE = (*_ONCE[:4], b"parent")


class ConfusingObjectError(CorruptPackError):
    """The object could be read in two ways; the message says by what."""


class _Header(NamedTuple):
    name: bytes
    value: bytes  # the lines of a longer one joined by LF, without the space that each began with


def commit_signature(raw: bytes) -> Kind | None:
    """What a raw commit is signed with; None: not at all.

    :raises ConfusingObjectError: it is not exactly of the form that Git writes.
    """
    headers, _ = _parts(raw, "commit")
    names = [header.name for header in headers]
    parents = names.count(b"parent")
    if names[: parents + 3] != [b"tree", *[b"parent"] * parents, b"author", b"committer"]:
        raise ConfusingObjectError("the commit does not begin with tree, parents, author and committer, in this order")
    for header in headers:
        _check_commit_header(header, names)
    signature = next((header.value for header in headers if header.name == b"gpgsig"), None)
    return _armour(signature) if signature is not None else None


def _check_commit_header(header: _Header, names: list[bytes]) -> None:
    name = header.name.decode()
    if header.name in (b"tree", b"parent") and not _ID.fullmatch(header.value):
        raise ConfusingObjectError(f"the commit's header {name} is no object id")
    if header.name in _ONE_LINE and b"\n" in header.value:
        raise ConfusingObjectError(f"the commit's header {name} goes on in a second line")
    if header.name in _ONCE and names.count(header.name) > 1:
        raise ConfusingObjectError(f"the commit has two headers {name}")
    if header.name not in _ONE_LINE and header.name != b"gpgsig":
        lower = header.name.lower()
        if lower in (*_ONE_LINE, b"object", b"type", b"tag") or lower.startswith(b"gpgsig"):
            raise ConfusingObjectError(f"the commit has a header {name}, which no commit has")


def tag_signature(raw: bytes, *, name: str, commit: str) -> Kind | None:
    """What a raw annotated tag is signed with; None: not at all.

    :raises ConfusingObjectError: not exactly of the form that Git writes, or not the tag ``name`` of ``commit``: a signed
        tag under another name, or of something else, vouches for nothing.
    """
    headers, message = _parts(raw, "tag")
    if [header.name for header in headers] not in (
        [b"object", b"type", b"tag"],
        [b"object", b"type", b"tag", b"tagger"],
    ):
        raise ConfusingObjectError("the tag's headers are not object, type, tag and tagger, in this order")
    if any(b"\n" in header.value for header in headers):
        raise ConfusingObjectError("one of the tag's headers goes on in a second line")
    if headers[0].value != commit.encode() or headers[1].value != b"commit":
        raise ConfusingObjectError(f"the tag is not one of the commit {commit}")
    if headers[2].value != name.encode():
        raise ConfusingObjectError(
            f"the tag was made as {headers[2].value[:80].decode(errors='replace')!r}, not as {name!r}"
        )
    lines = message.split(b"\n")
    begins = [number for number, line in enumerate(lines) if line.startswith(_BEGINS)]
    if len(begins) > 1:
        raise ConfusingObjectError("the tag has two signatures")
    return _armour(b"\n".join(lines[begins[0] :])) if begins else None


def _parts(raw: bytes, kind: str) -> tuple[list[_Header], bytes]:
    """The headers, and what follows the empty line."""
    if b"\0" in raw:
        raise ConfusingObjectError(f"the {kind} holds a NUL")
    head, end, message = raw.partition(b"\n\n")
    if not end:
        raise ConfusingObjectError(f"the {kind}'s headers have no end")
    headers: list[_Header] = []
    for line in head.split(b"\n"):
        if line.startswith(b" "):
            if not headers:
                raise ConfusingObjectError(f"the {kind} begins with a continued line")
            headers[-1] = _Header(headers[-1].name, headers[-1].value + b"\n" + line[1:])
            continue
        name, space, value = line.partition(b" ")
        if not space or not _NAME.fullmatch(name):
            raise ConfusingObjectError(f"the {kind} has a line among its headers that is none")
        headers.append(_Header(name, value))
    return headers, message


def _armour(signature: bytes) -> Kind:
    """The kind of one whole signature; empty lines may follow it (GitHub writes one)."""
    lines = signature.rstrip(b"\n").split(b"\n")
    kind, end = _ARMOUR.get(lines[0], (None, b""))
    if kind is None:
        raise ConfusingObjectError("the signature is of a kind that is not known")
    if lines[-1] != end or any(line.startswith(b"-----") for line in lines[1:-1]):
        raise ConfusingObjectError("the signature is not a single whole one")
    return kind
