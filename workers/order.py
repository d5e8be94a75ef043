"""A run's writes and hooks in the order in which they happen, and where it waits. Pure.

A run is phases (PreSync, Sync, PostSync), a phase is waves from low to high, and a wave is namespaces, definitions, then the
rest at once; what is pruned goes in reverse. What must hold: nothing is written before what it asked to follow, and a wait
is for objects, never for time. Without waves and hooks there is one wave, and nobody waits for health.

A wave is waited for only if something follows it, and only for what may not be healthy yet: what this run writes there, and
what earlier runs wrote there without seeing it healthy (``unsettled``). So cost follows the diff: where wave 0 is as it was,
wave 1 starts at once, even if wave 0 has fallen ill since, for the change may be its cure. But when a run failed in wave 0,
the next one finds its objects written, and must not take that for done: wave 1 still waits for them. A newer commit that
mends them writes them again, so nobody waits for what can't become healthy.

An error in a step, or a wait that ends without health, ends the phases: later steps are not run, and ``on_failure`` is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import IntEnum
from typing import NamedTuple, TypeVar

from workers.directives import Directives, Phase
from workers.kube.keys import ObjectKey
from workers.plan import FIRST, Leaving, Wanted

LONGEST_NAME = 63
"""Characters of a generated name: a Job's name becomes its pods' label."""
REVISION_SHOWN = 7

_PHASES = {Phase.PRE_SYNC: 0, Phase.SYNC: 1, Phase.POST_SYNC: 2}
_BEFORE_HOOKS = frozenset(
    {
        *("ServiceAccount", "Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim", "Service"),
        *("LimitRange", "ResourceQuota", "NetworkPolicy.networking.k8s.io", "StorageClass.storage.k8s.io"),
        *(f"{kind}.rbac.authorization.k8s.io" for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")),
    }
)
"""Hooks that others of the same wave need before they run: a pod without its ServiceAccount is refused, not delayed."""

T = TypeVar("T")


class Rank(IntEnum):
    """The order within a wave."""

    NAMESPACE = 0
    DEFINITION = 1
    OBJECT = 2
    HOOK = 3  # what runs: Jobs, Pods, workflows


class Await(IntEnum):
    """What must be before the next step may begin. Each includes those before it."""

    NOTHING = 0
    ESTABLISHED = 1  # the step's definitions can be used
    HEALTHY = 2  # the objects in `Step.healthy` are healthy, and hooks among them done


class Item(NamedTuple):
    """An object to write, or a hook, with what its annotations ask for.

    ``generated``: the hook has only a ``generateName``, which its key holds for a name.
    """

    wanted: Wanted
    directives: Directives
    generated: bool = False


class HookRun(NamedTuple):
    """A hook in one of its phases. ``id`` is what to remember once it succeeded; ``key`` has the name that it runs under."""

    id: str
    phase: Phase
    key: ObjectKey
    item: Item


class Unsettled(NamedTuple):
    """An object that an earlier run wrote, and that hasn't been seen healthy since; hooks are none (they are run again)."""

    key: ObjectKey
    wave: int


class Step(NamedTuple):
    """What is written at once, and what to wait for before the next step."""

    phase: Phase
    wave: int
    rank: Rank
    objects: tuple[Wanted, ...] = ()
    hooks: tuple[HookRun, ...] = ()
    wait: Await = Await.NOTHING
    healthy: tuple[ObjectKey, ...] = ()  # of the whole wave; empty unless `wait` is HEALTHY


class Steps(NamedTuple):
    """``run`` in this order; ``on_failure`` (SyncFail) instead of the rest, once something failed."""

    run: tuple[Step, ...]
    on_failure: tuple[Step, ...]


class _Placed(NamedTuple):
    phase: Phase
    wave: int
    rank: Rank
    key: ObjectKey
    wanted: Wanted | None = None
    hook: HookRun | None = None

    @property
    def at(self) -> tuple[int, int]:
        return _PHASES[self.phase], self.wave


def steps(
    writes: Iterable[Item],
    hooks: Iterable[Item] = (),
    *,
    revision: str,
    ran: AbstractSet[str] = frozenset(),
    unsettled: Iterable[Unsettled] = (),
) -> Steps:
    """The steps of a run.

    :param writes: the objects that differ from what is applied; none is a hook, and those to be skipped are left out.
    :param hooks: every hook that Git names at ``revision``, changed or not.
    :param ran: the ids (`HookRun.id`) of the hooks that succeeded under this revision: they aren't run again.
    :param unsettled: what earlier runs wrote and left without health. Keys that are written now may be among them.
    """
    items = [item for item in writes if not item.directives.skipped]
    assert not any(item.directives.is_hook for item in items), "a hook among the objects to keep equal to Git"
    hooks = list(hooks)
    placed = [_place(item) for item in items]
    placed += [_place_hook(run) for phase in _PHASES for run in _runs(hooks, phase, revision, ran)]
    written = {item.key for item in placed}
    waiting = [_Placed(Phase.SYNC, u.wave, Rank.OBJECT, u.key) for u in unsettled if u.key not in written]
    failing = [_place_hook(run) for run in _runs(hooks, Phase.SYNC_FAIL, revision, ran)]
    return Steps(_steps(_pulled_forward(placed) + waiting), _hook_steps(failing))


def hook_steps(
    hooks: Iterable[Item], phase: Phase, *, revision: str, ran: AbstractSet[str] = frozenset()
) -> tuple[Step, ...]:
    """The hooks of one phase alone: for PreDelete and PostDelete, around the deletion of an application."""
    return _hook_steps([_place_hook(run) for run in _runs(list(hooks), phase, revision, ran)])


def hook_key(run: str) -> ObjectKey:
    """The hook with this `HookRun.id`."""
    return ObjectKey.parse(run.partition(" ")[2])


def those_of(runs: Iterable[str], *phases: Phase) -> list[str]:
    """The ids (`HookRun.id`) among ``runs`` that are of these phases."""
    return [run for run in runs if run.partition(" ")[0] in phases]


def those_before(runs: Iterable[str], phase: Phase) -> list[str]:
    """The ids among ``runs`` of the phases that are over when ``phase`` begins."""
    return those_of(runs, *(one for one, place in _PHASES.items() if place < _PHASES.get(phase, 0)))


def hook_name(generate_name: str, revision: str, phase: Phase) -> str:
    """The name of a hook that has only a ``generateName``: the same for one revision, so that it runs once.

    It is new with each revision, so of the delete policies only those after the hook's end ever delete it.
    """
    suffix = f"{revision[:REVISION_SHOWN]}-{phase.lower()}"
    if len(generate_name) + len(suffix) > LONGEST_NAME:  # told apart by the whole name, not by what is left of it
        suffix = f"{hashlib.sha256(generate_name.encode()).hexdigest()[:8]}-{suffix}"
        generate_name = generate_name[: LONGEST_NAME - 1 - len(suffix)].rstrip("-.") + "-"
    return generate_name + suffix


# -- where each belongs ---------------------------------------------------------------------------------------------


def _place(item: Item) -> _Placed:
    key = item.wanted.key
    return _Placed(Phase.SYNC, item.directives.wave, _rank(key), key, wanted=item.wanted)


def _place_hook(run: HookRun) -> _Placed:
    rank = _rank(run.key)
    if rank is Rank.OBJECT and run.key.group_kind not in _BEFORE_HOOKS:
        rank = Rank.HOOK
    return _Placed(run.phase, run.item.directives.wave, rank, run.key, hook=run)


def _rank(key: ObjectKey) -> Rank:
    return Rank(FIRST.index(key.group_kind)) if key.group_kind in FIRST else Rank.OBJECT


def _runs(hooks: Sequence[Item], phase: Phase, revision: str, ran: AbstractSet[str]) -> list[HookRun]:
    runs = (
        _run(item, phase, revision) for item in hooks if item.directives.is_hook and phase in item.directives.phases
    )
    return [run for run in runs if run.id not in ran]


def _run(item: Item, phase: Phase, revision: str) -> HookRun:
    key = item.wanted.key
    if item.generated:
        key = key._replace(name=hook_name(key.name, revision, phase))
    return HookRun(f"{phase} {key}", phase, key, item)


def _pulled_forward(placed: list[_Placed]) -> list[_Placed]:
    """Namespaces and definitions no later than the first that needs them, as Argo CD has it (`adjustDeps`)."""
    if not any(item.rank < Rank.OBJECT for item in placed):
        return placed
    first: dict[tuple[str, ...], _Placed] = {}
    for item in placed:
        if item.rank >= Rank.OBJECT:
            for need in ((item.key.namespace,), (item.key.group, item.key.kind)):
                if need not in first or item.at < first[need].at:
                    first[need] = item

    def moved(item: _Placed) -> _Placed:
        dependent = first.get(_provides(item))
        if dependent is None or item.at <= dependent.at:
            return item
        return item._replace(phase=dependent.phase, wave=dependent.wave)

    return [moved(item) for item in placed]


def _provides(item: _Placed) -> tuple[str, ...]:
    """The namespace, or the group and kind, that others need this for."""
    if item.rank is Rank.NAMESPACE:
        return (item.key.name,)
    wanted = item.wanted or (item.hook.item.wanted if item.hook else None)
    defines = wanted.sketch.defines if wanted and item.rank is Rank.DEFINITION else None
    return defines[:2] if defines else ()


# -- steps and their waits ------------------------------------------------------------------------------------------


def _steps(placed: list[_Placed]) -> tuple[Step, ...]:
    waves = _grouped(placed, lambda item: item.at)
    while waves and not any(item.wanted or item.hook for item in waves[-1]):
        waves.pop()  # what earlier runs left is waited for only if something follows
    made: list[Step] = []
    for index, wave in enumerate(waves):
        made += _wave(wave, followed=index + 1 < len(waves))
    return tuple(made)


def _hook_steps(placed: list[_Placed]) -> tuple[Step, ...]:
    return tuple(step for wave in _grouped(placed, lambda item: item.wave) for step in _wave(wave, followed=True))


def _wave(wave: list[_Placed], *, followed: bool) -> list[Step]:
    """A wave's steps. Its last one waits for all of it if something follows, and in any case for its hooks."""
    ranks = _grouped(wave, lambda item: item.rank)
    made = [_step(items) for items in ranks]
    keys = tuple(dict.fromkeys(item.key for items in ranks for item in items if followed or item.hook))
    if keys:
        made[-1] = made[-1]._replace(wait=Await.HEALTHY, healthy=keys)
    return made


def _step(items: list[_Placed]) -> Step:
    phase, wave, rank = items[0][:3]
    return Step(
        phase,
        wave,
        rank,
        tuple(item.wanted for item in items if item.wanted),
        tuple(item.hook for item in items if item.hook),
        Await.ESTABLISHED if rank is Rank.DEFINITION else Await.NOTHING,
    )


def _grouped(items: Iterable[T], key: Callable[[T], int | tuple[int, ...]]) -> list[list[T]]:
    """In the order of ``key``, and where that is equal as they came."""
    groups: dict[int | tuple[int, ...], list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return [groups[found] for found in sorted(groups)]


# -- prune ----------------------------------------------------------------------------------------------------------


class PruneGroup(NamedTuple):
    """Objects deleted at once. The next group waits until they are gone, for finalizers may need what it holds.

    ``last``: they asked to go only once everything that Git names is healthy (`PruneLast=true`).
    """

    leaving: tuple[Leaving, ...]
    last: bool


def prune_order(leaving: Iterable[tuple[Leaving, Directives]]) -> tuple[PruneGroup, ...]:
    """What leaves, in the reverse of the order in which it came: the highest wave first, then definitions, then namespaces.

    `PruneLast` objects follow all others, but never what they are in, or are defined by.
    """

    def place(item: tuple[Leaving, Directives]) -> tuple[int, bool, int]:
        """Kind counts before wave: definitions and namespaces take with them what is left."""
        rank, wishes = _rank(item[0].key), item[1]
        return -rank, wishes.prune_last, 0 if wishes.prune_last else -wishes.wave

    groups = _grouped(leaving, place)
    return tuple(PruneGroup(tuple(item for item, _ in group), group[0][1].prune_last) for group in groups)
