"""A range of versions is followed by its highest tag; a replica that lags is told from a fix for an older line."""

from __future__ import annotations

import time

import pytest

from windlass.queue import Hint, Seen
from windlass.semver import semver_ref
from workers import tip as tips
from workers.following import Following, asked, followed_commit
from workers.polling import is_news
from workers.tip import believed_tip

RANGE = semver_ref(">=1.2 <2")


class Server:
    """What a server shows, one answer after the other, and what was asked."""

    def __init__(self, *answers: dict[str, str]) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, ...]]()

    async def refs(self, *wanted: str) -> dict[str, str]:
        self.asked.append(wanted)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def has(self, commit: str) -> bool:
        return True

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        return ancestor <= descendant


async def look(server: Server, *hints: str, processed: str = "") -> tuple[str, str]:
    async def never() -> bool:
        return False

    following = Following(server, RANGE)
    given = [Hint(commit, "", "event", time.time()) for commit in hints]
    return await believed_tip(following, processed=processed, hints=given, superseded=never), following.ref


OLD = {"refs/tags/v1.2.0": "c1", "refs/tags/v2.0.0": "c9", "refs/tags/x": "c8"}
NEW = {**OLD, "refs/tags/v1.3.0": "c3"}


async def test_the_highest_tag_is_followed_and_one_question_asked() -> None:
    server = Server(NEW)
    assert await look(server) == ("c3", "refs/tags/v1.3.0")
    assert server.asked == [("refs/tags/",)]


async def test_a_replica_without_the_pushed_tag_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tips, "FIRST_PAUSE", 0.001)
    server = Server(OLD, OLD, NEW)
    assert await look(server, "c3", processed="c1") == ("c3", "refs/tags/v1.3.0")
    assert len(server.asked) == 3


async def test_a_pushed_tag_that_is_not_the_highest_is_no_reason_to_wait() -> None:
    server = Server({**NEW, "refs/tags/v1.2.1": "c5"})
    assert await look(server, "c5", processed="c3") == ("c3", "refs/tags/v1.3.0")
    assert len(server.asked) == 1


async def test_a_range_without_a_tag_is_a_source_error() -> None:
    with pytest.raises(tips.SourceMissingError, match=r"semver:>=1.2 <2 does not exist"):
        await look(Server({"refs/tags/v3.0.0": "c1"}))


def test_a_poll_sees_what_a_run_would() -> None:
    assert (asked(RANGE), asked("refs/heads/main")) == ("refs/tags/", "refs/heads/main")
    assert followed_commit(RANGE, NEW) == "c3"
    assert followed_commit("refs/heads/main", {"refs/heads/main": "c2"}) == "c2"
    assert followed_commit("refs/heads/main", {"refs/heads/mainline": "c2"}) is None


@pytest.mark.parametrize(
    ("known", "news"),
    [
        (Seen("c1", "", settled=True, heard=0), True),
        (Seen("c2", "", settled=True, heard=0), False),
        (Seen("c1", "c2", settled=False, heard=0), False),  # it runs, it failed, or it is parked
        (Seen("c1", "c2", settled=True, heard=0), True),  # its run saw another server's past
        (Seen("c3", "c1", settled=False, heard=0), True),
        (Seen("", "", settled=True, heard=0), True),
    ],
)
def test_a_tip_is_news_once(known: Seen, news: bool) -> None:
    assert is_news("c2", known) is news
