"""What a custom resource's status says. Pure data; the schema of the CustomResourceDefinitions comes from here.

The conditions are kstatus' (kubernetes-sigs/cli-utils, pkg/kstatus/README.md): Ready is what it says; Reconciling and Stalled are
True only while something goes on, or can't go on without a person.
"""

from __future__ import annotations

from typing import Literal

from windlass.documents.base import Strict

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Strict, frozen=True):
    """A condition in Kubernetes' common form."""

    type: str
    status: ConditionStatus
    reason: str  # one word, in CamelCase
    message: str
    last_transition_time: str  # when the status became what it is (RFC 3339)
    observed_generation: int | None = None  # of the resource for which this holds


class ResourceStatus(Strict, frozen=True):
    """What Windlass makes of the resource."""

    observed_generation: int | None = None  # the resource's generation that this is about
    name: str | None = None  # as Windlass' commands call it, where that isn't the resource's own name
    conditions: tuple[Condition, ...] = ()


class ApplicationStatus(ResourceStatus, frozen=True):
    """What Windlass makes of the application."""

    revision: str | None = None  # the last commit of which everything was applied
    sync: str | None = None  # Synced, Syncing, Waiting, OutOfSync, Retrying, Failed, Held, RolledBack or Unknown
    health: str | None = None  # Healthy, Progressing or Degraded; Unknown while nobody has looked
    objects: int | None = None  # how many objects it has in its cluster
    message: str | None = None  # why it isn't synced and healthy


class PromotionStatus(ResourceStatus, frozen=True):
    """What Windlass makes of the promotion."""

    image: str | None = None  # the image that was decided on last
    phase: str | None = None  # where that one is on its way
    message: str | None = None  # what it waits for
