"""Protocol version 2 (gitprotocol-v2(5)): what is asked and what is answered, as bytes. Pure, no I/O.

Only what every version-2 server must know is sent: `ls-refs` with `peel` and `ref-prefix`; `fetch` with `thin-pack`,
`ofs-delta` and `done`. (A `filter` that was not advertised kills the answer, and `deepen` is never wanted: see store.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from windlass import __version__
from workers.aiogit.address import is_object_id
from workers.aiogit.errors import CommitMissingError, GitError, ProtocolError, RefusedRepositoryError, RemoteError
from workers.aiogit.pktline import Frame, Mark, encode_all

AGENT = f"windlass/{__version__}"


@dataclass(frozen=True)
class Capabilities:
    """What the server said it can do. ``object_format`` is "" where it said nothing: SHA-1."""

    fetch: bool
    ls_refs: bool
    object_format: str
    agent: bool

    @property
    def usable(self) -> bool:
        return self.fetch and self.ls_refs


def parse_advertisement(frames: Sequence[Frame]) -> Capabilities | None:
    """The answer to ``info/refs``; None when the server speaks an older protocol.

    :raises RefusedRepositoryError: its object ids are not SHA-1.
    """
    data = [frame for frame in frames if isinstance(frame, bytes)]
    if data and data[0].startswith(b"# service="):
        data = data[1:]
    if not data or data[0].rstrip(b"\n") != b"version 2":
        return None
    known: dict[str, str] = {}
    for line in data[1:]:
        name, _, value = line.rstrip(b"\n").decode("utf-8", "replace").partition("=")
        known[name] = value
    formats = known.get("object-format", "")
    if formats and formats != "sha1":
        raise RefusedRepositoryError("the repository has SHA-256 object ids, which are not supported yet")
    return Capabilities("fetch" in known, "ls-refs" in known, formats, "agent" in known)


def _command(name: str, capabilities: Capabilities, arguments: Iterable[str]) -> bytes:
    head = [f"command={name}\n"]
    if capabilities.agent:
        head.append(f"agent={AGENT}\n")
    if capabilities.object_format:
        head.append(f"object-format={capabilities.object_format}\n")
    return encode_all([*head, Mark.DELIMITER, *arguments, Mark.FLUSH])


def ls_refs_request(capabilities: Capabilities, *prefixes: str) -> bytes:
    return _command("ls-refs", capabilities, ["peel\n", *(f"ref-prefix {prefix}\n" for prefix in prefixes)])


def fetch_request(capabilities: Capabilities, want: str, haves: Iterable[str]) -> bytes:
    """Ask for ``want`` and everything it needs beyond ``haves``, at once (`done`: no rounds of negotiation)."""
    lines = ["thin-pack\n", "no-progress\n", "ofs-delta\n", f"want {want}\n"]
    return _command("fetch", capabilities, [*lines, *(f"have {have}\n" for have in haves), "done\n"])


def parse_refs(frames: Iterable[Frame]) -> dict[str, str]:
    """The commit (a tag peeled) of each ref.

    :raises ProtocolError: a ref without an object id.
    """
    refs: dict[str, str] = {}
    for frame in frames:
        if isinstance(frame, Mark):
            continue
        raise_if_error(frame)
        words = frame.rstrip(b"\n").split(b" ")
        if len(words) < 2:
            continue
        peeled = [word[7:] for word in words[2:] if word.startswith(b"peeled:")]
        found = (peeled[0] if peeled else words[0]).decode("ascii", "replace")
        if found == "unborn":
            continue
        if not is_object_id(found):
            raise ProtocolError("the server sent a ref without an object id")
        refs[words[1].decode("utf-8", "replace")] = found
    return refs


def raise_if_error(frame: bytes) -> None:
    """
    :raises CommitMissingError: the server has no such commit.
    :raises RemoteError: it says anything else in an ``ERR`` frame.
    """
    if frame.startswith(b"ERR "):
        message = printable(frame[4:])
        raise CommitMissingError(message) if "not our ref" in message else RemoteError(f"the server says: {message}")


def printable(data: bytes, limit: int = 300) -> str:
    """What a peer said, fit for a log: one line, no control characters, not too long."""
    text = data[-4 * limit :].decode("utf-8", "replace")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[-limit:]


class _Section(Enum):
    START = auto()
    SKIPPED = auto()
    PACK = auto()
    END = auto()


class FetchAnswer:
    """Takes the frames of a ``fetch`` answer and gives the pack's bytes; counts what else the server says."""

    def __init__(self, answer_bytes: int) -> None:
        self._section, self._allowance = _Section.START, answer_bytes

    @property
    def complete(self) -> bool:
        return self._section is _Section.END

    def feed(self, frames: Iterable[Frame]) -> list[bytes]:
        """The pieces of the pack among ``frames``.

        :raises ProtocolError: an answer that is none. :raises RemoteError: the server gave up.
        """
        pieces: list[bytes] = []
        for frame in frames:
            if self._section is _Section.PACK:
                self._in_pack(frame, pieces)
            elif self._section is _Section.END:
                raise ProtocolError("the server went on after the pack's end")
            elif isinstance(frame, Mark):
                self._mark(frame)
            else:
                self._line(frame)
        return pieces

    def _in_pack(self, frame: Frame, pieces: list[bytes]) -> None:
        if isinstance(frame, Mark):
            if frame is not Mark.FLUSH:
                raise ProtocolError("the server broke off the pack")
            self._section = _Section.END
            return
        band = frame[:1]
        if band == b"\x01":
            pieces.append(frame[1:])
        elif band == b"\x02":
            self._spend(len(frame))
        elif band == b"\x03":
            raise RemoteError(f"the server says: {printable(frame[1:])}")
        else:
            raise ProtocolError("the server sent a side band that does not exist")

    def _mark(self, frame: Mark) -> None:
        if self._section is not _Section.SKIPPED or frame is not Mark.DELIMITER:
            raise ProtocolError("the server sent no pack")
        self._section = _Section.START

    def _line(self, frame: bytes) -> None:
        raise_if_error(frame)
        self._spend(len(frame))
        if self._section is _Section.START:
            name = frame.rstrip(b"\n")
            if name not in (b"packfile", b"acknowledgments", b"wanted-refs"):
                # `shallow-info` and `packfile-uris` were not asked for, and would mean a pack that is not whole
                raise ProtocolError(f"the server sent a section {printable(name)!r} that was not asked for")
            self._section = _Section.PACK if name == b"packfile" else _Section.SKIPPED

    def _spend(self, size: int) -> None:
        self._allowance -= size + 4
        if self._allowance < 0:
            raise GitError("the server talks without an end")
