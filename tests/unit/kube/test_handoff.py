"""Ownership as it passes on: no field is ever left without an owner, and none of what is ignored stays ours."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.kube.errors import ApiError, Conflict
from workers.kube.fieldsets import FieldSet, contains, minus, union
from workers.kube.handoff import MARKS, Handoff, Left
from workers.kube.managed_fields import HASH, IGNORED, PART_OF

OURS = "windlass/web"
NAMES = st.sampled_from(["a", "b", "c", "replicas"])
SETS = st.recursive(st.just({}), lambda inner: st.dictionaries(NAMES.map(lambda n: f"f:{n}"), inner, max_size=3))
STEPS = st.lists(NAMES | st.just("*"), max_size=2)
POINTERS = st.lists(st.builds(lambda first, rest: (first, *rest), NAMES, STEPS), max_size=3)
MANIFEST: dict[str, Any] = {"metadata": {"name": "web"}, "spec": {"replicas": 3, "paused": False}}
REPLICAS = Left((("spec", "replicas"),))


def entry(manager: str, fields: FieldSet, **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields, **more}


def ours(fields: FieldSet) -> FieldSet:
    return union([fields, MARKS])


def fields_of(entries: list[dict[str, Any]], manager: str) -> FieldSet:
    return union(one["fieldsV1"] for one in entries if one["manager"] == manager)


@given(SETS, SETS, SETS, POINTERS)
def test_every_field_keeps_an_owner_and_nothing_ignored_stays_ours(
    own: FieldSet, kept: FieldSet, hpa: FieldSet, pointers: list[tuple[str, ...]]
) -> None:
    before = [entry(OURS, ours(own)), entry(IGNORED, kept), entry("hpa", hpa), entry("left", hpa, subresource="scale")]
    handoff = Handoff(Left(tuple(pointers), ("left",)), MANIFEST)
    after = handoff.entries(before, OURS)
    if after is None:
        return
    assert minus(union(one["fieldsV1"] for one in before), union(one["fieldsV1"] for one in after)) == {}
    assert minus(MARKS, fields_of(after, OURS)) == {}
    assert fields_of(after, "hpa") == fields_of(before, "hpa")
    assert Handoff(Left(tuple(pointers), ("left",)), MANIFEST).entries(after, OURS) is None, "and that settles it"


def test_git_s_value_is_sent_first_only_where_nobody_has_the_field() -> None:
    sent = []
    for fields in ({}, {"f:spec": {"f:replicas": {}}}):
        handoff = Handoff(REPLICAS, MANIFEST)
        handoff.looked({"managedFields": [entry("hpa", {"f:spec": {"f:paused": {}}}), entry("other", fields)]})
        sent.append(handoff.body["spec"])
    assert sent == [{"replicas": 3, "paused": False}, {"paused": False}]
    handoff.looked({"managedFields": []})
    assert handoff.body["spec"] == {"paused": False}, "whose it is isn't known: nobody's value is overwritten"


def test_whoever_comes_first_to_a_field_that_was_to_begin_with_gits_value_keeps_it() -> None:
    handoff = Handoff(REPLICAS, MANIFEST)
    handoff.looked(None)
    assert not handoff.contested([Conflict(".spec.paused", "person")])
    assert handoff.contested([Conflict(".spec.replicas", "hpa")])
    assert handoff.complete


def test_what_is_handed_over_is_looked_at_no_more_but_after_a_surprise() -> None:
    handoff = Handoff(REPLICAS, MANIFEST, settled=True)
    assert not handoff.unsure
    assert not handoff.refused(ApiError("", status=500))
    assert handoff.refused(ApiError("", status=422))
    assert handoff.unsure
    assert not Handoff(None, MANIFEST).unsure
    assert Handoff(Left((), ("hpa",)), MANIFEST, settled=True).unsure, "who owns what is only known in the cluster"


def test_our_own_marks_are_never_handed_over() -> None:
    labels = Left((("metadata", "labels"), ("metadata", "annotations")))
    own = ours({"f:metadata": {"f:labels": {"f:app": {}}}})
    after = Handoff(labels, {**MANIFEST, "metadata": {"name": "web", "labels": {"app": "x"}}}).entries(
        [entry(OURS, own)], OURS
    )
    assert after is not None
    assert contains(fields_of(after, OURS), "f:metadata", "f:labels", f"f:{PART_OF}")
    assert contains(fields_of(after, OURS), "f:metadata", "f:annotations", f"f:{HASH}")
    assert fields_of(after, IGNORED) == {"f:metadata": {"f:labels": {"f:app": {}}}}
