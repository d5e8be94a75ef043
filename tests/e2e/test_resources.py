"""Custom resources drive the whole system: a team's Application is applied, told of, followed and ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.resources import Team
from tests.e2e.world import config_map
from tests.parts.control_plane import ControlPlane

pytestmark = pytest.mark.e2e


@pytest.fixture
def team(parts_folder: Path, unique: str, defined: ControlPlane) -> Iterator[Team]:
    folder = parts_folder / unique
    folder.mkdir()
    made = Team(folder, unique, defined)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_an_application_is_applied_followed_told_of_and_ended(team: Team) -> None:
    team.create_secret()
    team.create_repository()
    team.create_application()
    with team.windlass.start():
        said = team.wait_ready()
        assert said["reason"] == "Synced"
        assert team.value("a") == "1"
        status = team.status("Application", "shop")
        head = team.work.head
        assert (status["revision"], status["sync"], status["health"], status["objects"]) == (
            head,
            "Synced",
            "Healthy",
            1,
        )
        assert status["name"] == team.application
        # A push, signed with the Secret that the team's Repository names.
        assert team.push({"manifests/a.yaml": config_map("a", "2")}) == 202
        team.wait(lambda: team.value("a") == "2", "the push was not applied")
        team.wait(lambda: team.status("Application", "shop")["revision"] == team.work.head, "the revision was not told")
        assert team.push({"manifests/a.yaml": config_map("a", "3")}, secret="another one") == 401
        # Deleting the resource deletes what it had, and nothing else.
        team.plane.request("POST", f"/api/v1/namespaces/{team.name}/configmaps", {"metadata": {"name": "mine"}})
        team.delete("Application", "shop")
        team.wait(lambda: team.found("Application", "shop") is None, "the resource did not go")
        assert team.value("a") is None
        assert team.get(f"/api/v1/namespaces/{team.name}/configmaps/mine") is not None
        assert team.state().revision == ""
