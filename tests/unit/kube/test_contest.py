"""Who gets a contested object: one rule for each kind of manager."""

from __future__ import annotations

from typing import Any

import pytest

from workers.kube.contest import MARKS, Contest, Rules, decide
from workers.kube.errors import Conflict, ConflictError
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import PART_OF

KEY = ObjectKey("", "ConfigMap", "shop", "x")
PREVIOUS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}
OWN = {
    "manager": "windlass/web",
    "operation": "Apply",
    "fieldsV1": {"f:metadata": {"f:labels": {f"f:{PART_OF}": {}}}},
}
MINE = {"labels": {PART_OF: "id"}, "managedFields": [OWN]}
NOBODYS: dict[str, Any] = {"managedFields": []}


def rules(*, force: bool = False, may_take: bool = False) -> Rules:
    async def answer(application: str, key: ObjectKey) -> bool:
        assert key == KEY
        return may_take

    return Rules("windlass/web", "id", force, answer)


async def decided(
    metadata: dict[str, Any], previous: dict[str, Any] | None, *conflicts: Conflict, **options: bool
) -> frozenset[str]:
    return await decide(Contest(KEY, conflicts, metadata), rules(**options), previous)


@pytest.mark.parametrize("metadata", [MINE, NOBODYS])
@pytest.mark.parametrize("previous", [PREVIOUS, None])
async def test_people_never_keep_a_field(metadata: dict[str, Any], previous: dict[str, Any] | None) -> None:
    assert await decided(metadata, previous, Conflict(".data.z", "kubectl-edit")) == frozenset()


@pytest.mark.parametrize(
    ("metadata", "previous", "field", "taken"),
    [
        pytest.param(MINE, PREVIOUS, ".data.a", True, id="drift: we applied it before"),
        pytest.param(MINE, PREVIOUS, ".data.b", False, id="a field that Git newly names"),
        pytest.param(MINE, None, ".data.b", True, id="ours, and nobody remembers what was applied"),
        pytest.param(NOBODYS, None, ".data.a", False, id="first contact"),
        pytest.param(NOBODYS, PREVIOUS, ".data.a", False, id="made anew by somebody else"),
        pytest.param(MINE, PREVIOUS, MARKS[1], True, id="our own mark on our object"),
        pytest.param(NOBODYS, PREVIOUS, MARKS[0], False, id="our mark on an object that is not ours"),
    ],
)
async def test_a_controller_gives_way_where_we_owned_it_before(
    metadata: dict[str, Any], previous: dict[str, Any] | None, field: str, *, taken: bool
) -> None:
    conflict = Conflict(field, "vpa")
    if not taken:
        with pytest.raises(ConflictError) as caught:
            await decided(metadata, previous, conflict)
        assert f"{field} (vpa)" in str(caught.value)
        assert not caught.value.retryable
    else:
        assert await decided(metadata, previous, conflict) == frozenset()
    assert await decided(metadata, previous, conflict, force=True) == frozenset()


async def test_every_field_that_stays_with_another_is_listed_and_no_other() -> None:
    conflicts = [Conflict(".data.a", "vpa"), Conflict(".data.b", "hpa"), Conflict(".data.c", "kubectl")]
    with pytest.raises(ConflictError) as caught:
        await decided(NOBODYS, None, *conflicts)
    assert caught.value.conflicts == tuple(conflicts[:2])


@pytest.mark.parametrize("force", [False, True])
async def test_another_application_keeps_its_object_even_against_force(*, force: bool) -> None:
    with pytest.raises(ConflictError, match="application api has this object") as caught:
        await decided(NOBODYS, None, Conflict(MARKS[0], "windlass/api"), force=force)
    assert (caught.value.application, caught.value.retryable) == ("api", True)


async def test_unless_it_let_go_of_it() -> None:
    conflicts = [Conflict(MARKS[0], "windlass/api"), Conflict(".data.a", "windlass/api")]
    assert await decided(NOBODYS, None, *conflicts, may_take=True) == {"windlass/api"}
