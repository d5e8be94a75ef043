"""Errors, typed by what should happen next; a leaf module, so that every layer can raise them.

A message must be fit for a log, a commit status and an API answer: it never holds the value of a Secret, a token or a key.
"""

from __future__ import annotations


class WindlassError(Exception):
    """The base of every error that Windlass raises on purpose."""


class DocumentError(WindlassError):
    """A Windlass document (Repository, Cluster, Application) is wrong; only that document is disabled."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, field: str = "") -> None:
        super().__init__(message)
        self.message, self.file, self.line, self.field = message, file, line, field

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        place = f"{self.file}{line}: " if self.file else ""
        return place + (f"{self.field}: " if self.field else "") + self.message


class PermanentError(WindlassError):
    """Trying again can't help: only a new commit or another document can."""


class TransientError(WindlassError):
    """Worth trying again, after ``retry_after`` seconds if the peer named a time."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LeaseLostError(TransientError):
    """This process no longer holds the lease of what it works on: whoever holds it now does the work."""


class WaitingError(WindlassError):
    """Something must come true elsewhere before this can go on; nobody holds anything meanwhile."""


class OutOfSyncError(WindlassError):
    """Git says something else than what is applied, and only a person may apply it (`sync.automatic: false`)."""


class SupersededError(WindlassError):
    """A newer commit changes the same application: this run stops between two writes, the next continues."""
