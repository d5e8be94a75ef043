"""Drift of rendered objects, whole: one apply of the one object, rendered again from the commit that was applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_drift import Person, until
from tests.e2e.test_render import Rendered
from tests.parts.control_plane import ControlPlane

pytestmark = pytest.mark.e2e


@pytest.fixture
def person(parts_folder: Path, unique: str, control_plane: ControlPlane) -> Iterator[Person]:
    folder = parts_folder / unique
    folder.mkdir()
    made = Rendered(folder, unique, control_plane.kubeconfig)
    try:
        made.start()
        yield Person(control_plane, made)
    finally:
        made.stop()


def test_drift_of_what_kustomize_and_helm_made_is_undone_without_a_run(person: Person) -> None:
    world = person.world
    assert isinstance(world, Rendered)
    login: dict[str, Any] = (person.get("login", "secrets") or {})["data"]
    before = [world.windlass.last_run(name).started for name in (world.overlay, world.chart)]
    for name, kind, want in (("prod-base", "configmaps", "1"), ("web-settings", "configmaps", "green")):
        person.edit(name, {"data": {"value": "by hand"}}, kind=kind)
        until(lambda name=name, want=want: person.value(name) == want, world)  # type: ignore[misc]
    person.edit("login", {"data": {"colour": "Ynk=", "more": "Ynk="}}, kind="secrets")
    until(lambda: (person.get("login", "secrets") or {})["data"] == login, world)
    person.delete("prod-base")
    until(lambda: person.value("prod-base") == "1", world)
    assert before == [world.windlass.last_run(name).started for name in (world.overlay, world.chart)]
    assert "drift.whole_run" not in world.windlass.log("worker")
