"""Pull requests on a real Gitea."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.parts.gitea import ADMIN, Gitea
from tests.parts.waiting import until
from windlass.errors import PermanentError
from windlass.forges.pulls import Credential, Place, PullRequest, PullRequests, Wanted, hidden, pull_requests
from windlass.forges.pulls.model import newest

pytestmark = pytest.mark.integration

WANTED = Wanted("promote/web", "main", "web 1.4.2", "What it is.", labels=("promotion", "image"))


class Forge:
    """A repository with a branch to propose, on the forge."""

    def __init__(self, gitea: Gitea, name: str, session: aiohttp.ClientSession) -> None:
        self.gitea, self.session, self.path = gitea, session, f"/repos/{ADMIN}/{name}"
        self.place = Place(gitea.create_repository(name).clone_url)
        self.pulls: PullRequests = pull_requests(session, "gitea", self.place, Credential(gitea.token))
        self.write("main", "README", "hello")

    def write(self, branch: str, path: str, text: str, *, new: str | None = None) -> str:
        body: dict[str, Any] = {"content": base64.b64encode(text.encode()).decode(), "branch": branch, "message": path}
        made = self.gitea.api("POST", f"{self.path}/contents/{path}", body | ({"new_branch": new} if new else {}))
        return str(made["commit"]["sha"])

    def issue(self, pull: PullRequest) -> Any:
        return self.gitea.api("GET", f"{self.path}/issues/{pull.number}")

    def status(self, commit: str, state: str) -> None:
        self.gitea.api("POST", f"{self.path}/statuses/{commit}", {"context": "ci", "state": state})

    def protect(self) -> None:
        body = {
            "branch_name": "main",
            "enable_status_check": True,
            "status_check_contexts": ["ci"],
            "enable_push": True,
        }
        self.gitea.api("POST", f"{self.path}/branch_protections", body)


@pytest.fixture
async def forge(gitea: Gitea, unique: str) -> AsyncIterator[Forge]:
    async with aiohttp.ClientSession() as session:
        made = Forge(gitea, unique, session)
        made.write("main", "web.yaml", "image: web:1.4.2", new=WANTED.head)
        yield made


async def test_one_is_opened_with_labels_and_found_again(forge: Forge) -> None:
    assert await forge.pulls.find(WANTED.head, "main") is None
    made, refused = await forge.pulls.create(WANTED)
    assert refused == []
    assert (made.state, made.head, made.base, made.title, made.body) == (
        "open",
        WANTED.head,
        "main",
        WANTED.title,
        WANTED.body,
    )
    assert made.url.endswith(f"/pulls/{made.number}")
    assert len(made.commit) == 40
    assert {label["name"] for label in forge.issue(made)["labels"]} == {"promotion", "image"}
    found = await forge.pulls.find(WANTED.head, "main")
    assert found == await forge.pulls.get(made.number)
    assert found is not None
    assert (found.number, found.merge) == (made.number, "")
    assert [pull.number for pull in await forge.pulls.open()] == [made.number]


async def test_who_is_not_known_fails_nothing(forge: Forge) -> None:
    wanted = Wanted(WANTED.head, "main", "t", "b", reviewers=("nobody-at-all",), assignees=("nobody-either", ADMIN))
    made, refused = await forge.pulls.create(wanted)
    assert made.state == "open"
    assert refused
    assert any("nobody-at-all" in text for text in refused)
    assert [one["login"] for one in forge.issue(made)["assignees"]] == [ADMIN]
    assert any(text.startswith("assignee nobody-either") for text in refused)


async def test_reviewers_and_assignees_are_asked(forge: Forge, unique: str) -> None:
    user = {"username": f"r{unique}", "password": "reviews-all-day-1", "email": f"{unique}@shop.example"}
    forge.gitea.api("POST", "/admin/users", user | {"must_change_password": False})
    forge.gitea.api("PUT", f"{forge.path}/collaborators/{user['username']}", {"permission": "write"})
    wanted = Wanted(WANTED.head, "main", "t", "b", reviewers=(user["username"],), assignees=(ADMIN,))
    made, refused = await forge.pulls.create(wanted)
    assert refused == []
    pull = forge.gitea.api("GET", f"{forge.path}/pulls/{made.number}")
    assert [one["login"] for one in pull["requested_reviewers"]] == [user["username"]]
    assert [one["login"] for one in pull["assignees"]] == [ADMIN]


async def test_it_says_something_else_when_told_to(forge: Forge) -> None:
    made, _ = await forge.pulls.create(WANTED)
    await forge.pulls.update(made, "web 1.4.3", "Another one.")
    now = await forge.pulls.get(made.number)
    assert (now.title, now.body, now.number) == ("web 1.4.3", "Another one.", made.number)


async def test_one_comment_is_written_and_then_changed(forge: Forge) -> None:
    made, _ = await forge.pulls.create(WANTED)
    for text in ("first", "second", "second"):
        await forge.pulls.comment(made, "windlass plan", text)
    await forge.pulls.comment(made, "windlass other", "another")
    said = forge.gitea.api("GET", f"{forge.path}/issues/{made.number}/comments")
    assert [one["body"].splitlines()[0] for one in said] == ["second", "another"]


async def test_whoever_guesses_the_marker_or_copies_it_later_keeps_no_word_from_being_said(forge: Forge) -> None:
    sealed = pull_requests(forge.session, "gitea", forge.place, Credential(forge.gitea.token, seal=b"k" * 32))
    made, _ = await sealed.create(WANTED)
    path = f"{forge.path}/issues/{made.number}/comments"
    forge.gitea.api("POST", path, {"body": f"guessed\n\n{hidden('windlass plan')}"})
    await sealed.comment(made, "windlass plan", "first")
    copied = forge.gitea.api("GET", path)[1]["body"].replace("first", "copied")
    forge.gitea.api("POST", path, {"body": copied})
    await sealed.comment(made, "windlass plan", "second")
    said = [one["body"].splitlines()[0] for one in forge.gitea.api("GET", path)]
    assert said == ["guessed", "second", "copied"]


async def test_a_closed_one_is_found_as_the_last_word(forge: Forge) -> None:
    made, _ = await forge.pulls.create(WANTED)
    await forge.pulls.close(made)
    found = await forge.pulls.find(WANTED.head, "main")
    assert found is not None
    assert (found.number, found.state) == (made.number, "closed")
    again, _ = await forge.pulls.create(WANTED)
    found = await forge.pulls.find(WANTED.head, "main")
    assert found is not None
    assert (found.number, found.state) == (again.number, "open")


async def test_a_second_one_of_the_same_branch_is_refused(forge: Forge) -> None:
    made, _ = await forge.pulls.create(WANTED)
    with pytest.raises(Exception, match="409"):
        await forge.pulls.create(WANTED)
    assert newest(await forge.pulls.open()) == await forge.pulls.get(made.number)


async def test_it_is_merged_when_its_checks_pass(forge: Forge) -> None:
    forge.protect()
    made, _ = await forge.pulls.create(WANTED)
    forge.status(made.commit, "pending")
    outcome = "waiting"
    for _ in range(40):
        outcome = await forge.pulls.merge(made, "merge")
        if outcome == "scheduled":
            break
    assert outcome == "scheduled"
    assert await forge.pulls.merge(made, "merge") == "scheduled"
    assert (await forge.pulls.get(made.number)).state == "open"
    forge.status(made.commit, "success")
    until(lambda: forge.gitea.api("GET", f"{forge.path}/pulls/{made.number}")["merged"])
    merged = await forge.pulls.get(made.number)
    assert merged.state == "merged"
    assert len(merged.merge) == 40


async def test_what_was_reported_counts_where_nothing_is_required(forge: Forge) -> None:
    made, _ = await forge.pulls.create(WANTED)
    forge.status(made.commit, "failure")
    for _ in range(20):
        assert await forge.pulls.merge(made, "merge") == "waiting"
    forge.status(made.commit, "success")
    for _ in range(100):
        if await forge.pulls.merge(made, "merge") == "merged":
            break
    assert (await forge.pulls.get(made.number)).state == "merged"


async def test_a_scheduled_merge_is_taken_back(forge: Forge) -> None:
    forge.protect()
    made, _ = await forge.pulls.create(WANTED)
    await forge.pulls.unschedule(made)
    for _ in range(40):
        if await forge.pulls.merge(made, "merge") == "scheduled":
            break
    await forge.pulls.unschedule(made)
    forge.status(made.commit, "success")
    await asyncio.sleep(3)  # in which Gitea merges what is scheduled
    assert (await forge.pulls.get(made.number)).state == "open"


async def test_without_checks_it_is_merged_in_the_end(forge: Forge) -> None:
    made, _ = await forge.pulls.create(WANTED)
    for _ in range(100):
        await forge.pulls.merge(made, "squash")
        now = await forge.pulls.get(made.number)
        if now.state == "merged":
            break
    assert now.state == "merged"


async def test_a_wrong_token_is_refused_and_not_told(forge: Forge, unique: str) -> None:
    private = f"p{unique}"
    forge.gitea.create_repository(private, private=True)
    async with aiohttp.ClientSession() as session:
        place = Place(f"{forge.gitea.url}/{ADMIN}/{private}.git")
        pulls = pull_requests(session, "gitea", place, Credential("not-the-token"))
        with pytest.raises(PermanentError) as error:
            await pulls.open()
    assert "not-the-token" not in str(error.value)
