"""From a pack's bytes to proved objects in the store: small packs in memory, large ones by ``git index-pack``.

What must hold: objects are written only after the proof, so that an incomplete answer leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from workers.aiogit.errors import CorruptPackError, GitError, IncompleteError, LimitExceededError
from workers.aiogit.gitcli import FSCK_OPTION, GitCli, Output, complaint
from workers.aiogit.model import Limits
from workers.aiogit.packs import HEADER_BYTES, PackObject, object_count, read_pack
from workers.aiogit.proof import Proof, TooLongError
from workers.aiogit.quarantine import admit, quarantine
from workers.aiogit.store import Store

_AT_ONCE_BYTES, _AT_ONCE_OBJECTS, _AT_ONCE_STEPS = 64 << 10, 64, 2000
"""What is unpacked and proved on the event loop (a few ms); more goes to a thread."""
_EXIT_FILE_TOO_LARGE = (-25, 153)  # SIGXFSZ, seen directly and through a shell


class PackStream:
    """A pack that is arriving. ``head`` is what was read to see how large it is."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], limits: Limits) -> None:
        self._pieces, self._limits = pieces, limits
        self.head = bytearray()
        self.bytes = 0
        self.large = ""

    @property
    def objects(self) -> int:
        return object_count(bytes(self.head[:HEADER_BYTES]))

    async def read(self) -> bool:
        """Read the whole pack, or until it proves too large for memory; then ``large`` says why, and it answers
        False."""
        async for piece in self._pieces:
            self._count(piece)
            self.head += piece
            if len(self.head) >= HEADER_BYTES and self.objects > self._limits.inline_objects:
                self.large = f"{self.objects} objects"
                return False
            if len(self.head) > self._limits.inline_bytes:
                self.large = f"a pack over {self._limits.inline_bytes} bytes"
                return False
        return True

    async def rest(self) -> AsyncIterator[bytes]:
        """The pack from its beginning, while it goes on arriving."""
        yield bytes(self.head)
        if self.large:
            async for piece in self._pieces:
                self._count(piece)
                yield piece

    def _count(self, piece: bytes) -> None:
        self.bytes += len(piece)
        if self.bytes > self._limits.pack_bytes:
            raise LimitExceededError(f"the pack is over the limit of {self._limits.pack_bytes} bytes")


async def unpack_small(store: Store, pack: bytes, commit: str, limits: Limits) -> int:
    """Read, prove and write a small pack; how many objects it had.

    :raises GitError: (incomplete, corrupt): nothing was written. :raises OverBudgetError: it inflates to too much for
    memory.
    """
    if len(pack) <= _AT_ONCE_BYTES and object_count(pack) <= _AT_ONCE_OBJECTS:
        try:
            return _unpack(store, pack, commit, limits, _AT_ONCE_STEPS)
        except TooLongError:
            pass  # the thread has the time
    return await asyncio.to_thread(_unpack, store, pack, commit, limits, None)


def _unpack(store: Store, pack: bytes, commit: str, limits: Limits, steps: int | None) -> int:
    def base(oid: bytes) -> PackObject | None:
        return store.find(oid, limits.inline_inflated)

    objects = read_pack(pack, base, max_inflated=limits.inline_inflated)
    Proof(store, objects, whole=store.has, steps=steps).prove(commit)
    store.write(objects)
    return len(objects)


async def unpack_large(store: Store, git: GitCli, stream: PackStream, commit: str, limits: Limits) -> None:
    """Let ``git index-pack`` take the pack as it arrives, prove the commit, and only then let the pack in.

    :raises GitError: :raises LimitExceededError:
    """
    arguments = ["index-pack", "--stdin", "--fix-thin", FSCK_OPTION, f"--max-input-size={limits.pack_bytes}"]
    async with quarantine(store.directory) as incoming:
        output = await git.run(
            arguments,
            seconds=limits.clone_seconds,
            stdin=stream.rest(),
            file_bytes=limits.pack_bytes,
            memory=limits.pack_memory,
            objects=incoming,
        )
        if output.code:
            raise unpack_error(output, limits)
        await prove_and_admit(store, git, incoming, commit, limits)


async def prove_and_admit(store: Store, git: GitCli, incoming: Path, commit: str, limits: Limits) -> None:
    """Git's own proof for what came by git (all that ``commit`` reaches and no pin does is there), then let it in.

    :raises IncompleteError: something is missing. :raises GitError: git or the disk failed.
    """
    output = await git.run(
        ["rev-list", "--objects", "--quiet", commit, "--not", "--all"], seconds=limits.clone_seconds, objects=incoming
    )
    if output.code:
        text = complaint(output)
        if any(sign in text for sign in ("missing", "bad object", "ould not read", "unable to read")):
            raise IncompleteError(f"objects of {commit} are missing: {text}")
        raise GitError(f"git rev-list: {text}")
    try:
        admit(incoming, store.directory)
    except OSError as error:
        raise GitError(f"can't write to the store: {error.strerror}") from None
    store.reopen()


def unpack_error(output: Output, limits: Limits) -> Exception:
    """What a failed unpacking by git means."""
    text = complaint(output)
    if output.code in _EXIT_FILE_TOO_LARGE or "exceeds maximum allowed size" in text or "File too large" in text:
        return LimitExceededError(f"the pack is over the limit of {limits.pack_bytes} bytes")
    if "ut of memory" in text:
        return LimitExceededError(f"the pack takes more than {limits.pack_memory} bytes of memory to unpack")
    return CorruptPackError(f"git refuses the pack: {text}")
