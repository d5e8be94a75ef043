"""Applications of one run: those of a cluster wait for each other, and for no other cluster's."""

from __future__ import annotations

import asyncio

import pytest

from windlass.documents.types import Application, ApplicationSpec, Destination, Source
from workers.application import Outcome
from workers.lanes import lanes


def application(name: str, cluster: str) -> Application:
    return Application(name, ApplicationSpec((Source("shop", branch="main"),), Destination(cluster)))


def outcome(name: str, cluster: str) -> Outcome:
    return Outcome(name, cluster, "Synced", (), None, 0.1)


APPLICATIONS = [application("a", "here"), application("b", "here"), application("c", "away")]


async def test_a_milestone_is_passed_when_all_of_the_cluster_did_whatever_the_others_do() -> None:
    made = lanes(APPLICATIONS, 2)
    made["here"].prepared.passed()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(made["here"].prepared.wait(), 0.01)
    made["here"].prepared.passed()
    await asyncio.wait_for(made["here"].prepared.wait(), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(made["here"].applied.wait(), 0.01)


async def test_who_hangs_takes_no_place_of_another_clusters_applications() -> None:
    made = lanes(APPLICATIONS, 1)
    async with made["away"].gate, asyncio.timeout(5), made["here"].gate:
        assert made["here"].gate.locked()


def test_a_clusters_outcomes_are_told_when_its_last_one_ended() -> None:
    made = lanes(APPLICATIONS, 2)
    assert made["here"].ended(outcome("b", "here")) == []
    assert [one.application for one in made["here"].ended(outcome("a", "here"))] == ["b", "a"]
    assert [one.application for one in made["away"].ended(outcome("c", "away"))] == ["c"]
