"""What one run leaves to the next: the hooks that ran, and how long it has waited already."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from windlass.documents.types import Source
from windlass.state import Standing
from workers.desired import SourceAt
from workers.directives import Phase
from workers.hooks import SEEN_SECONDS, seen_to_its_end
from workers.order import those_before, those_of
from workers.rollout import going_on, revision_of, wait_for


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("workers.rollout.time.time", lambda: now[0])
    return now


def test_a_wait_has_a_limit(clock: list[float]) -> None:
    standing = Standing()
    assert wait_for(standing, "Sync wave 0", ["web"], "", 60)
    clock[0] += 59
    assert wait_for(standing, "Sync wave 0", ["web"], "", 60)
    clock[0] += 1
    assert not wait_for(standing, "Sync wave 0", ["web"], "", 60)


def test_an_object_that_is_healthy_now_and_then_makes_no_wait_longer(clock: list[float]) -> None:
    standing, waits = Standing(), []
    for moment in range(8):
        waits.append(wait_for(standing, "Sync wave 0", ["web", "flaps"] if moment % 2 else ["web"], "", 60))
        clock[0] += 10
    assert waits == [True] * 6 + [False] * 2


def test_the_next_wave_has_its_own_time(clock: list[float]) -> None:
    standing = Standing()
    wait_for(standing, "Sync wave 0", ["web"], "", 60)
    clock[0] += 100
    assert wait_for(standing, "Sync wave 1", ["late"], "", 60)


def test_so_has_a_newer_commit_that_waits_for_the_same_object(clock: list[float]) -> None:
    standing = going_on(Standing(), "old")
    wait_for(standing, "Sync wave 0", ["web"], "", 60)
    clock[0] += 100
    assert wait_for(going_on(standing, "new"), "Sync wave 0", ["web"], "", 60)
    assert not wait_for(going_on(standing, "old"), "Sync wave 0", ["web"], "", 60)


def test_a_newer_commit_runs_all_hooks_and_still_knows_what_is_due_unhealthy_or_to_be_deleted() -> None:
    left = Standing("old", due=True, ran=["PreSync Job.batch/a/b"], spent=["PreSync Job.batch/a/b"], unsettled={"x": 0})
    assert going_on(left, "new") == msgspec.structs.replace(left, revision="new", ran=[])
    assert going_on(left, "old") is left


def test_hooks_run_again_when_any_source_has_another_commit(tmp_path: Path) -> None:
    def at(*commits: str) -> str:
        sources = [Source(repository=name, path="") for name in ("one", "two")]
        return revision_of([SourceAt(s, cast("Any", None), c) for s, c in zip(sources, commits, strict=False)])

    assert at("c0ffee") == "c0ffee"
    assert len({at("c0ffee", "1"), at("c0ffee", "2"), at("beef", "1")}) == 3


def test_a_phase_is_over_when_a_later_one_begins() -> None:
    runs = ["PreSync Job.batch/a/b", "Sync Job.batch/a/b", "SyncFail Pod/a/c"]
    assert those_before(runs, Phase.PRE_SYNC) == []
    assert those_before(runs, Phase.POST_SYNC) == runs[:2]
    assert those_of(runs, Phase.SYNC_FAIL) == runs[2:]


@pytest.mark.parametrize(("asked", "stays"), [(0, SEEN_SECONDS), (100_000, 100_000), (None, None)])
def test_a_job_stays_until_somebody_saw_how_it_ended(asked: int | None, stays: int | None) -> None:
    job = {"kind": "Job", "spec": {"template": {}} | ({} if asked is None else {"ttlSecondsAfterFinished": asked})}
    assert seen_to_its_end(job)["spec"].get("ttlSecondsAfterFinished") == stays
