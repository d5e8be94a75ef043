"""Is a commit signed by one of a policy's keys? Git's own `verify-commit` says so, of the very object that will be applied.

What must hold: a signature counts only if the object can be read in one way (`signed_objects`), Git's verification succeeds
with nothing but the policy's keys at hand (`keyrings`), and the program's own words name one of these keys; whatever else
happens is a refusal or an error, never a pass. What was found is remembered by (object, policy): a commit never changes.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from windlass.errors import PermanentError
from workers.aiogit.errors import CommitMissingError, GitError, LimitExceededError
from workers.aiogit.fallback import CliFetcher
from workers.aiogit.gitcli import GitCli, Output, complaint
from workers.aiogit.keyrings import Keyring, Policy, make_keyring
from workers.aiogit.quarantine import quarantine
from workers.aiogit.signed_objects import ConfusingObjectError, Kind, commit_signature, tag_signature
from workers.aiogit.store import Store

log = structlog.get_logger(__name__)

SECONDS = 20.0
"""For one verification, all of its processes."""
MOST_COMMITS = 2000
"""How many commits at once are verified where each must be signed; some 15 ms each."""
REMEMBERED = 20_000
_AT_ONCE = 4
_TAG = "refs/tags/"
_WEAK_HASHES = ("1", "2", "3")
"""MD5, SHA-1, RIPEMD-160 (RFC 4880, 9.4): two commits with one such hash can be made."""
_STATUS = "[GNUPG:] "
_SSH_GOOD = re.compile(r'Good "git" signature for \S+ with [A-Z0-9-]+ key (SHA256:[A-Za-z0-9+/]{43})')
_REASONS = {
    "NO_PUBKEY": "a signature by a key that is not of the policy",
    "BADSIG": "a signature that does not belong to it",
    "EXPSIG": "a signature that has expired",
    "EXPKEYSIG": "a signature by a key that has expired",
    "REVKEYSIG": "a signature by a key that was revoked",
    "TRUST_NEVER": "a signature by a key that is not of the policy",
    "TRUST_UNDEFINED": "a signature by a key that is not of the policy",
}


class UnsignedError(PermanentError):
    """A commit is not signed as the policy asks; the message names it, what was found, and what was expected."""


class Finding(NamedTuple):
    """What a signature is worth: ``signer`` is the policy's name of the key; "" with the reason in ``found``."""

    signer: str
    found: str


class Signatures:
    """The verifications of one store. ``scratch``: a private folder (0700) that lives as long."""

    def __init__(self, store: Store, git: GitCli, cli: CliFetcher, scratch: Path) -> None:
        self._store, self._git, self._cli, self._scratch = store, git, cli, scratch
        self._keyrings: dict[tuple[str, Kind], Keyring] = {}
        self._making = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str], Finding] = OrderedDict()

    async def require(self, ref: str, commit: str, policy: Policy, *, since: Sequence[str]) -> str:
        """See `workers.aiogit.repository.GitRepository.require_signed`; ``since`` are all here."""
        finding = await self.commit(commit, policy)
        if not finding.signer and ref.startswith(_TAG):
            finding = await self._by_its_tag(ref, commit, policy, finding)
        if not finding.signer:
            raise _unsigned(commit, finding, policy)
        if policy.every and since:
            await self._all_signed(commit, policy, since)
        return finding.signer

    async def commit(self, commit: str, policy: Policy) -> Finding:
        """What the signature of a commit of the store is worth.

        :raises GitError: it could not be found out. :raises PolicyError: a key of the policy is none.
        """
        known = self._known.get((commit, policy.digest))
        if known is not None:
            self._known.move_to_end((commit, policy.digest))
            return known
        try:
            kind = commit_signature(self._store.commit(bytes.fromhex(commit)))
            finding = await self._verify("verify-commit", commit, kind, policy)
        except ConfusingObjectError as error:
            finding = Finding("", str(error))
        self._known[commit, policy.digest] = finding
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return finding

    async def _all_signed(self, tip: str, policy: Policy, since: Sequence[str]) -> None:
        output = await self._git.run(
            ["rev-list", f"--max-count={MOST_COMMITS + 1}", tip, "--not", *since], seconds=SECONDS
        )
        if output.code:
            raise GitError(f"git rev-list: {complaint(output)}")
        commits = output.out.decode("ascii").split()
        if len(commits) > MOST_COMMITS:
            raise LimitExceededError(f"more than {MOST_COMMITS} commits up to {tip} would have to be verified at once")
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(commit: str) -> None:
            async with gate:
                finding = await self.commit(commit, policy)
            if not finding.signer:
                raise _unsigned(commit, finding, policy, f", before {tip}")

        tasks = [asyncio.create_task(one(commit)) for commit in commits if commit != tip]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _by_its_tag(self, ref: str, commit: str, policy: Policy, before: Finding) -> Finding:
        """An annotated tag that is followed vouches for its commit: fetched apart from the store, and verified there.

        :raises CommitMissingError: the tag was moved meanwhile. :raises GitError: and its kinds.
        """
        heads = await self._cli.heads(ref)
        tag = heads.get(ref, "")
        if not tag or heads.get(f"{ref}^{{}}", tag) != commit:
            raise CommitMissingError(f"{ref} no longer leads to {commit}")
        if tag == commit:
            return before
        async with quarantine(self._store.directory) as incoming:
            await self._cli.bring(ref, incoming)
            raw = await self._git.run(["cat-file", "tag", tag], seconds=SECONDS, objects=incoming)
            if raw.code:
                raise CommitMissingError(f"{ref} no longer is the tag {tag}")
            try:
                kind = tag_signature(raw.out, name=ref.removeprefix(_TAG), commit=commit)
                finding = await self._verify("verify-tag", tag, kind, policy, objects=incoming)
            except ConfusingObjectError as error:
                finding = Finding("", str(error))
        return finding if finding.signer else Finding("", f"{before.found}; and, of its tag {tag}, {finding.found}")

    async def _verify(
        self, command: str, oid: str, kind: Kind | None, policy: Policy, *, objects: Path | None = None
    ) -> Finding:
        if kind is None:
            return Finding("", "no signature")
        if all(key.kind != kind for key in policy.keys):
            return Finding("", f"a signature of the kind {kind}, of which the policy has no key")
        keyring = await self._keyring(kind, policy)
        async with keyring.served():
            output = await self._git.run(
                [command, "--raw", oid],
                seconds=SECONDS,
                objects=objects,
                config=keyring.config,
                environment=keyring.environment,
            )
        finding = _ssh_finding(output, keyring) if kind == "ssh" else _gnupg_finding(output, keyring)
        log.info("git.signature", object=oid, kind=kind, signer=finding.signer, found=finding.found)
        return finding

    async def _keyring(self, kind: Kind, policy: Policy) -> Keyring:
        async with self._making:
            known = self._keyrings.get((policy.digest, kind))
            if known is None:
                folder = self._scratch / f"{kind}-{len(self._keyrings)}"
                known = self._keyrings[policy.digest, kind] = await make_keyring(kind, policy, folder)
            return known


def _ssh_finding(output: Output, keyring: Keyring) -> Finding:
    """ssh-keygen's one line of praise, by its own key's fingerprint, and Git's approval."""
    text = output.err.decode("utf-8", "replace")
    matches = [match for line in text.splitlines() if (match := _SSH_GOOD.fullmatch(line))]
    signer = keyring.signers.get(matches[0][1]) if len(matches) == 1 else None
    if output.code == 0 and signer is not None:
        return Finding(signer, "")
    if "No principal matched" in text:
        return Finding("", _REASONS["NO_PUBKEY"])
    revoked = ", or by a key that was revoked" if "gpg.ssh.revocationFile" in keyring.config else ""
    return Finding("", _REASONS["BADSIG"] + revoked)  # ssh-keygen does not say which


def _gnupg_finding(output: Output, keyring: Keyring) -> Finding:
    """GnuPG's status lines (doc/DETAILS): exactly one signature, good, by a key of ours, and Git's approval."""
    text = output.err.decode("utf-8", "replace")
    lines = [line.removeprefix(_STATUS).split(" ") for line in text.splitlines() if line.startswith(_STATUS)]
    words = {line[0]: line[1:] for line in lines}
    valid = words.get("VALIDSIG", [])
    if output.code or "GOODSIG" not in words or [line[0] for line in lines].count("VALIDSIG") != 1 or len(valid) < 9:
        reasons = [reason for word, reason in _REASONS.items() if word in words]
        return Finding("", reasons[0] if reasons else "a signature that can't be verified")
    if valid[7] in _WEAK_HASHES:
        return Finding("", "a signature with a hash that is no longer safe (MD5, SHA-1 or RIPEMD-160)")
    if keyring.kind == "gpg":
        signer = keyring.signers.get(valid[-1])  # the primary key's fingerprint, also where a subkey signed
    else:
        # gpgsm trusts a chain that ends in the trust list, which holds the policy's authorities and nothing else
        trusted = ", ".join(sorted(set(keyring.signers.values())))
        signer = f"{trusted}: {valid[0]}" if "TRUST_FULLY" in words else None
    return Finding(signer, "") if signer is not None else Finding("", _REASONS["NO_PUBKEY"])


def _unsigned(commit: str, finding: Finding, policy: Policy, where: str = "") -> UnsignedError:
    expected = ", ".join(f"{key.name} ({key.kind})" for key in policy.keys)
    return UnsignedError(
        f"commit {commit}{where} is not applied: found {finding.found}; expected a signature by one of {expected}"
    )
