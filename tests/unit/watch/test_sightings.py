"""What is remembered of the cluster, and that any order of events, answers and records ends in the right heals."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.kube.fieldsets import digest
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import is_human
from workers.plan import Entry
from workers.watch.drift import Notice, Verdict, judge
from workers.watch.sightings import Place, Sightings, UnseenError

from .seen import OWN, entry, event

PLACE, KEY = Place("ConfigMap"), "ConfigMap/shop/x"
TAKEN = {"f:metadata": OWN["f:metadata"]}


def synced(*places: Place) -> Sightings:
    sightings = Sightings("windlass", is_human)
    for place in places or (PLACE,):
        sightings.begin(place)
        sightings.synced(place)
    return sightings


def test_nothing_is_said_of_what_nobody_watches_or_while_a_list_is_read() -> None:
    sightings = Sightings("windlass", is_human)
    with pytest.raises(UnseenError):
        sightings.look("shop", KEY)
    sightings.begin(PLACE)
    sightings.saw(PLACE, event())
    with pytest.raises(UnseenError):
        sightings.look("shop", KEY)
    sightings.synced(PLACE)
    assert sightings.look("shop", KEY) is not None
    sightings.forget(PLACE)
    assert not sightings.knows(PLACE)


def test_what_a_new_list_does_not_name_is_gone() -> None:
    sightings = synced()
    sightings.saw(PLACE, event())
    sightings.begin(PLACE)
    sightings.synced(PLACE)
    assert sightings.look("shop", KEY) is None


def test_an_objects_list_makes_no_suspects_the_inventory_does() -> None:
    sightings = Sightings("windlass", is_human)
    sightings.begin(PLACE)
    assert sightings.saw(PLACE, event()) == [("shop", Notice.NOTHING)]


def test_a_kind_watched_by_namespace_is_found_by_namespace() -> None:
    sightings = synced(Place("ConfigMap", "shop"))
    sightings.saw(Place("ConfigMap", "shop"), event())
    assert sightings.look("shop", KEY) is not None
    assert sightings.knows(Place("ConfigMap", "shop"))
    with pytest.raises(UnseenError):
        sightings.look("shop", "ConfigMap/other/x")


def test_an_object_belongs_to_the_applications_that_applied_it_not_to_its_label() -> None:
    sightings = synced()
    copied = event("h1", {"manager": "endpoints-controller", "operation": "Update", "fieldsV1": OWN})
    assert sightings.saw(PLACE, copied) == []
    assert sightings.saw(PLACE, event("h1", entry("windlass/other"), labels={})) == [("other", Notice.NOW)]


def test_an_object_whose_managed_fields_were_wiped_is_still_whose_it_was() -> None:
    sightings = synced()
    sightings.saw(PLACE, event(version=1))
    assert sightings.saw(PLACE, event(version=2, managedFields=[])) == [("shop", Notice.NOW)]


def test_an_event_older_than_our_own_write_is_old_news() -> None:
    sightings = synced()
    sightings.saw(PLACE, event(version=1))
    sightings.wrote("shop", KEY, "h1", digest(OWN), "10")
    assert sightings.saw(PLACE, event("h1", entry("windlass/shop", TAKEN), version=9)) == []
    assert sightings.saw(PLACE, event(version=10)) == [("shop", Notice.NOTHING)]
    assert sightings.saw(PLACE, event("h1", entry("windlass/shop", TAKEN), version=11)) == [("shop", Notice.NOW)]


def test_an_object_is_remembered_in_some_tens_of_bytes() -> None:
    sightings, many = synced(), 2000
    for number in range(many):
        sightings.saw(PLACE, event(name=f"object-of-a-quite-ordinary-name-{number}"))
    kept = sightings._known[PLACE]["shop"]
    size = sys.getsizeof(kept) + sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in kept.items())
    assert size / many < 150


@pytest.mark.parametrize("text", ["Namespace", "ConfigMap/shop", "Role.rbac.authorization.k8s.io/shop"])
def test_a_place_is_where_its_objects_keys_say(text: str) -> None:
    key = f"{text}/a:b"
    parsed = ObjectKey.parse(key)
    assert (parsed.group_kind, parsed.namespace) == Place.of(key)


class Model:
    """One object, one application: a cluster that speaks with delay, runs whose records come when they come, a watcher."""

    def __init__(self) -> None:
        self.version, self.hash, self.fields, self.there = 1, "h1", OWN, True
        self.inventory = Entry("h1", digest(OWN), "a.yaml")
        self.unrecorded: Entry | None = None  # a run that holds the lease
        self.events: deque[object] = deque()
        self.sightings, self.suspect, self.foreign, self.heals, self.writes = synced(), False, 0, 0, 1
        self.sightings.saw(PLACE, event(version=1))

    def changed(self) -> None:
        self.version += 1
        mine = entry("windlass/shop", self.fields)
        self.events.append(event(self.hash, mine, version=self.version, gone=not self.there))

    def write(self) -> None:
        """A run applies new content."""
        if self.unrecorded is None:
            self.writes += 1
            self.hash, self.fields, self.there = f"h{self.writes}", OWN, True
            self.unrecorded = Entry(self.hash, digest(OWN), "a.yaml")
            self.changed()

    def record(self) -> None:
        if self.unrecorded is not None:
            self.inventory, self.unrecorded = self.unrecorded, None

    def take(self) -> None:
        """Somebody sets a field of ours."""
        if self.there:
            self.foreign += 1
            self.fields = TAKEN
            self.changed()

    def delete(self) -> None:
        if self.there:
            self.foreign += 1
            self.there = False
            self.changed()

    def deliver(self) -> None:
        if self.events:
            for _, noticed in self.sightings.saw(PLACE, self.events.popleft()):  # type: ignore[arg-type]
                self.suspect = self.suspect or noticed is not Notice.NOTHING

    def look(self) -> None:
        """The watcher's turn: it heals only while no run holds the lease."""
        if not self.suspect or self.unrecorded is not None:
            return
        verdict = judge(self.sightings.look("shop", KEY), self.inventory)
        if verdict is Verdict.EQUAL:
            self.suspect = False
        elif verdict in (Verdict.DRIFTED, Verdict.GONE):
            self.heals += 1
            wanted = (self.inventory.hash, OWN, True)
            if (self.hash, self.fields, self.there) != wanted:  # a no-op apply writes nothing and emits nothing
                self.hash, self.fields, self.there = wanted
                self.changed()
            self.sightings.wrote("shop", KEY, self.hash, digest(OWN), str(self.version))
            self.suspect = False

    def equal(self) -> bool:
        return self.there and (self.hash, self.fields) == (self.inventory.hash, OWN)


STEPS = st.lists(st.sampled_from(["write", "record", "take", "delete", "deliver", "look"]), max_size=40)


def run(steps: Iterable[str]) -> Model:
    model = Model()
    for step in steps:
        getattr(model, step)()
    model.record()
    for _ in range(200):
        model.deliver()
        model.look()
    return model


@settings(deadline=None)
@given(STEPS)
def test_any_order_of_events_records_and_foreign_changes_ends_equal_with_at_most_the_right_heals(
    steps: list[str],
) -> None:
    model = run(steps)
    assert model.equal()
    assert not model.suspect
    assert model.heals <= model.foreign


@settings(deadline=None)
@given(STEPS)
def test_without_foreign_changes_nothing_is_ever_healed(steps: list[str]) -> None:
    assert run(step for step in steps if step not in ("take", "delete")).heals == 0
