"""The other ways to a repository: the git command line, and libgit2 in a thread where there is no git.

Slower (a process, or many requests), and taken only when the fast way can't be: over SSH, without protocol version 2,
or after an answer that was not whole. Every fetch here asks for full history; ``refetch`` asks as if nothing were
here.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import pygit2

from workers.aiogit.address import Address, is_object_id
from workers.aiogit.errors import (
    AuthenticationError,
    CommitMissingError,
    GitError,
    LimitExceededError,
    RefusedRepositoryError,
)
from workers.aiogit.gitcli import OUTPUT_BYTES, GitCli, Output, complaint
from workers.aiogit.model import Limits, Remote
from workers.aiogit.proof import Proof
from workers.aiogit.quarantine import quarantine
from workers.aiogit.store import Store
from workers.aiogit.unpack import prove_and_admit, unpack_error


class CliFetcher:
    """``git ls-remote`` and ``git fetch``."""

    def __init__(self, store: Store, git: GitCli, address: Address, remote: Remote, limits: Limits) -> None:
        self._store, self._git, self._address, self._remote, self._limits = store, git, address, remote, limits

    async def refs(self, *wanted: str) -> dict[str, str]:
        """See :meth:`workers.aiogit.repository.GitRepository.refs`.

        :raises GitError: and its kinds.
        """
        heads = await self.heads(*wanted)
        return {name: heads.get(f"{name}^{{}}", oid) for name, oid in heads.items() if not name.endswith("^{}")}

    async def heads(self, *wanted: str) -> dict[str, str]:
        """What the refs name, and, as ``REF^{}``, what an annotated tag leads to.

        :raises GitError: and its kinds.
        """
        patterns = [p for ref in wanted for p in ([f"{ref}*"] if ref.endswith("/") else [ref, f"{ref}^{{}}"])]
        output = await self._git.run(
            ["ls-remote", "--quiet", "--", self._address.url, *patterns],
            seconds=self._limits.tip_seconds,
            network=True,
        )
        if output.code:
            raise self._error(output)
        if len(output.out) >= OUTPUT_BYTES:
            raise LimitExceededError(f"{self._address} has more refs below {', '.join(wanted)[:200]} than can be read")
        found: dict[str, str] = {}
        for line in output.out.decode("utf-8", "replace").splitlines():
            oid, _, name = line.partition("\t")
            if len(oid) == 64:
                raise RefusedRepositoryError("the repository has SHA-256 object ids, which are not supported yet")
            if is_object_id(oid):
                found[name] = oid
        return found

    async def fetch(self, ref: str, commit: str, *, refetch: bool) -> None:
        """Bring ``commit`` and prove it. By its id, or, from a server that gives only tips, by ``ref``.

        :raises CommitMissingError: the server no longer has it. :raises GitError: and its kinds.
        """
        async with quarantine(self._store.directory) as incoming:
            output = await self._fetch(commit, incoming, refetch=refetch)
            if output.code and not is_object_id(ref) and _wants_tips(output):
                output = await self._fetch(ref, incoming, refetch=refetch)
            if output.code:
                raise self._error(output)
            there = await self._git.run(
                ["cat-file", "-e", f"{commit}^{{commit}}"], seconds=self._limits.tip_seconds, objects=incoming
            )
            if there.code:
                raise CommitMissingError(f"{self._address} no longer has {commit} at {ref}")
            await prove_and_admit(self._store, self._git, incoming, commit, self._limits)

    async def bring(self, what: str, incoming: Path) -> None:
        """Fetch ``what`` into the folder ``incoming``, apart from the store, and nothing more.

        :raises GitError: and its kinds.
        """
        output = await self._fetch(what, incoming, refetch=False)
        if output.code:
            raise self._error(output)

    async def _fetch(self, what: str, incoming: Path, *, refetch: bool) -> Output:
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"]
        if refetch:
            options.append("--refetch")
        return await self._git.run(
            ["fetch", *options, "--", self._address.url, what],
            seconds=self._limits.clone_seconds,
            file_bytes=self._limits.pack_bytes,
            memory=self._limits.pack_memory,
            network=True,
            objects=incoming,
        )

    def _error(self, output: Output) -> Exception:
        text = complaint(output, [self._remote.password])
        lower = text.lower()
        if "host key verification failed" in lower or "no matching host key" in lower:
            return AuthenticationError(f"{self._address} is not the host that knownHosts names: {text}")
        if any(
            sign in lower for sign in ("authentication failed", "could not read username", "permission denied", "403")
        ):
            return AuthenticationError(f"{self._address} did not accept the credentials: {text}")
        if "mismatched algorithms" in lower or "object format" in lower:
            return RefusedRepositoryError("the repository has SHA-256 object ids, which are not supported yet")
        if "not our ref" in lower:
            return CommitMissingError(f"{self._address}: {text}")
        limit = unpack_error(output, self._limits)
        return limit if isinstance(limit, LimitExceededError) else GitError(f"{self._address}: {text}")


def _wants_tips(output: Output) -> bool:
    return any(
        sign in output.err for sign in (b"not our ref", b"unadvertised object", b"Couldn't find remote ref", b"dumb")
    )


class LibgitFetcher:
    """libgit2's own HTTP transport, in a thread. Protocol 0 only, and it can't be stopped before its time-out."""

    def __init__(self, store: Store, address: Address, remote: Remote, limits: Limits) -> None:
        self._store, self._address, self._remote, self._limits = store, address, remote, limits
        pygit2.settings.server_timeout = int(limits.tip_seconds * 1000)
        pygit2.settings.server_connect_timeout = 10_000

    async def refs(self) -> dict[str, str]:
        """All refs of the server; this way can't ask for less.

        :raises GitError:
        """
        heads = await asyncio.to_thread(self._heads)
        return {name: heads.get(f"{name}^{{}}", oid) for name, oid in heads.items() if not name.endswith("^{}")}

    def _heads(self) -> dict[str, str]:
        remote = self._anonymous(pygit2.Repository(str(self._store.directory)))
        try:
            return {str(head.name): str(head.oid) for head in remote.list_heads(callbacks=self._callbacks())}
        except (pygit2.GitError, OSError) as error:
            raise GitError(f"{self._address}: {error}") from None

    def _anonymous(self, repository: Any) -> Any:
        return repository.remotes.create_anonymous(self._address.url)

    async def fetch(self, ref: str, commit: str) -> None:
        """
        :raises CommitMissingError: :raises IncompleteError: :raises GitError:
        """
        await asyncio.to_thread(self._fetch, ref, commit)

    def _fetch(self, ref: str, commit: str) -> None:
        repository = pygit2.Repository(str(self._store.directory))
        scratch = f"refs/windlass-fetch/{uuid.uuid4().hex}"
        try:
            self._anonymous(repository).fetch([f"+{ref}:{scratch}"], callbacks=self._callbacks())
            if not self._store.exists(bytes.fromhex(commit)):
                raise CommitMissingError(f"{self._address} no longer has {commit} at {ref}")
            Proof(self._store, {}, whole=self._store.has).prove(commit)
        except (pygit2.GitError, OSError) as error:
            raise GitError(f"{self._address}: {error}") from None
        finally:
            if scratch in repository.references:
                repository.references.delete(scratch)

    def _callbacks(self) -> pygit2.RemoteCallbacks:
        return _Callbacks(self._address, self._remote, self._limits)


class _Callbacks(pygit2.RemoteCallbacks):
    """Certificates are checked as libgit2 does by default; the credentials go to the one origin, once."""

    def __init__(self, address: Address, remote: Remote, limits: Limits) -> None:
        super().__init__()
        self._address, self._remote, self._limits = address, remote, limits
        self._deadline = time.monotonic() + limits.clone_seconds
        self._asked = False

    def credentials(self, url: str, username_from_url: str | None, allowed_types: Any) -> Any:
        if self._asked or self._remote.password is None or not url.startswith(self._address.origin + "/"):
            raise AuthenticationError(f"{self._address} did not accept the credentials")
        self._asked = True
        return pygit2.UserPass(self._remote.username or "git", self._remote.password)

    def transfer_progress(self, stats: Any) -> None:
        if stats.received_bytes > self._limits.pack_bytes:
            raise LimitExceededError(f"the pack is over the limit of {self._limits.pack_bytes} bytes")
        if time.monotonic() > self._deadline:
            raise GitError(f"{self._address} did not finish in time")
