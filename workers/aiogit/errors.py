"""What can go wrong between a Git server and the store, typed by what helps.

No message holds a credential: addresses are printed without user information and without a query.
"""

from __future__ import annotations

from windlass.errors import PermanentError, TransientError


class GitError(TransientError):
    """The server, the network or the store failed; the same request may work later."""


class ProtocolError(GitError):
    """The server answered something that protocol version 2 does not allow."""


class RemoteError(GitError):
    """The server understood and refused, in its own words."""


class AuthenticationError(GitError):
    """The server did not accept the credentials. Transient: a rotated token or a mended permission heals it."""


class CommitMissingError(GitError):
    """The server does not have the commit: it was rewritten meanwhile, or a replica lags."""


class IncompleteError(GitError):
    """An object that a commit needs is missing: the commit must not be used."""


class CorruptPackError(GitError):
    """The pack's bytes contradict themselves or their checksum."""


class GitTimeoutError(GitError):
    """The server did not finish within its time; whatever ran for it has been stopped."""


class LimitExceededError(PermanentError):
    """The repository or an object in it is larger than the limits allow (see :class:`workers.aiogit.model.Limits`)."""


class RefusedUrlError(PermanentError):
    """The address is of a kind that Windlass never passes on: another scheme, an option in disguise, credentials in
    it."""


class RefusedRepositoryError(PermanentError):
    """The repository is of a kind that is not supported, such as one with SHA-256 object ids."""


class RefNotFoundError(PermanentError):
    """The ref does not exist, is not a valid name, or does not lead to a commit."""


class PathError(PermanentError):
    """The folder does not exist in the commit, or is not a folder. Never a reason to delete anything."""
