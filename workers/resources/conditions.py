"""What a custom resource's status says of what Windlass knows. Pure: facts in, a status out.

What must hold: a status is about the generation that it names, and Ready is True only when all that this generation asks for is
applied and healthy (kstatus: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from windlass.documents.status import ApplicationStatus, Condition, ConditionStatus, PromotionStatus, ResourceStatus
from windlass.health import DEGRADED, HEALTHY
from windlass.state import ApplicationState
from workers.promote.state import PromotionState

LONGEST = 1024
"""Characters of a message."""
DONE = frozenset({"Synced", "Held"})
STUCK = frozenset({"Failed", "RolledBack"})
BY_HAND = frozenset({"OutOfSync"})
"""Waits for a person's `windlass sync`, as its document says."""
MISSING = "SecretMissing"


class Verdict(NamedTuple):
    """What the three conditions say."""

    ready: ConditionStatus
    reason: str
    message: str
    reconciling: bool = False
    stalled: bool = False


def invalid(errors: Sequence[str]) -> Verdict:
    """The resource is wrong, or refers to what isn't there: nothing is done by it, and nothing undone."""
    return Verdict("False", "Invalid", "; ".join(errors), stalled=True)


VALID = Verdict("True", "Valid", "")


def secret_missing(message: str) -> Verdict:
    """A Secret that the resource names can't be read."""
    return Verdict("False", MISSING, message, reconciling=True)


def ending(why_still: str) -> Verdict:
    """The resource is being deleted."""
    return Verdict("False", "Terminating", why_still or "what it has in its cluster is being deleted", reconciling=True)


def of_application(state: ApplicationState, *, current: bool, trouble: str) -> Verdict:
    """``current``: the document that was applied last is this one. ``trouble``: why its source can't be followed."""
    health = state.health.status
    if trouble:
        return Verdict("False", "SourceFailed", trouble, reconciling=True)
    if state.phase in STUCK:
        return Verdict("False", state.phase, why(state) or state.phase, stalled=True)
    if state.phase in BY_HAND:
        return Verdict("False", state.phase, "a commit waits for `windlass sync`")
    if not current or state.phase not in DONE:
        return Verdict("False", _phase(state), why(state) or "is being applied", reconciling=True)
    if health == HEALTHY:
        return Verdict("True", state.phase, f"{state.revision[:12]} is applied and healthy")
    if health == DEGRADED:
        return Verdict("False", "Degraded", why(state) or "Degraded", stalled=True)
    return Verdict("Unknown", "Progressing", why(state) or "health is not known yet", reconciling=True)


def of_pipeline(trouble: str) -> Verdict:
    """``trouble``: why the last push was not built; "" if it was, or there was none."""
    return Verdict("False", "BuildFailed", trouble, stalled=True) if trouble else VALID


def _phase(state: ApplicationState) -> str:
    return "Progressing" if state.phase in DONE or state.phase == "Unknown" else state.phase


def why(state: ApplicationState) -> str:
    """Why an application isn't synced and healthy; "" where it is, or nobody knows."""
    said = [state.standing.why if state.phase == "Waiting" else ""]
    if state.last is not None and state.phase not in DONE:
        said += [*state.last.errors, state.last.waits]
    if state.drift.count:
        said.append(f"{state.drift.count} objects differ from Git")
    said.append(state.health.why)
    return "; ".join(filter(None, said))


def application_status(state: ApplicationState) -> ApplicationStatus:
    """What is shown of an application."""
    return ApplicationStatus(
        revision=state.revision or None,
        sync=state.phase,
        health=state.health.status or "Unknown",
        objects=state.objects,
        message=_short(why(state)) or None,
    )


def promotion_status(state: PromotionState) -> PromotionStatus:
    """What is shown of a promotion."""
    image = state.image
    return PromotionStatus(
        image=(f"{image.tag}@{image.digest}" if image.digest else image.tag) if image is not None else None,
        phase=state.phase,
        message=_short(state.why) or None,
    )


def with_conditions(
    status: ResourceStatus,
    verdict: Verdict,
    *,
    generation: int,
    name: str | None,
    before: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """The status as it is written; a condition that stays what it was ``before`` keeps its time."""
    known = {one.get("type"): one for one in before.get("conditions") or () if isinstance(one, dict)}

    def condition(kind: str, value: ConditionStatus, reason: str, message: str) -> Condition:
        old = known.get(kind) or {}
        same = old.get("status") == value and old.get("lastTransitionTime")
        since = (
            str(old["lastTransitionTime"]) if same else datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        return Condition(kind, value, reason, _short(message), since, generation)

    flags = (("Reconciling", verdict.reconciling), ("Stalled", verdict.stalled))
    conditions = (
        condition("Ready", verdict.ready, verdict.reason, verdict.message),
        *(
            condition(kind, "True" if on else "False", verdict.reason, verdict.message if on else "")
            for kind, on in flags
        ),
    )
    made: dict[str, Any] = msgspec.to_builtins(
        msgspec.structs.replace(status, observed_generation=generation, name=name, conditions=conditions)
    )
    return made


def same(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Is this what is there? Conditions are a map by their type: their order says nothing."""

    def plain(status: Mapping[str, Any]) -> dict[str, Any]:
        by_type = sorted(status.get("conditions") or (), key=lambda one: str(one.get("type")))
        return {**status, "conditions": by_type}

    return plain(wanted) == plain(there)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
