"""What health is: a status, a reason and a message, and how an object's fields are read for it. Pure.

The statuses are those of kstatus (sigs.k8s.io/cli-utils/pkg/kstatus/status), which Flux, Helm 4 and kpt share. What must
hold: nothing that an API server can answer raises here. A field of another type than its schema's counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

LONGEST_MESSAGE = 500
"""Characters: controllers repeat whole answers of others in their conditions."""
LONGEST_REASON = 100


class Status(StrEnum):
    """kstatus' five."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    UNKNOWN = "Unknown"


class Health(NamedTuple):
    """``reason`` is one word for machines, ``message`` a sentence for people; both may be empty if Current."""

    status: Status
    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.status.value, self.reason, self.message)))


CURRENT = Health(Status.CURRENT)


def in_progress(reason: str, message: str) -> Health:
    """It isn't there yet, and may still get there."""
    return _made(Status.IN_PROGRESS, reason, message)


def failed(reason: str, message: str) -> Health:
    """It won't get there by waiting, as far as its controller knows."""
    return _made(Status.FAILED, reason, message)


def unknown(reason: str, message: str) -> Health:
    """It can't be told."""
    return _made(Status.UNKNOWN, reason, message)


def _made(status: Status, reason: str, message: str) -> Health:
    return Health(status, reason[:LONGEST_REASON], shortened(message))


def shortened(message: str) -> str:
    """On one line, and no longer than a report can bear."""
    text = " ".join(message[: 4 * LONGEST_MESSAGE].split())
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at ``path``; an empty one where there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def text(value: Mapping[str, Any], field: str) -> str:
    found = value.get(field)
    return found if isinstance(found, str) else ""


def whole(value: Mapping[str, Any], field: str, default: int = 0) -> int:
    """A whole number; JSON's true is none."""
    found = value.get(field)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def mappings(value: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    """The mappings in a list."""
    found = value.get(field)
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, Mapping))


class Condition(NamedTuple):
    """One entry of ``status.conditions``; ``status`` is "True", "False", "Unknown", or what the controller wrote."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int

    @property
    def holds(self) -> bool:
        return self.status == "True"


def conditions(holder: Mapping[str, Any]) -> list[Condition]:
    """The conditions in ``holder`` (an object's status, most often), in their order."""
    return [
        Condition(
            text(item, "type"),
            text(item, "status"),
            text(item, "reason"),
            text(item, "message"),
            whole(item, "observedGeneration", -1),
        )
        for item in mappings(holder, "conditions")
    ]


def condition(holder: Mapping[str, Any], kind: str) -> Condition | None:
    """The condition of type ``kind``; a type is there once."""
    return next((found for found in conditions(holder) if found.type == kind), None)
