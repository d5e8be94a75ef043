"""One repository as the reconciler sees it: which commit a ref names, bring it here, what changed in it.

What must hold: after :meth:`GitRepository.fetch` the commit, its history and every file under it are there and
pinned; the fast way is taken wherever it can be, and whenever it is not, the result and the log say why.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path

import aiohttp
import pygit2
import structlog

from workers.aiogit import collect, diff
from workers.aiogit.address import check_ref, is_object_id, parse_address
from workers.aiogit.errors import (
    CorruptPackError,
    GitError,
    GitTimeoutError,
    IncompleteError,
    PathError,
    ProtocolError,
    RefNotFoundError,
    RemoteError,
)
from workers.aiogit.fallback import CliFetcher, LibgitFetcher
from workers.aiogit.gitcli import GitCli
from workers.aiogit.keyrings import Policy
from workers.aiogit.locks import store_lock
from workers.aiogit.model import Change, Fetched, Limits, Remote, Way
from workers.aiogit.packs import OverBudgetError
from workers.aiogit.signatures import Signatures
from workers.aiogit.smart_http import SmartHttp, new_session
from workers.aiogit.store import Store
from workers.aiogit.trees import Entry, entries
from workers.aiogit.unpack import PackStream, unpack_large, unpack_small

log = structlog.get_logger(__name__)

MAX_HAVES = 64
"""Commits named to the server as being here; one of them is close to what is wanted."""


class _FallBackError(Exception):
    """The fast way does not lead there; the message says why. ``refetch``: what is here can't be built upon."""

    def __init__(self, reason: str, *, refetch: bool = False) -> None:
        super().__init__(reason)
        self.refetch = refetch


class GitRepository:
    """A bare store in ``directory`` that follows ``remote``. ``session``: to share one; it must not be used for other
    origins.

    :raises RefusedUrlError: the remote's address is of a kind that is never passed on.
    """

    def __init__(
        self,
        directory: Path,
        remote: Remote,
        *,
        limits: Limits | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.directory, self.remote, self.limits = directory, remote, limits or Limits()
        self.address = parse_address(remote.url)
        self._session, self._own_session = session, session is None
        self._fetching = asyncio.Lock()
        self._suspect = False
        self._store: Store | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make or open the store. One that can't be opened is made anew: everything in it can be fetched again."""
        try:
            self._store = Store(self.directory)
        except pygit2.GitError as error:
            log.error("git.store_broken", directory=str(self.directory), error=str(error))
            await asyncio.to_thread(shutil.rmtree, self.directory)
            self._store = Store(self.directory)
        self._scratch = tempfile.TemporaryDirectory(prefix="windlass-git-")
        self._git = GitCli(self.directory, self.address, self.remote, Path(self._scratch.name))
        self._cli = CliFetcher(self._store, self._git, self.address, self.remote, self.limits)
        self._signatures = Signatures(self._store, self._git, self._cli, Path(self._scratch.name))
        self._http: SmartHttp | None = None
        if self.address.scheme != "ssh":
            self._session = self._session or new_session()
            self._http = SmartHttp(self._session, self.address, self.remote, self.limits)

    async def close(self) -> None:
        """Close the connection and the store; the key's private folder goes."""
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None
        if self._store is not None:
            self._store.close()
            self._store = None
            self._scratch.cleanup()

    @property
    def store(self) -> Store:
        assert self._store is not None, "the repository is not open"
        return self._store

    # -- the remote -----------------------------------------------------------------------------------------------

    async def tip(self, ref: str) -> str | None:
        """The commit that ``ref`` names now on the server (a tag peeled); None when there is no such ref.

        :raises RefNotFoundError: no valid full ref name. :raises GitError: and its kinds.
        """
        check_ref(ref)
        if is_object_id(ref):
            return ref
        return (await self.refs(ref)).get(ref)

    async def refs(self, *wanted: str) -> dict[str, str]:
        """The commits (tags peeled) of these refs, in one question; of all refs below one that ends with a slash. More
        may be answered; what does not exist is left out.

        :raises RefNotFoundError: no valid full ref name. :raises GitError: and its kinds.
        """
        for ref in wanted:
            check_ref(ref.rstrip("/"))
        if self._http is None:
            return await self._cli.refs(*wanted)
        try:
            capabilities = await self._http.capabilities()
            if capabilities is not None and capabilities.usable:
                return await self._http.ls_refs(capabilities, *wanted)
            reason = "no protocol version 2"
        except (ProtocolError, RemoteError) as error:
            self._http.forget()
            reason = str(error)
        log.info("git.fallback", url=str(self.address), step="tip", reason=reason)
        if self._git.available:
            return await self._cli.refs(*wanted)
        return await LibgitFetcher(self.store, self.address, self.remote, self.limits).refs()

    async def fetch(self, ref: str, commit: str, *, paths: Sequence[str] = ("",), name: str) -> Fetched:
        """Bring ``commit``, which ``ref`` named, and pin it as ``refs/windlass/<name>``.

        The whole commit is proved, hence every one of ``paths``; they are only checked here for being paths at all.

        :raises CommitMissingError: the server has it no longer, or not yet. :raises GitError: and its kinds.
        :raises LimitExceededError: it is larger than allowed.
        """
        check_ref(ref)
        if not is_object_id(commit):
            raise RefNotFoundError(f"{commit[:80]!r} is not a commit id")
        for path in paths:
            diff.segments(path)
        started = time.perf_counter()
        async with self._fetching:
            if self._suspect:
                await self._mend()
            if self.store.has(commit):
                self.store.pin(name, commit)
                return Fetched(commit, "present", "", 0, 0, time.perf_counter() - started)
            async with store_lock(self.directory, exclusive=False):
                way, reason, size, objects = await self._fetch(ref, commit, name)
                self.store.pin(name, commit)
        return Fetched(commit, way, reason, size, objects, time.perf_counter() - started)

    async def _fetch(self, ref: str, commit: str, name: str) -> tuple[Way, str, int, int]:
        try:
            return await self._fetch_v2(commit, name)
        except _FallBackError as why:
            reason, refetch = str(why), why.refetch
        log.info("git.fallback", url=str(self.address), step="fetch", reason=reason, commit=commit)
        if not self._git.available and self._http is not None:
            await LibgitFetcher(self.store, self.address, self.remote, self.limits).fetch(ref, commit)
            return "pygit2", reason, 0, 0
        try:
            await self._cli.fetch(ref, commit, refetch=refetch)
        except IncompleteError:
            self._suspect = True
            raise
        return "git", reason, 0, 0

    async def _fetch_v2(self, commit: str, name: str) -> tuple[Way, str, int, int]:
        if self._http is None:
            raise _FallBackError("ssh")
        try:
            capabilities = await self._http.capabilities()
            if capabilities is None or not capabilities.usable:
                raise _FallBackError("no protocol version 2")
            async with asyncio.timeout(self.limits.fetch_seconds) as deadline:
                async with aclosing(self._http.fetch(capabilities, commit, self._haves(name))) as pieces:
                    return await self._unpack(PackStream(pieces, self.limits), commit, deadline)
        except TimeoutError:
            raise GitTimeoutError(f"{self.address} did not finish within {self.limits.fetch_seconds:g} s") from None
        except IncompleteError as error:
            raise _FallBackError(str(error), refetch=True) from None
        except (ProtocolError, RemoteError, CorruptPackError) as error:
            self._http.forget()
            raise _FallBackError(str(error)) from None

    async def _unpack(self, stream: PackStream, commit: str, deadline: asyncio.Timeout) -> tuple[Way, str, int, int]:
        if await stream.read():
            try:
                objects = await unpack_small(self.store, bytes(stream.head), commit, self.limits)
            except OverBudgetError:
                reason = "a pack that inflates too much"
            else:
                return "v2", "", stream.bytes, objects
        else:
            reason = stream.large
        if not self._git.available:
            raise _FallBackError(f"{reason}, and no git to unpack them")
        deadline.reschedule(asyncio.get_running_loop().time() + self.limits.clone_seconds)
        log.info("git.fallback", url=str(self.address), step="unpack", reason=reason, commit=commit)
        await unpack_large(self.store, self._git, stream, commit, self.limits)
        return "git", reason, stream.bytes, stream.objects

    def _haves(self, name: str) -> list[str]:
        own = self.store.pin_of(name)
        others = [commit for commit in reversed(self.store.pinned) if commit != own]
        return [*([own] if own else []), *others][:MAX_HAVES]

    # -- what is here ---------------------------------------------------------------------------------------------

    def has(self, commit: str) -> bool:
        """Is ``commit`` here, proved whole (pinned, or an ancestor of a pinned one)?"""
        return is_object_id(commit) and self.store.has(commit)

    def was_at(self, name: str, commit: str) -> bool:
        """Was ``commit`` fetched under this ``name``, or is it an ancestor of what was? False when it is not here."""
        return self.has(commit) and any(self.store.descends(pin, commit) for pin in self.store.pins_of(name))

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Is ``ancestor`` the same as, or an ancestor of ``descendant``? False when either is not here."""
        return is_object_id(ancestor) and is_object_id(descendant) and self.store.descends(descendant, ancestor)

    def tree_id(self, commit: str, path: str) -> str | None:
        """The id of the folder ``path`` in ``commit``; None when there is no such folder.

        :raises GitError: the commit is not here.
        """
        try:
            with self._suspecting(commit):
                found = diff.folder_id(self.store, commit, path)
        except PathError:
            return None
        return found.hex() if found is not None else None

    def object_id(self, commit: str, path: str) -> str:
        """The id of the file or folder that ``path`` names in ``commit``, "" when there is nothing.

        :raises PathError: it climbs. :raises GitError: the commit is not here.
        """
        with self._suspecting(commit):
            found = diff.object_id(self.store, commit, path)
        return found.hex() if found is not None else ""

    def file_id(self, commit: str, path: str) -> str | None:
        """The blob's id of the file ``path`` in ``commit``; None when there is no such file.

        :raises GitError: the commit is not here.
        """
        with self._suspecting(commit):
            found = diff.file_id(self.store, commit, path)
        return found.hex() if found is not None else None

    def diff(self, old: str | None, new: str, path: str) -> list[Change]:
        """The files under ``path`` that differ between two commits; ``old`` None: all files of ``new``.

        :raises PathError: ``new`` has no folder ``path``. :raises LimitExceededError: :raises GitError: a commit is
        not here.
        """
        return list(self.iter_diff(old, new, path))

    def iter_diff(self, old: str | None, new: str, path: str) -> Iterator[Change]:
        """As :meth:`diff`, found as it is asked for, so that a caller of many can let others have a turn."""
        with self._suspecting(*([old] if old else []), new):
            yield from diff.changes(self.store, self.limits, old, new, path)

    def entries(self, tree: str) -> list[Entry]:
        """What the folder with the id ``tree`` holds, as it is written there (see :func:`workers.aiogit.trees.refusal`).

        :raises GitError: it is not here.
        """
        with self._suspecting():
            return list(entries(self.store.tree(bytes.fromhex(tree))))

    def entry(self, tree: str, name: str) -> Entry | None:
        """The one called ``name`` in the folder with the id ``tree``, as it is written there; None: there is none.

        :raises GitError: the folder is not here.
        """
        with self._suspecting():
            return self.store.entry(bytes.fromhex(tree), name.encode(errors="replace"))

    def blob(self, oid: str) -> bytes:
        """A file's content.

        :raises LimitExceededError: larger than ``limits.blob_bytes``. :raises GitError: not here.
        """
        with self._suspecting():
            return self.store.blob(oid, self.limits.blob_bytes)

    async def require_signed(self, ref: str, commit: str, policy: Policy, *, since: Sequence[str] = ()) -> str:
        """Who signed ``commit``, which is here and which ``ref`` named. Where every commit must be signed, all those
        after ``since`` are looked at too (none of ``since`` here: the commit alone).

        :raises UnsignedError: not signed as ``policy`` asks. :raises PolicyError: a key of it is none.
        :raises GitError: it could not be found out.
        """
        async with store_lock(self.directory, exclusive=False):
            before = [one for one in since if self.has(one)]
            return await self._signatures.require(ref, commit, policy, since=before)

    @contextmanager
    def _suspecting(self, *commits: str) -> Iterator[None]:
        """Something under commits that were proved can't be read: look into the store before the next fetch."""
        try:
            yield
        except IncompleteError as error:
            if all(map(self.has, commits)):
                log.error("git.store_suspect", directory=str(self.directory), error=str(error))
                self._suspect = True
            raise

    async def _mend(self) -> None:
        """Check the store, and begin anew where it is broken: everything in it can be fetched again."""
        async with store_lock(self.directory, exclusive=True):
            self.store.reopen()
            if not self._git.available or not await collect.is_sound(self._git, self.limits.clone_seconds):
                log.error("git.store_rebuilt", directory=str(self.directory))
                await asyncio.to_thread(self.store.rebuild)
        self._suspect = False

    # -- keeping --------------------------------------------------------------------------------------------------

    def pin(self, name: str, commit: str) -> None:
        """Keep ``commit``, which must be here, as ``refs/windlass/<name>``.

        :raises GitError: it is not here.
        """
        if not self.has(commit):
            raise GitError(f"{commit} is not here")
        self.store.pin(name, commit)

    def unpin(self, name: str) -> None:
        """Let go of what ``name`` keeps, also of what rewritten histories left to it."""
        self.store.unpin(name)

    async def gc(self, *, force: bool = False) -> bool:
        """Pack the store and drop what no pin reaches, if it is due or ``force``; fetches wait meanwhile. Did it?

        :raises GitError: git failed; the store is as it was.
        """
        if not self._git.available or not (force or collect.due(self.directory)):
            return False
        async with self._fetching, store_lock(self.directory, exclusive=True):
            await collect.collect(self.store, self._git, self.limits.clone_seconds)
        return True
