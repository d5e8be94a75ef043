"""An application's health out of its objects', kept as they change."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workers.health.aggregate import WORST_FIRST, ApplicationHealth
from workers.health.status import CURRENT, Health, Status, failed, in_progress, unknown
from workers.kube.keys import ObjectKey

WEB, API, DB = (ObjectKey("apps", "Deployment", "shop", name) for name in ("web", "api", "db"))


def test_nothing_is_wrong_with_nothing() -> None:
    application = ApplicationHealth()
    assert application.health == CURRENT
    assert application.settled
    assert application.counts == {}


def test_the_worst_object_speaks_for_all() -> None:
    application = ApplicationHealth()
    assert not application.update(WEB, CURRENT)
    assert application.update(API, unknown("Rule", "can't tell"))
    assert application.update(DB, in_progress("TooFew", "0 of 1 replicas are ready"))
    assert application.health.message == "Deployment.apps/shop/db: 0 of 1 replicas are ready"
    assert application.update(WEB, failed("Late", "timed out"))
    assert application.health == Health(Status.FAILED, "Late", "Deployment.apps/shop/web: timed out")
    assert [key for key, _ in application.unsettled()] == [WEB, DB, API]
    assert [key for key, _ in application.unsettled(1)] == [WEB]


def test_an_object_recovers() -> None:
    application = ApplicationHealth()
    application.update(WEB, failed("Late", "timed out"))
    application.update(API, CURRENT)
    assert application.counts == {Status.FAILED: 1, Status.CURRENT: 1}
    assert application.update(WEB, CURRENT)
    assert application.settled
    assert application.of(WEB) == CURRENT
    assert application.counts == {Status.CURRENT: 2}


def test_who_came_first_is_named_until_it_changes() -> None:
    application = ApplicationHealth()
    application.update(WEB, in_progress("TooFew", "0 of 2"))
    assert not application.update(API, in_progress("TooFew", "0 of 1"))
    assert application.update(WEB, in_progress("TooFew", "1 of 2"))
    assert application.health.message == f"{WEB}: 1 of 2"
    application.update(WEB, CURRENT)
    assert application.health.message == f"{API}: 0 of 1"


def test_an_object_goes() -> None:
    application = ApplicationHealth()
    application.update(WEB, failed("Late", "timed out"))
    assert application.remove(WEB)
    assert not application.remove(WEB)
    assert application.of(WEB) is None
    assert application.health == CURRENT


CHANGES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([*Status, None])), max_size=40)


@given(CHANGES)
def test_kept_incrementally_it_is_what_it_would_be_anew(changes: list[tuple[int, Status | None]]) -> None:
    application, model = ApplicationHealth(), dict[ObjectKey, Status]()
    for number, status in changes:
        key = ObjectKey("", "Pod", "shop", f"p{number}")
        before = application.health
        if status is None:
            model.pop(key, None)
            changed = application.remove(key)
        else:
            model[key] = status
            changed = application.update(key, Health(status, "R", "m"))
        assert changed == (application.health != before)
        held = Counter(model.values())
        assert application.counts == held
        assert application.health.status == next((worst for worst in WORST_FIRST if held[worst]), Status.CURRENT)
        assert len(application.unsettled()) == sum(count for one, count in held.items() if one != Status.CURRENT)
