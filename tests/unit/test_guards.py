"""What a commit may take from the cluster at once, what it never takes, and what a person has to say yes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.ordering import DEFAULT_LIMIT, PruneLimit
from workers.directives import PLAIN, Directives, Say, directives
from workers.guards import Guarded, guard, kept_because
from workers.kube.keys import PRECIOUS, ObjectKey, split_group_kind
from workers.plan import Leaving

HALF = PruneLimit(share=0.5)
ALL = PruneLimit(share=1.0)
SAYS = {say: Directives(prune=say) for say in Say}


def key(name: str = "a", group_kind: str = "ConfigMap") -> ObjectKey:
    return ObjectKey(*split_group_kind(group_kind), "shop", name)


def leaving(count: int, wishes: Directives = PLAIN, group_kind: str = "ConfigMap") -> list[tuple[Leaving, Directives]]:
    return [(Leaving(key(f"{wishes.prune.value}{n}", group_kind), "v1"), wishes) for n in range(count)]


def counts(found: Guarded) -> tuple[int, int, int]:
    return len(found.go), len(found.kept), len(found.held)


# -- the limit ------------------------------------------------------------------------------------------------------


def test_up_to_the_limit_everything_goes_and_beyond_it_nothing() -> None:
    assert counts(guard(leaving(50), 100, HALF)) == (50, 0, 0)
    assert counts(guard(leaving(51), 100, HALF)) == (0, 0, 51)
    assert counts(guard(leaving(3), 100, PruneLimit(number=3))) == (3, 0, 0)
    assert counts(guard(leaving(4), 100, PruneLimit(number=3))) == (0, 0, 4)


@pytest.mark.parametrize(
    ("count", "owned", "held"), [(1, 1, 0), (2, 3, 0), (5, 5, 0), (6, 11, 6), (6, 12, 0), (50, 100, 0)]
)
def test_by_default_a_few_objects_go_in_any_case_and_else_at_most_half(count: int, owned: int, held: int) -> None:
    assert len(guard(leaving(count), owned, DEFAULT_LIMIT).held) == held


def test_what_a_document_says_is_exact() -> None:
    assert counts(guard(leaving(1), 1, HALF)) == (0, 0, 1)
    assert counts(guard(leaving(1), 100, PruneLimit(number=0))) == (0, 0, 1)
    assert counts(guard(leaving(100), 100, ALL)) == (100, 0, 0)


def test_what_stays_anyway_does_not_count() -> None:
    found = guard([*leaving(50), *leaving(30, SAYS[Say.NO]), *leaving(10, group_kind="Namespace")], 100, HALF)
    assert counts(found) == (50, 40, 0)


def test_the_message_says_how_many_of_how_many_which_and_what_to_do() -> None:
    assert guard(leaving(8), 10, HALF).approval == (
        "nothing is pruned: 8 of 10 objects would go, and 50% of 10 allows 5: ConfigMap/shop/nothing0, "
        "ConfigMap/shop/nothing1, ConfigMap/shop/nothing2, ConfigMap/shop/nothing3, ConfigMap/shop/nothing4 and 3 more. "
        "If that is meant, approve it, or raise spec.sync.pruneLimit; else name them in Git again"
    )
    assert "and spec.sync.pruneLimit allows 1: " in guard(leaving(2), 10, PruneLimit(number=1)).approval
    assert guard(leaving(5), 10, HALF).approval == ""


# -- an object's own word -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(PRECIOUS))
def test_what_is_precious_goes_only_when_asked(kind: str) -> None:
    assert counts(guard(leaving(1, group_kind=kind), 10, ALL)) == (0, 1, 0)
    assert counts(guard(leaving(1, SAYS[Say.YES], kind), 10, ALL)) == (1, 0, 0)
    asked = directives({"argocd.argoproj.io/sync-options": "Prune=true"}, kind)
    assert counts(guard(leaving(1, asked, kind), 10, ALL)) == (1, 0, 0)


def test_an_object_that_asks_to_be_kept_is_kept_though_it_was_approved() -> None:
    found = guard(leaving(2, SAYS[Say.NO]), 10, ALL, approved=True)
    assert counts(found) == (0, 2, 0)
    assert {one.reason for one in found.kept} == {"it asks to be kept"}


def test_an_object_that_asks_for_a_persons_word_waits_for_it_and_the_others_do_not() -> None:
    found = guard([*leaving(2), *leaving(1, SAYS[Say.CONFIRM], "Namespace")], 10, ALL)
    assert counts(found) == (2, 0, 1)
    assert found.approval == "to be approved before they are pruned (Prune=confirm): Namespace/shop/confirm0"


def test_an_approval_lifts_the_limit_and_confirms() -> None:
    wanted = [*leaving(9), *leaving(1, SAYS[Say.CONFIRM])]
    assert counts(guard(wanted, 10, HALF)) == (0, 0, 10)
    assert counts(guard(wanted, 10, HALF, approved=True)) == (10, 0, 0)


def test_a_whole_application_goes_by_its_own_word() -> None:
    assert kept_because(key(), Directives(delete=Say.NO), with_application=True) == "it asks to be kept"
    assert kept_because(key(), Directives(delete=Say.NO)) == ""
    assert kept_because(key(), Directives(prune=Say.NO), with_application=True) == ""
    claim = key(group_kind="PersistentVolumeClaim")
    assert "windlass.dev/prune" in kept_because(claim, PLAIN, with_application=True)
    assert kept_because(claim, SAYS[Say.YES], with_application=True) == ""


# -- whatever leaves ------------------------------------------------------------------------------------------------

kinds = st.sampled_from(["ConfigMap", "Deployment.apps", *sorted(PRECIOUS)])
limits = st.integers(0, 12).map(lambda number: PruneLimit(number=number)) | st.sampled_from(
    [PruneLimit(0.3), HALF, ALL]
)


@given(st.lists(st.tuples(kinds, st.sampled_from(list(Say))), max_size=12), st.integers(0, 10), limits, st.booleans())
def test_each_object_has_one_fate_and_none_is_worse_than_it_asked(
    asked: list[tuple[str, Say]], others: int, limit: PruneLimit, approved: bool
) -> None:
    wanted = [(Leaving(key(str(n), kind), "v1"), SAYS[say]) for n, (kind, say) in enumerate(asked)]
    found = guard(wanted, len(wanted) + others, limit, approved=approved)
    fates = [*found.go, *(one.leaving for one in found.kept), *found.held]
    assert sorted(fates) == sorted(item for item, _ in wanted)
    wishes = dict(wanted)
    assert not any(wishes[item].prune is Say.NO for item in found.go)
    assert approved or not any(wishes[item].prune is Say.CONFIRM for item in found.go)
    assert all(item.key.group_kind not in PRECIOUS or wishes[item].prune in (Say.YES, Say.CONFIRM) for item in found.go)
    assert approved or len(found.go) <= limit.allowed(len(wanted) + others)
    assert bool(found.approval) == bool(found.held)
