"""In which order a run writes, where it waits and for what, and the reverse for what leaves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.directives import PLAIN, DeletePolicy, Directives, Phase
from workers.kube.keys import ObjectKey
from workers.order import (
    LONGEST_NAME,
    Await,
    Item,
    Rank,
    Step,
    Steps,
    Unsettled,
    hook_name,
    hook_steps,
    prune_order,
    steps,
)
from workers.plan import Leaving, Sketch, Wanted

REVISION = "0123456789" * 4
KINDS = {
    "Namespace": ("", False),
    "CustomResourceDefinition": ("apiextensions.k8s.io", False),
    "ConfigMap": ("", True),
    "Deployment": ("apps", True),
    "Job": ("batch", True),
    "ServiceAccount": ("", True),
    "Widget": ("example.com", True),
}


def key(text: str) -> ObjectKey:
    """Of ``Kind/name`` or ``Kind/namespace/name``."""
    kind, *namespace, name = text.split("/")
    group, namespaced = KINDS[kind]
    return ObjectKey(group, kind, namespace[0] if namespace else "shop" if namespaced else "", name)


def sketch_of(at: ObjectKey) -> Sketch:
    defines = ("example.com", "Widget", True) if at.kind == "CustomResourceDefinition" else None
    version = f"{at.group}/v1" if at.group else "v1"
    return Sketch(version, at.kind, at.namespace, at.name, "h", "a.yaml", 1, "b", 0, defines)


def item(text: str, wave: int = 0, **more: Any) -> Item:
    at = key(text)
    return Item(Wanted(at, sketch_of(at)), Directives(wave=wave, **more) if wave or more else PLAIN)


def hook(text: str, *phases: Phase, wave: int = 0, generated: bool = False) -> Item:
    wishes = Directives(
        phases=phases, wave=wave, is_hook=True, delete_policies=frozenset({DeletePolicy.BEFORE_CREATION})
    )
    return item(text)._replace(directives=wishes, generated=generated)


def make(writes: list[Item], hooks: list[Item] | None = None, **more: Any) -> Steps:
    return steps(writes, hooks or (), revision=REVISION, **more)


def told(found: tuple[Step, ...]) -> list[str]:
    """Each step in one line: phase, wave, names, and what is waited for."""
    return [
        f"{step.phase} {step.wave}: "
        + " ".join([w.key.name for w in step.objects] + [f"({run.key.name})" for run in step.hooks])
        + {Await.NOTHING: "", Await.ESTABLISHED: " | established", Await.HEALTHY: " | healthy "}[step.wait]
        + " ".join(at.name for at in step.healthy)
        for step in found
    ]


def run(*writes: Item, hooks: list[Item] | None = None, **more: Any) -> list[str]:
    return told(make(list(writes), hooks, **more).run)


# -- neither waves nor hooks ----------------------------------------------------------------------------------------


def test_without_waves_and_hooks_only_what_others_need_goes_first_and_nobody_waits_for_health() -> None:
    names = ["ConfigMap/c", "CustomResourceDefinition/d", "Namespace/shop", "Widget/w", "Deployment/e"]
    items = [item(name) for name in names]
    found = make(items)
    assert [[str(w.key) for w in step.objects] for step in found.run] == [
        ["Namespace/shop"],
        ["CustomResourceDefinition.apiextensions.k8s.io/d"],
        ["ConfigMap/shop/c", "Widget.example.com/shop/w", "Deployment.apps/shop/e"],
    ]
    assert [step.wait for step in found.run] == [Await.NOTHING, Await.ESTABLISHED, Await.NOTHING]
    assert all(step.healthy == () for step in found.run)
    assert found.on_failure == ()


def test_nothing_to_write_is_no_step() -> None:
    assert make([]) == Steps((), ())
    assert run(unsettled=[Unsettled(key("Deployment/old"), 0)]) == []


def test_what_is_skipped_is_not_written() -> None:
    assert run(item("ConfigMap/a", phases=(Phase.SKIP,))) == []


# -- waves ----------------------------------------------------------------------------------------------------------


def test_a_wave_waits_until_the_one_before_is_healthy_and_the_last_is_waited_for_by_nobody() -> None:
    assert run(item("Deployment/c", 5), item("Deployment/b"), item("Deployment/a", -1)) == [
        "Sync -1: a | healthy a",
        "Sync 0: b | healthy b",
        "Sync 5: c",
    ]


def test_a_waves_wait_is_for_all_of_it() -> None:
    writes = [item("Namespace/other"), item("CustomResourceDefinition/d"), item("ConfigMap/a"), item("ConfigMap/z", 1)]
    assert run(*writes) == [
        "Sync 0: other",
        "Sync 0: d | established",
        "Sync 0: a | healthy other d a",
        "Sync 1: z",
    ]


def test_a_wave_in_which_nothing_changed_is_not_waited_for() -> None:
    assert run(item("Deployment/b", 1)) == ["Sync 1: b"]


def test_what_a_failed_run_left_without_health_is_waited_for_before_the_next_wave() -> None:
    left = [Unsettled(key("Deployment/a"), 0)]
    assert run(item("Deployment/b", 1), unsettled=left) == ["Sync 0:  | healthy a", "Sync 1: b"]


def test_what_was_left_is_not_waited_for_if_nothing_follows() -> None:
    assert run(item("Deployment/b"), unsettled=[Unsettled(key("Deployment/a"), 1)]) == ["Sync 0: b"]
    assert run(item("Deployment/b"), unsettled=[Unsettled(key("Deployment/a"), 0)]) == ["Sync 0: b"]


def test_what_was_left_and_is_written_again_is_one_object() -> None:
    left = [Unsettled(key("Deployment/a"), 7)]
    assert run(item("Deployment/a"), item("Deployment/b", 1), unsettled=left) == [
        "Sync 0: a | healthy a",
        "Sync 1: b",
    ]


def test_a_namespace_and_a_definition_come_no_later_than_what_needs_them() -> None:
    writes = [
        item("Namespace/shop", 3),
        item("CustomResourceDefinition/d", 2),
        item("ConfigMap/shop/a", -1),
        item("Widget/shop/w", 1),
    ]
    assert run(*writes) == [
        "Sync -1: shop",
        "Sync -1: a | healthy shop a",
        "Sync 1: d | established",
        "Sync 1: w",
    ]


def test_a_namespace_is_there_before_the_hook_in_it() -> None:
    assert run(item("Namespace/shop"), item("ConfigMap/a"), hooks=[hook("Job/migrate", Phase.PRE_SYNC)]) == [
        "PreSync 0: shop",
        "PreSync 0: (migrate) | healthy shop migrate",
        "Sync 0: a",
    ]


# -- hooks ----------------------------------------------------------------------------------------------------------


def test_hooks_go_before_and_after_the_objects_by_wave_and_are_waited_for() -> None:
    hooks = [
        hook("Job/after", Phase.POST_SYNC),
        hook("Job/second", Phase.PRE_SYNC, wave=1),
        hook("Job/first", Phase.PRE_SYNC, wave=-1),
    ]
    assert run(item("Deployment/a"), hooks=hooks) == [
        "PreSync -1: (first) | healthy first",
        "PreSync 1: (second) | healthy second",
        "Sync 0: a | healthy a",
        "PostSync 0: (after) | healthy after",
    ]


def test_a_sync_hook_runs_in_its_wave_and_is_waited_for_though_nothing_follows() -> None:
    assert run(item("Deployment/a"), hooks=[hook("Job/j", Phase.SYNC)]) == ["Sync 0: a", "Sync 0: (j) | healthy j"]


def test_what_hooks_need_goes_before_those_that_run() -> None:
    hooks = [hook("Job/j", Phase.PRE_SYNC), hook("ServiceAccount/s", Phase.PRE_SYNC)]
    assert run(hooks=hooks) == ["PreSync 0: (s)", "PreSync 0: (j) | healthy s j"]


def test_a_hook_runs_once_for_a_revision_in_each_of_its_phases() -> None:
    hooks = [hook("Job/j", Phase.PRE_SYNC, Phase.POST_SYNC)]
    found = make([item("Deployment/a")], hooks)
    ids = [one.id for step in found.run for one in step.hooks]
    assert ids == ["PreSync Job.batch/shop/j", "PostSync Job.batch/shop/j"]
    assert run(item("Deployment/a"), hooks=hooks, ran={ids[0]}) == [
        "Sync 0: a | healthy a",
        "PostSync 0: (j) | healthy j",
    ]
    assert run(hooks=hooks, ran=set(ids)) == []


def test_what_a_failed_run_left_without_health_holds_back_the_hooks_after_it() -> None:
    left = [Unsettled(key("Deployment/a"), 0)]
    assert run(hooks=[hook("Job/j", Phase.POST_SYNC)], unsettled=left) == [
        "Sync 0:  | healthy a",
        "PostSync 0: (j) | healthy j",
    ]


def test_hooks_for_failure_and_deletion_are_not_among_the_runs_steps() -> None:
    hooks = [hook("Job/f", Phase.SYNC_FAIL), hook("Job/d", Phase.PRE_DELETE, wave=2), hook("Job/e", Phase.PRE_DELETE)]
    found = make([item("Deployment/a")], hooks)
    assert told(found.run) == ["Sync 0: a"]
    assert told(found.on_failure) == ["SyncFail 0: (f) | healthy f"]
    deletion = hook_steps(hooks, Phase.PRE_DELETE, revision=REVISION)
    assert told(deletion) == ["PreDelete 0: (e) | healthy e", "PreDelete 2: (d) | healthy d"]


def test_a_hook_among_the_objects_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        make([hook("Job/j", Phase.SYNC)])


# -- generated names ------------------------------------------------------------------------------------------------


def test_a_hook_without_a_name_gets_one_of_its_revision_and_phase() -> None:
    assert run(hooks=[hook("Job/migrate-", Phase.PRE_SYNC, generated=True)]) == [
        "PreSync 0: (migrate-0123456-presync) | healthy migrate-0123456-presync"
    ]


@given(
    st.text("abc-.", min_size=1, max_size=253).filter(lambda name: name[0] not in "-."),
    st.text("0123456789abcdef", min_size=7, max_size=40),
    st.sampled_from([phase for phase in Phase if phase is not Phase.SKIP]),
)
def test_a_generated_name_is_short_and_the_same_each_time(prefix: str, revision: str, phase: Phase) -> None:
    name = hook_name(prefix, revision, phase)
    assert name == hook_name(prefix, revision, phase)
    assert len(name) <= LONGEST_NAME
    assert name.endswith(f"{revision[:7]}-{phase.lower()}")
    assert name[: min(len(prefix), 20)].startswith(prefix[:20].rstrip("-."))


def test_long_prefixes_that_differ_at_their_end_give_names_that_differ() -> None:
    names = {hook_name("a" * 80 + end, REVISION, Phase.PRE_SYNC) for end in ("b-", "c-")}
    assert len(names) == 2


# -- prune ----------------------------------------------------------------------------------------------------------


def pruned(*texts: tuple[str, int] | tuple[str, int, bool]) -> list[str]:
    items = [(Leaving(key(text), "v1"), Directives(wave=wave, prune_last=bool(last))) for text, wave, *last in texts]
    groups = prune_order(items)
    return [" ".join(one.key.name for one in group.leaving) + (" last" if group.last else "") for group in groups]


def test_without_waves_everything_goes_at_once() -> None:
    assert pruned(("ConfigMap/a", 0), ("Deployment/b", 0)) == ["a b"]


def test_the_highest_wave_goes_first() -> None:
    assert pruned(("ConfigMap/a", -1), ("ConfigMap/b", 0), ("ConfigMap/c", 9)) == ["c", "b", "a"]


def test_objects_go_before_their_definitions_and_namespaces_whatever_the_waves() -> None:
    leaving = [("Namespace/shop", 9), ("CustomResourceDefinition/d", 9), ("Widget/w", 0), ("ConfigMap/a", 1)]
    assert pruned(*leaving) == ["a", "w", "d", "shop"]


def test_prune_last_follows_all_others_but_not_what_it_is_in() -> None:
    leaving = [("Widget/w", 9, True), ("ConfigMap/a", 0), ("CustomResourceDefinition/d", 0), ("ConfigMap/b", -3, True)]
    assert pruned(*leaving) == ["a", "w b last", "d"]


# -- whatever is asked ----------------------------------------------------------------------------------------------

names = st.sampled_from([f"{kind}/{name}" for kind in KINDS for name in ("a", "b", "shop")])
waves = st.integers(-2, 2)
some_hooks = st.dictionaries(
    names, st.tuples(waves, st.sets(st.sampled_from([p for p in Phase if p is not Phase.SKIP]), min_size=1)), max_size=5
)
left_over = st.dictionaries(names, waves, max_size=4)
PHASES = [Phase.PRE_SYNC, Phase.SYNC, Phase.POST_SYNC]


@given(st.dictionaries(names, waves, max_size=10), some_hooks, left_over)
def test_every_object_is_in_one_step_and_no_wave_goes_before_a_lower_one(
    wanted: dict[str, int], hooked: dict[str, tuple[int, set[Phase]]], left: dict[str, int]
) -> None:
    writes = [item(text, wave) for text, wave in wanted.items()]
    hooks = [hook(text, *phases, wave=wave) for text, (wave, phases) in hooked.items()]
    found = make(writes, hooks, unsettled=[Unsettled(key(text), wave) for text, wave in left.items()])

    written = [w for step in found.run for w in step.objects]
    assert sorted(written) == sorted(i.wanted for i in writes), "each object once"
    runs = sorted(one.id for step in (*found.run, *found.on_failure) for one in step.hooks)
    due = {*PHASES, Phase.SYNC_FAIL}
    assert runs == sorted(f"{p} {h.wanted.key}" for h in hooks for p in h.directives.phases if p in due)

    order = [(PHASES.index(step.phase), step.wave, step.rank) for step in found.run]
    assert order == sorted(set(order)), "phases, waves and ranks only ever go up, each once"
    for step in found.run:
        for one in step.objects:
            asked = (PHASES.index(Phase.SYNC), wanted[f"{one.key.kind}/{one.key.name}"])
            at = (PHASES.index(step.phase), step.wave)
            assert at <= asked if step.rank < Rank.OBJECT else at == asked, "only what others need is pulled forward"


@given(st.dictionaries(names, waves, max_size=10), some_hooks, left_over)
def test_whatever_follows_a_wave_waits_for_all_that_it_wrote(
    wanted: dict[str, int], hooked: dict[str, tuple[int, set[Phase]]], left: dict[str, int]
) -> None:
    writes = [item(text, wave) for text, wave in wanted.items()]
    hooks = [hook(text, *phases, wave=wave) for text, (wave, phases) in hooked.items()]
    found = make(writes, hooks, unsettled=[Unsettled(key(text), wave) for text, wave in left.items()]).run
    written_now = {i.wanted.key for i in writes} | {run.key for step in found for run in step.hooks}
    for step, following in pairwise(found):
        if step[:2] != following[:2]:
            wrote = {w.key for s in found if s[:2] == step[:2] for w in s.objects}
            ran = {run.key for s in found if s[:2] == step[:2] for run in s.hooks}
            waits = [key(text) for text, wave in left.items() if (Phase.SYNC, wave) == step[:2]]
            assert step.wait is Await.HEALTHY
            assert set(step.healthy) == wrote | ran | {at for at in waits if at not in written_now}
        else:
            assert step.wait <= Await.ESTABLISHED, "within a wave nobody waits for health"
    for step in found[-1:]:
        assert set(step.healthy) == {run.key for s in found if s[:2] == step[:2] for run in s.hooks}
        assert any(s.objects or s.hooks for s in found if s[:2] == step[:2]), "a run never ends in an idle wait"


@given(st.dictionaries(names, st.tuples(waves, st.booleans()), max_size=12))
def test_prune_is_the_reverse_of_the_order_of_writing(leaving: dict[str, tuple[int, bool]]) -> None:
    groups = prune_order([(Leaving(key(t), "v1"), Directives(wave=w, prune_last=p)) for t, (w, p) in leaving.items()])
    gone = [one.key for group in groups for one in group.leaving]
    assert sorted(gone) == sorted(map(key, leaving)), "each once"
    asked = {key(text): wishes for text, wishes in leaving.items()}
    ordinary = [at for at in gone if at.kind not in ("Namespace", "CustomResourceDefinition")]
    assert gone[: len(ordinary)] == ordinary, "what others need goes after all others"
    assert [at.kind for at in gone[len(ordinary) :]] == sorted(at.kind for at in gone[len(ordinary) :])
    place = {at: (asked[at][1], 0 if asked[at][1] else -asked[at][0]) for at in ordinary}
    assert [place[at] for at in ordinary] == sorted(place.values())
