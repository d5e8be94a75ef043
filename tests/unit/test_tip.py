"""Which commit is believed: the tip, unless it is the past."""

from __future__ import annotations

import time

import pytest

from windlass.errors import SupersededError
from windlass.queue import Hint
from workers import tip
from workers.tip import SourceMissingError, believed_tip

HISTORY = ["c1", "c2", "c3", "c4"]


class Forge:
    """A straight line of commits, of which the store has the first few and the server shows one tip after the other."""

    def __init__(self, *tips: str | None, stored: int = 4) -> None:
        self.tips, self.stored, self.asked = list(tips), HISTORY[:stored], 0

    ref = "refs/heads/main"

    async def tip(self) -> str | None:
        self.asked += 1
        self.shown = self.tips.pop(0) if len(self.tips) > 1 else self.tips[0]
        return self.shown

    def shows(self, commit: str) -> bool:
        return commit == self.shown

    def has(self, commit: str) -> bool:
        return commit in self.stored

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        return HISTORY.index(ancestor) <= HISTORY.index(descendant)


def hint(commit: str, before: str = "", age: float = 0.0) -> Hint:
    return Hint(commit, before, "event", time.time() - age)


async def never() -> bool:
    return False


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tip, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(tip, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(tip, "PATIENCE", 0.05)


async def look(forge: Forge, processed: str = "", *hints: Hint) -> str:
    return await believed_tip(forge, processed=processed, hints=hints, superseded=never)


async def test_the_tip_is_believed() -> None:
    assert await look(Forge("c2"), "c1", hint("c2", "c1")) == "c2"


async def test_the_tip_is_believed_when_no_push_was_announced() -> None:
    assert await look(Forge("c2"), "c1") == "c2"


async def test_a_missing_ref_is_an_error() -> None:
    with pytest.raises(SourceMissingError):
        await look(Forge(None))


async def test_a_replica_that_still_shows_what_is_applied_is_asked_again() -> None:
    forge = Forge("c1", "c1", "c2", stored=1)
    assert await look(forge, "c1", hint("c2", "c1")) == "c2"
    assert forge.asked == 3


async def test_a_replica_that_shows_the_commit_before_the_push_is_asked_again() -> None:
    assert await look(Forge("c2", "c3", stored=1), "c1", hint("c3", "c2")) == "c3"


async def test_an_old_push_is_no_reason_to_wait() -> None:
    assert await look(Forge("c1", stored=1), "c1", hint("c2", "c1", age=120)) == "c1"


async def test_a_tip_beyond_the_pushed_commit_is_believed_at_once() -> None:
    forge = Forge("c3")
    assert await look(forge, "c1", hint("c2", "c1")) == "c3"
    assert forge.asked == 1


async def test_an_older_tip_that_nobody_pushed_is_believed_only_after_a_while() -> None:
    forge = Forge("c2")
    started = time.monotonic()
    assert await look(forge, "c4") == "c2"
    assert time.monotonic() - started >= 0.05


async def test_an_older_tip_that_a_verified_push_names_is_believed_at_once() -> None:
    forge = Forge("c2")
    assert await look(forge, "c4", hint("c2", "c4")) == "c2"
    assert forge.asked == 1


async def test_a_stale_replica_that_recovers_leaves_the_newer_commit_in_place() -> None:
    assert await look(Forge("c2", "c2", "c4"), "c4") == "c4"


async def test_a_newer_push_ends_the_waiting() -> None:
    async def superseded() -> bool:
        return True

    forge = Forge("c1", stored=1)
    for processed in ("c1", ""):
        with pytest.raises(SupersededError):
            await believed_tip(
                forge, processed=processed, hints=(hint("c2", processed or "c1"),), superseded=superseded
            )
    assert forge.asked == 2
