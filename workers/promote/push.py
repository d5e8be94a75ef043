"""Pushing a commit, if and only if the branch is what we think it is.

What must hold: a ref is moved from exactly the commit that was looked at, or not at all (``--force-with-lease`` with the
expected id; the server compares once more); what the server says is told by what helps: look again, ask a person, try later.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import structlog

from windlass.errors import PermanentError, TransientError
from workers.aiogit import GitRepository
from workers.aiogit.address import check_ref
from workers.aiogit.errors import AuthenticationError, GitError
from workers.aiogit.gitcli import GitCli, Output, complaint

log = structlog.get_logger(__name__)

_RACES = (
    "stale info", "fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref", "failed to lock",
    "incorrect old value", "reference already exists", "unable to lock", "cas failed",
)  # fmt: skip
_TAKEN = "exists; cannot create"
"""A branch ``promote`` leaves no place for ``promote/web``, nor the other way round: no race, although it sounds like one."""
_UNHOSTED = ("host key verification failed", "no matching host key")
_UNAUTHENTICATED = ("authentication failed", "could not read username", "permission denied", "error: 403", "error: 401")
_REFUSALS = ("[remote rejected]", "[rejected]")


class RaceError(TransientError):
    """Somebody else pushed meanwhile: look again."""


class RefusedPushError(PermanentError):
    """The server took the request and refused it, in its own words: a protected branch, a hook, a quota."""


async def push(repository: GitRepository, commit: str, branch: str, *, expected: str | None) -> None:
    """Make ``branch`` this commit, if it is ``expected`` now (None: if it does not exist).

    :raises RaceError: it is something else. :raises RefusedPushError: the server doesn't take it.
    :raises AuthenticationError: the credentials may not push. :raises GitError: the network, or there is no git.
    """
    ref = check_ref(f"refs/heads/{branch}")
    arguments = ["push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no",
                 f"--force-with-lease={ref}:{expected or ''}", "--", repository.address.url, f"{commit}:{ref}"]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="windlass-push-") as scratch:
        git = GitCli(repository.directory, repository.address, repository.remote, Path(scratch))
        output = await git.run(arguments, seconds=repository.limits.fetch_seconds, network=True)
    if output.code:
        raise _error(output, branch, repository)
    log.info("git.pushed", url=str(repository.address), branch=branch, commit=commit, before=expected or "")


def _error(output: Output, branch: str, repository: GitRepository) -> Exception:
    said = complaint(output, [repository.remote.password])
    lines = [line for line in output.out.decode("utf-8", "replace").splitlines() if line.startswith("!\t")]
    refused = " ".join(lines).lower()
    if lines and _TAKEN in said:
        return RefusedPushError(f"{repository.address} has no place for a branch {branch}: {said}")
    if any(sign in refused for sign in _RACES):
        return RaceError(f"{branch} of {repository.address} changed meanwhile")
    if any(sign in refused for sign in _REFUSALS):
        return RefusedPushError(f"{repository.address} refuses the push to {branch}: {said}")
    lower = said.lower()
    if any(sign in lower for sign in _UNHOSTED):
        return AuthenticationError(f"{repository.address} is not the host that knownHosts names: {said}")
    if any(sign in lower for sign in _UNAUTHENTICATED):
        return AuthenticationError(f"{repository.address} does not let these credentials push: {said}")
    return GitError(f"{repository.address}: {said}")
