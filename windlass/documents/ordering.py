"""What an Application says about order: what it depends on, how much one commit may prune, how long a wait may last. Pure.

What must hold: no application ever waits for itself, however indirectly; and a limit or a duration that isn't exactly
understood is refused, because the next best reading of it deletes something, or waits for ever.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from windlass.documents import syntax
from windlass.yamls import Path

Until = Literal["applied", "healthy"]

DEFAULT_TIMEOUT = 300.0
"""Seconds a step may wait for health where `spec.sync.timeout` says nothing."""
LONGEST_TIMEOUT = 86_400.0
SHOWN_MEMBERS = 10
"""Applications of a cycle that its error names."""

_SHARE = re.compile(r"([0-9]{1,3})%\Z", re.ASCII)
_DURATION = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,5})s)?\Z", re.ASCII)


class Dependency(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Another application, and what it must be before this one starts: ``applied``, or ``healthy`` (which includes it)."""

    application: str
    until: str = "healthy"


class PruneLimit(NamedTuple):
    """How much of an application one commit may prune: a ``share`` of what it has (0 to 1), or a ``number`` of objects.

    ``floor`` objects go in any case.
    """

    share: float | None = None
    number: int | None = None
    floor: int = 0

    def allowed(self, owned: int) -> int:
        """The most objects that may go, of ``owned``."""
        if self.number is not None:
            return self.number
        return max(self.floor, int(owned * (1.0 if self.share is None else self.share) + 1e-9))

    def __str__(self) -> str:
        return str(self.number) if self.share is None else f"{self.share:.0%}"


DEFAULT_LIMIT = PruneLimit(share=0.5, floor=5)
"""Half; but an application of a few objects is not stopped when two of three are renamed. What a document says is exact."""


def dependencies(depends_on: tuple[str | Dependency, ...]) -> tuple[Dependency, ...]:
    """`spec.sync.dependsOn` in one form. A name alone means: healthy."""
    return tuple(Dependency(one) if isinstance(one, str) else one for one in depends_on)


def prune_limit(said: int | str | None) -> PruneLimit | None:
    """`spec.sync.pruneLimit`: None if it is neither a share (``"50%"``) nor a number of objects (from 0)."""
    if said is None:
        return DEFAULT_LIMIT
    if isinstance(said, int):
        return PruneLimit(number=said) if said >= 0 else None
    match = _SHARE.match(said)
    return PruneLimit(share=int(match[1]) / 100) if match and int(match[1]) <= 100 else None


def seconds(duration: str) -> float | None:
    """The seconds of a duration such as ``90s``, ``5m`` or ``1h30m``; None if it isn't one above 0 s, up to a day."""
    match = _DURATION.match(duration)
    if match is None:
        return None
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    total = float(hours * 3600 + minutes * 60 + rest)
    return total if 0 < total <= LONGEST_TIMEOUT else None


def timeout(said: str | None) -> float:
    """The seconds of a `spec.sync.timeout` that has no violation."""
    return DEFAULT_TIMEOUT if said is None else seconds(said) or DEFAULT_TIMEOUT


def violations(
    name: str, depends_on: tuple[str | Dependency, ...], limit: int | str | None, wait: str | None
) -> Iterator[tuple[Path, str]]:
    """What is wrong with these fields of application ``name``, by their path below ``spec.sync``."""
    seen: set[str] = set()
    for index, one in enumerate(depends_on):
        dependency, path = dependencies((one,))[0], ("dependsOn", index)
        inner: Path = (*path, "application") if isinstance(one, Dependency) else path
        if not syntax.valid_label(dependency.application):
            yield inner, "expected the name of an Application"
        elif dependency.application == name:
            yield inner, "an application can't depend on itself"
        elif dependency.application in seen:
            yield inner, "is there a second time"
        seen.add(dependency.application)
        if dependency.until not in ("applied", "healthy"):
            yield (*path, "until"), "expected applied or healthy"
    if prune_limit(limit) is None:
        yield ("pruneLimit",), 'expected a share such as "50%", or a number of objects'
    if wait is not None and seconds(wait) is None:
        yield ("timeout",), "expected a duration such as 90s, 5m or 1h30m, of a day at most"


# -- cycles ---------------------------------------------------------------------------------------------------------


def cycles(graph: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Each application that waits for itself, with a shortest way back to it: (itself, …, the one that waits for it).

    ``graph`` says for each application on which others it depends; names that aren't in it are none of its business.
    """
    found: dict[str, tuple[str, ...]] = {}
    left = _entangled(graph)
    for name in sorted(left):
        if name not in found and (way := _way_back(name, left)):
            for index, member in enumerate(way):
                found.setdefault(member, way[index:] + way[:index])
    return found


def cycle_message(way: tuple[str, ...]) -> str:
    """For a person: who waits for whom."""
    more = len(way) - SHOWN_MEMBERS
    shown = [*way[:SHOWN_MEMBERS], *([f"({more} more)"] if more > 0 else []), way[0]]
    return f"these applications wait for each other: {' -> '.join(shown)}"


def _entangled(graph: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The graph without all that depends, in the end, on nothing: most often nothing is left."""
    waiting = {name: {other for other in others if other in graph} for name, others in graph.items()}
    dependents: dict[str, list[str]] = {name: [] for name in graph}
    for name, others in waiting.items():
        for other in others:
            dependents[other].append(name)
    free = deque(name for name, others in waiting.items() if not others)
    while free:
        done = free.popleft()
        for name in dependents[done]:
            waiting[name].discard(done)
            if not waiting[name]:
                free.append(name)
    return {name: frozenset(others) for name, others in waiting.items() if others}


def _way_back(start: str, graph: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """A shortest way from ``start`` along its dependencies back to it; empty if there is none."""
    came: dict[str, str] = {}
    ahead = deque([start])
    while ahead:
        name = ahead.popleft()
        for other in sorted(graph.get(name, ())):
            if other == start:
                way = [name]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return tuple(reversed(way))
            if other not in came:
                came[other] = name
                ahead.append(other)
    return ()
