"""How a run of an application ended, and what follows for its state: phase, retries, what the next run must look at. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from windlass.errors import OutOfSyncError, PermanentError, SupersededError, TransientError, WaitingError
from windlass.hold import Hold
from windlass.state import ApplicationState, RunRecord, Standing
from workers.holding import HeldError
from workers.manual import OUT_OF_SYNC
from workers.plan import ObjectError
from workers.rollout import look_again_in

MAX_ATTEMPTS = 12
"""Runs in a row that fail on one commit before it is left to the next one."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
LONGEST_AWAY = 30.0
"""Seconds until a cluster that is away is asked for again; for as long as it takes, since to ask costs next to nothing."""
MOST_NAMED = 100
"""Errors, objects kept and fields taken that a run's record names."""


class Verdict(enum.Enum):
    """What a run came to. Only a complete one moves the revision; one that rests, or isn't asked for, wrote nothing."""

    COMPLETE = enum.auto()
    FAILED = enum.auto()
    WAITS = enum.auto()
    SUPERSEDED = enum.auto()
    UNASKED = enum.auto()  # `sync.automatic: false`
    RESTS = enum.auto()  # a rollback holds


class Ending(NamedTuple):
    """``phase`` is the application's from now on, ``said`` the run's; ``retry_in`` in seconds, None: only a commit can help."""

    verdict: Verdict
    phase: str
    said: str
    retry_in: float | None
    attempts: int
    attempted: tuple[str, ...]
    standing: Standing

    @property
    def complete(self) -> bool:
        return self.verdict is Verdict.COMPLETE


def as_error(error: BaseException, application: str) -> ObjectError | None:
    """An error of the whole run as one of those that are reported; None: it is no error, but says how the run ended."""
    if isinstance(error, SupersededError | HeldError | OutOfSyncError | WaitingError):
        return None
    retry = not isinstance(error, PermanentError) and getattr(error, "retryable", True)
    return ObjectError("", application, 0, str(error) or type(error).__name__, retry=retry)


def ending(
    state: ApplicationState, commit: str, errors: Sequence[ObjectError], cause: BaseException | None, hold: Hold | None
) -> Ending:
    """How a run towards ``commit`` ended, that began at ``state``. ``cause`` is what cut it short, ``hold`` what holds now."""
    verdict = _verdict(errors, cause)
    attempts = state.attempts + 1 if state.wanted == commit else 1
    retry_in = _retry_in(verdict, errors, attempts, state, away=isinstance(cause, TransientError))
    phase, said = _phases(verdict, retry_in, hold)
    attempted = state.attempted
    if verdict is Verdict.COMPLETE:
        attempted = ()
    elif verdict not in (Verdict.RESTS, Verdict.UNASKED):
        attempted = (*dict.fromkeys((*attempted, commit)),)
    counts = verdict in (Verdict.FAILED, Verdict.SUPERSEDED)
    return Ending(verdict, phase, said, retry_in, attempts if counts else 0, attempted, _standing(state, verdict))


def is_repeated(state: ApplicationState, record: RunRecord, ended: Ending, cause: BaseException | None) -> bool:
    """Is this one of many retries (as while a cluster is away) that came to nothing new? History holds it once."""
    last = state.last
    same = last is not None and (last.revision, last.errors) == (record.revision, record.errors)
    still = isinstance(cause, TransientError) or bool(record.waits) or ended.attempts > MAX_ATTEMPTS
    return same and not record.applied and still


def named(names: Sequence[object]) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(names) - MOST_NAMED
    shown = [str(name) for name in names[:MOST_NAMED]]
    return [*shown, f"and {more} more"] if more > 0 else shown


def _verdict(errors: Sequence[ObjectError], cause: BaseException | None) -> Verdict:
    if isinstance(cause, SupersededError):
        return Verdict.SUPERSEDED
    if isinstance(cause, OutOfSyncError):
        return Verdict.UNASKED
    if isinstance(cause, WaitingError):
        return Verdict.WAITS
    if errors:
        return Verdict.FAILED
    return Verdict.RESTS if isinstance(cause, HeldError) else Verdict.COMPLETE


def _retry_in(
    verdict: Verdict, errors: Sequence[ObjectError], attempts: int, state: ApplicationState, *, away: bool
) -> float | None:
    if verdict is Verdict.SUPERSEDED:
        return 0.0
    if verdict is Verdict.WAITS:
        return look_again_in(state.standing)
    if not any(error.retry for error in errors):
        return None
    if attempts > MAX_ATTEMPTS:
        return LONGEST_AWAY if away else None
    return float(min(FIRST_RETRY * 2 ** (attempts - 1), LONGEST_AWAY if away else LONGEST_RETRY))


def _phases(verdict: Verdict, retry_in: float | None, hold: Hold | None) -> tuple[str, str]:
    """The application's, and the run's."""
    if verdict is Verdict.SUPERSEDED:
        return "Syncing", "Superseded"
    if verdict is Verdict.FAILED:
        phase = "Failed" if retry_in is None else "Retrying"
    elif verdict in (Verdict.WAITS, Verdict.UNASKED):
        phase = "Waiting" if verdict is Verdict.WAITS else OUT_OF_SYNC
    else:
        phase = "Synced" if hold is None else "RolledBack" if hold.automatic else "Held"
    return phase, phase


def _standing(state: ApplicationState, verdict: Verdict) -> Standing:
    """Who fails no longer waits for anything; what is known of hooks and health stays until all is done."""
    if verdict is Verdict.COMPLETE:
        return Standing()
    if verdict is not Verdict.WAITS:
        state.standing.awaits, state.standing.place, state.standing.why = [], "", ""
    return state.standing
