"""What is said of a commit on the forge: one state and one line, out of what each of its applications came to. Pure.

As users of Argo CD and Flux expect: pending until everything is applied and healthy, success when it is, failure when
something could not be applied or is degraded. A commit whose place another one took before it was healthy says so: it is
neither a success nor waited for any more. One that was healthy stays a success while pods are moved; only Degraded is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from windlass.forges.status import State
from windlass.health import DEGRADED, HEALTHY, HealthState
from workers.manual import OUT_OF_SYNC

LONGEST = 140
"""Characters of a description: GitHub's limit."""
SUPERSEDED: State = "error"
"""The state of a commit that another one replaced: forges know no word for it, and success would be a lie."""


class Report(msgspec.Struct, omit_defaults=True):
    """What one application, or the source itself, has to say of a commit."""

    phase: str
    seconds: float = 0.0
    errors: list[str] = []
    at: float = 0.0  # when that was, in seconds since the epoch


class Replaced(msgspec.Struct):
    """Which commit took the place, and the application's health then."""

    by: str
    health: HealthState = HealthState()


class Standing(NamedTuple):
    """One application's part in a commit: ``health`` as it is now, or was when another commit took its place (``by``)."""

    report: Report
    health: HealthState = HealthState()
    by: str = ""

    @property
    def errors(self) -> list[str]:
        """Why it failed; empty: it didn't."""
        if self.report.phase in ("Failed", "Retrying", "RolledBack"):
            return self.report.errors or ["failed"]
        return [self.health.why or "degraded"] if self.applied and self.health.status == DEGRADED else []

    @property
    def healthy(self) -> bool:
        """Is it applied, and was it healthy since?"""
        return self.applied and (self.health.status == HEALTHY or self.health.reached > 0)

    @property
    def asks(self) -> bool:
        """Does it wait for a person's word (`sync.automatic: false`)? No commit is ever done there by itself."""
        return self.report.phase == OUT_OF_SYNC

    @property
    def applied(self) -> bool:
        return self.report.phase == "Synced"


def describe(standings: Mapping[str, Standing]) -> tuple[State, str]:
    """The state and the line for a commit on a cluster, by its applications' names."""
    asking = [name for name, one in sorted(standings.items()) if one.asks and not one.by]
    if asking:
        state, line = describe({name: one for name, one in standings.items() if name not in asking})
        line = "" if len(asking) == len(standings) else f"{line}; "
        return state, _short(f"{line}{_many(len(asking))} to be asked for: `windlass sync {asking[0]}`", LONGEST)
    failed = {name: one for name, one in sorted(standings.items()) if one.errors}
    if failed:
        return "failure", _failure(failed)
    waiting = {name: one for name, one in sorted(standings.items()) if not one.healthy and not one.by}
    if waiting:
        return "pending", _progress(standings, waiting)
    if replaced := [one.by for one in standings.values() if one.by and not one.healthy]:
        return SUPERSEDED, f"superseded by {replaced[0][:10]} before it was healthy"
    if not standings:
        return "success", "nothing that is applied differs"
    return "success", f"{_applied_in(standings.values())}{_healthy_after(standings.values())}"


def _failure(failed: Mapping[str, Standing]) -> str:
    count = sum(len(one.errors) for one in failed.values())
    more = f" (+{count - 1} more)" if count > 1 else ""
    name, first = next(iter(failed.items()))
    return _short(f"{name}: {first.errors[0]}", LONGEST - len(more)) + more


def _progress(standings: Mapping[str, Standing], waiting: Mapping[str, Standing]) -> str:
    behind = sum(1 for one in waiting.values() if not one.applied)
    if behind:
        return f"{len(standings) - behind} of {_many(len(standings))} applied"
    objects = sum(one.health.objects for one in standings.values())
    current = sum(one.health.current for one in standings.values())
    counted = f"{current} of {objects} objects healthy" if objects else "not healthy yet"
    why = next((f": {one.health.why}" for one in waiting.values() if one.health.why), "")
    return _short(f"{_applied_in(standings.values())}, {counted}{why}", LONGEST)


def _applied_in(standings: Iterable[Standing]) -> str:
    seconds = [one.report.seconds for one in standings]
    return f"{_many(len(seconds))} applied in {_duration(max(seconds))}"


def _healthy_after(standings: Iterable[Standing]) -> str:
    longest = max((one.health.reached - one.report.at for one in standings if one.report.at), default=0.0)
    return f", healthy after {_duration(longest)}" if longest > 0 else ""


def _many(count: int) -> str:
    return "1 application" if count == 1 else f"{count} applications"


def _short(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
