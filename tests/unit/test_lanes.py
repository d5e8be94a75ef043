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
    async with made["away"].turn(), asyncio.timeout(5), made["here"].turn():
        pass


async def test_as_many_have_their_turn_as_the_lane_is_wide() -> None:
    lane = lanes(APPLICATIONS, 1)["here"]
    async with lane.turn():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lane.turn().__aenter__(), 0.01)
    async with asyncio.timeout(5), lane.turn():
        pass


async def test_who_waits_for_the_others_gives_up_its_turn_and_gets_it_back() -> None:
    lane = lanes(APPLICATIONS, 1)["here"]

    async def other() -> None:
        async with lane.turn():
            lane.prepared.passed()

    async with asyncio.timeout(5), lane.turn() as turn:
        lane.prepared.passed()
        async with turn.given_up():
            waiting = asyncio.create_task(other())
            await lane.prepared.wait()
        await waiting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lane.turn().__aenter__(), 0.01)


async def test_who_is_cancelled_while_it_waits_takes_nobodys_place() -> None:
    lane = lanes(APPLICATIONS, 1)["here"]

    async def hang() -> None:
        async with lane.turn() as turn, turn.given_up():
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with lane.turn():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lane.turn().__aenter__(), 0.01)


def test_a_clusters_outcomes_are_told_when_its_last_one_ended() -> None:
    made = lanes(APPLICATIONS, 2)
    assert made["here"].ended(outcome("b", "here")) == []
    assert [one.application for one in made["here"].ended(outcome("a", "here"))] == ["b", "a"]
    assert [one.application for one in made["away"].ended(outcome("c", "away"))] == ["c"]
