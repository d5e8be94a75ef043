"""The story of an image on a real Gitea and a real Redis; the edit itself is made by the forge's API here."""

from __future__ import annotations

import asyncio
import base64
import os
import time
import urllib.error
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from redis.asyncio import Redis

from tests.parts.gitea import ADMIN, Gitea
from tests.parts.windlass import API_VERSION, application, cluster
from windlass.documents.directory import DocumentDirectory
from windlass.documents.promotions import PromotionView
from windlass.errors import TransientError
from windlass.events import ImagePublished
from windlass.queue import RECORDED, LeaseKeeper, Mark, SourceQueue
from windlass.queue.previews import Told, remember
from windlass.queue.promotions import Image, Noted, note, seal_of
from windlass.queue.seal import Seal
from windlass.settings import Settings
from workers.context import Context
from workers.promote import words
from workers.promote.contract import Outcome, Proposal
from workers.promote.follow import Follower
from workers.promote.state import PromotionState, PromotionStore
from workers.promote.story import Promoter
from workers.viewing import view_of

pytestmark = pytest.mark.integration

IMAGE = "registry.example/shop/web"


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


class Story:
    """A manifest repository on Gitea, its promotions, and the jobs run one by one as a worker runs them."""

    def __init__(self, gitea: Gitea, name: str, context: Context, folder: Path) -> None:
        self.gitea, self.path, self.context, self.folder = gitea, f"/repos/{ADMIN}/{name}", context, folder
        self.repository = gitea.create_repository(name)
        self.write("main", "1.0.0", new="")
        self.promoter, self.store = Promoter(context, self.propose), PromotionStore(context.redis, context.secret_key)
        self.proposed: list[str] = []
        self.extra: list[dict[str, object]] = []
        self.error: Exception | None = None
        self._events = iter(range(100_000))
        self.steps = 0  # looks at the branch
        self.theirs: set[str] = set()  # commits that bring more than the image
        self.others: list[str] = []  # jobs that aren't a promotion's

    def write(self, branch: str, tag: str, *, new: str) -> str:
        content = base64.b64encode(f"image: {IMAGE}:{tag}\n".encode()).decode()
        body: dict[str, Any] = {"content": content, "branch": branch, "message": tag}
        if new:
            body["new_branch"] = new
        if known := self.file(branch):
            made = self.gitea.api("PUT", f"{self.path}/contents/web.yaml", body | {"sha": known["sha"]})
        else:
            made = self.gitea.api("POST", f"{self.path}/contents/web.yaml", body)
        return str(made["commit"]["sha"])

    def file(self, branch: str) -> Any:
        try:
            return self.gitea.api("GET", f"{self.path}/contents/web.yaml?ref={branch}")
        except urllib.error.HTTPError:
            return None

    def tip(self, branch: str) -> str:
        try:
            return str(self.gitea.api("GET", f"{self.path}/branches/{branch}")["commit"]["id"])
        except urllib.error.HTTPError:
            return ""

    async def propose(self, view: PromotionView, image: Image, *, branch: str, message: str, keep: bool) -> Proposal:
        if self.error is not None:
            raise self.error
        return await asyncio.to_thread(self._propose, image, branch)

    def _propose(self, image: Image, branch: str) -> Proposal:
        self.steps += 1
        base, tip = self.tip("main"), self.tip(branch)
        wanted = base64.b64encode(f"image: {IMAGE}:{image.tag}\n".encode()).decode()
        if self.file("main")["content"] == wanted:
            return Proposal(branch, base, base, (), "unchanged")
        if tip and self.file(branch)["content"] == wanted:
            return Proposal(branch, tip, base, (f"web.yaml: {image.tag}",), "unchanged", alone=tip not in self.theirs)
        self.proposed.append(image.tag)
        made = self.write(branch, image.tag, new="") if tip else self.write("main", image.tag, new=branch)
        outcome: Outcome = "rebuilt" if tip else "created"
        return Proposal(branch, made, base, (f"web.yaml: {image.tag}",), outcome, "1.0.0", ("web.yaml",), alone=True)

    def document(self, name: str = "web", **spec: Any) -> None:
        """Use one more promotion; reads all documents again."""
        repository = document(
            "Repository",
            "manifests",
            url=self.repository.clone_url,
            forge="gitea",
            credentials={"token": {"env": "GITEA_TOKEN"}},
            pullRequests={"token": {"env": "GITEA_TOKEN"}},
        )
        made = document("Promotion", name, image=IMAGE, target={"repository": "manifests"}, **spec)
        (self.folder / "others.yaml").write_text(yaml.safe_dump_all([repository, *self.extra]))
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(made))
        self.context.reload()
        assert not self.context.catalog.errors

    async def publish(self, *tags: str, promotion: str = "web", commit: str = "", repository: str = "") -> None:
        """Note these images, in one delivery each."""
        view = self.context.catalog.promotions[f"promotion_{promotion}"]
        for tag in tags:
            event, image = f"e{next(self._events)}", ImagePublished(IMAGE, tag, "", commit, repository, time.time())
            noted = [Noted(promotion, view.digest, image)]
            seal = seal_of(self.context.secret_key)
            await note(self.context.queue, noted, seal=seal, event=event, delivery=event, received_at=time.time())

    async def work(self, promotion: str = "web") -> PromotionState:
        """Run every job that waits; the state of one promotion then."""
        while raw := await self.context.redis.lpop("rq:queue:windlass"):
            job = raw.decode()
            source = job.rpartition("-")[0]
            if source not in self.context.catalog.promotions:
                self.others.append(source)
                continue
            await self.promoter.promote(job, source, 0, self.context.catalog.promotions[source].digest)
        return await self.store.read(promotion)

    async def look(self, promotion: str = "web") -> PromotionState:
        """As when its time has come, or somebody nudged it."""
        view = self.context.catalog.promotions[f"promotion_{promotion}"]
        await self.context.queue.nudge(view.id, digest=view.digest, reason="test")
        return await self.work(promotion)

    async def planned(self, verdict: str = "success", *, head: str = "") -> None:
        """The newest pull request's plan was made, and says so."""
        pull = self.pulls()[-1]
        told = Told("main", head or pull["head"]["sha"], verdict=verdict)
        await remember(self.context.redis, "manifests", pull["number"], told)

    async def merged_by_itself(self) -> bool:
        """Once the forge has found out that it can be merged."""
        for _ in range(100):
            if (await self.look()).phase == "Merged":
                return True
        return False

    def pulls(self, state: str = "all") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.gitea.api("GET", f"{self.path}/pulls?state={state}")
        return sorted(found, key=lambda pull: pull["number"])

    def comments(self, number: int) -> list[str]:
        return [one["body"] for one in self.gitea.api("GET", f"{self.path}/issues/{number}/comments")]

    def merge(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while True:  # Gitea checks for conflicts first, and says 405 until it has
            try:
                return self.gitea.api("POST", f"{self.path}/pulls/{number}/merge", {"Do": "merge"})  # type: ignore[no-any-return]
            except urllib.error.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def close(self, number: int) -> None:
        self.gitea.api("PATCH", f"{self.path}/pulls/{number}", {"state": "closed"})


@pytest.fixture
async def story(
    gitea: Gitea, unique: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Story]:
    monkeypatch.setenv("GITEA_TOKEN", gitea.token)
    folder = tmp_path / "documents"
    folder.mkdir()
    redis = Redis.from_url(redis_url)
    keeper = LeaseKeeper(redis, redis_url, seconds=6.0)
    keeper.start()
    queue = SourceQueue(redis, keeper=keeper)
    await queue.epoch(fresh=True)
    settings = Settings.from_env({**os.environ, "WINDLASS_DATA": str(tmp_path / "data"), "REDIS_URL": redis_url})
    directory = DocumentDirectory(folder)
    context = Context(settings, directory, redis=redis, queue=queue, leases=keeper, secret_key=b"k" * 32)
    made = await asyncio.to_thread(Story, gitea, unique, context, folder)
    yield made
    await made.promoter.close()
    await context.close()
    await asyncio.to_thread(keeper.close)
    await redis.aclose()


async def test_an_image_becomes_a_pull_request_and_its_merge_is_seen(story: Story) -> None:
    story.document(pullRequest={"labels": ["promotion"], "body": "Ask the shop's people."})
    await story.publish("1.4.2")
    state = await story.work()
    (pull,) = story.pulls()
    assert (state.phase, state.pull, state.url) == ("Proposed", pull["number"], pull["html_url"])
    assert pull["title"] == "web: web 1.4.2"
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("promote/web", "main")
    assert "Ask the shop's people." in pull["body"]
    assert words.proposed("web", pull["body"]) == Image("1.4.2")
    story.merge(pull["number"])
    state = await story.look()
    assert state.phase == "Merged"
    assert state.merge == story.tip("main")
    assert (await story.look()).phase == "Merged"
    assert story.proposed == ["1.4.2"]


async def test_ten_images_in_a_second_are_one_pull_request_of_the_newest(story: Story) -> None:
    story.document(policy={"order": "semver"})
    await story.publish(*[f"1.4.{number}" for number in (0, 9, 1, 8, 2, 7, 3, 6, 4, 5)])
    await story.work()
    (pull,) = story.pulls()
    assert pull["title"].endswith("1.4.9")
    assert story.proposed == ["1.4.9"]


async def test_a_newer_image_updates_the_same_pull_request_and_an_older_one_nothing(story: Story) -> None:
    story.document(policy={"order": "semver"})
    for tag in ("1.4.2", "1.5.0", "1.4.9"):
        await story.publish(tag)
        await story.work()
    (pull,) = story.pulls()
    assert pull["title"].endswith("1.5.0")
    assert words.proposed("web", pull["body"]) == Image("1.5.0")
    assert story.proposed == ["1.4.2", "1.5.0"]


async def test_closed_without_a_merge_means_no_until_a_newer_image(story: Story) -> None:
    story.document(policy={"order": "semver"})
    await story.publish("1.4.2")
    await story.work()
    (pull,) = story.pulls()
    story.close(pull["number"])
    assert (await story.look()).phase == "Declined"
    await story.publish("1.4.2", "1.4.1")
    assert (await story.work()).phase == "Declined"
    await story.context.redis.flushall()
    await story.context.queue.epoch(fresh=True)
    await story.publish("1.4.2")
    assert (await story.work()).phase == "Declined"
    assert len(story.pulls()) == 1
    await story.publish("1.4.3")
    assert (await story.work()).phase == "Proposed"
    assert [(p["state"], p["title"][-5:]) for p in story.pulls()] == [("closed", "1.4.2"), ("open", "1.4.3")]


async def test_what_redis_forgot_is_read_from_the_forge(story: Story) -> None:
    story.document(policy={"order": "semver"})
    await story.publish("1.5.0")
    await story.work()
    await story.context.redis.flushall()
    await story.context.queue.epoch(fresh=True)
    await story.publish("1.4.2")
    state = await story.work()
    assert (state.phase, state.image) == ("Proposed", Image("1.5.0"))
    assert len(story.pulls()) == 1
    assert story.proposed == ["1.5.0"]


async def test_what_a_person_wrote_stays_while_the_image_is_the_same(story: Story) -> None:
    story.document()
    await story.publish("1.4.2")
    await story.work()
    (pull,) = story.pulls()
    story.gitea.api("PATCH", f"{story.path}/pulls/{pull['number']}", {"title": "Please review"})
    await story.look()
    assert story.pulls()[0]["title"] == "Please review"


async def test_with_a_branch_an_image_the_older_one_is_closed_with_a_reason(story: Story) -> None:
    story.document(pullRequest={"branch": "promote/web-{{tag}}"})
    await story.publish("1.4.2")
    await story.work()
    await story.publish("1.4.3")
    await story.work()
    old, new = story.pulls()
    assert (old["state"], new["state"]) == ("closed", "open")
    assert new["html_url"] in story.comments(old["number"])[0]
    assert new["head"]["ref"] == "promote/web-1.4.3"


async def test_an_image_that_the_branch_names_already_needs_no_pull_request(story: Story) -> None:
    story.document()
    await story.publish("1.0.0")
    assert (await story.work()).phase == "Promoted"
    assert story.pulls() == []


async def test_what_was_open_is_closed_when_the_branch_names_the_image(story: Story) -> None:
    story.document(policy={"order": "semver"})
    await story.publish("1.4.2")
    await story.work()
    story.write("main", "1.4.3", new="")
    await story.publish("1.4.3")
    assert (await story.work()).phase == "Promoted"
    (pull,) = story.pulls()
    assert pull["state"] == "closed"
    assert "`main` names 1.4.3 already." in story.comments(pull["number"])[0]


async def test_a_forge_that_was_away_loses_nothing_and_repeats_nothing(story: Story) -> None:
    story.document()
    story.error = TransientError("the forge is away")
    await story.publish("1.4.2")
    assert (await story.work()).phase == "Waiting"
    assert "away" in (await story.context.queue.source_state("promotion_web"))["error"]
    assert await story.context.redis.zcard("windlass:retries") == 1
    story.error = None
    assert (await story.look()).phase == "Proposed"
    assert (await story.look()).phase == "Proposed"
    assert len(story.pulls()) == 1


async def test_the_pull_request_shows_the_commits_that_the_image_brings(story: Story, unique: str) -> None:
    code = story.gitea.create_repository(f"{unique}-code")
    path = f"/repos/{ADMIN}/{unique}-code/contents"

    def commit(subject: str) -> str:
        body = {"content": "", "branch": "main", "message": subject}
        return str(story.gitea.api("POST", f"{path}/{subject[:3]}.txt", body)["commit"]["sha"])

    first, hostile = commit("one"), "two`\n\n[click](https://evil.example) @everyone"
    story.extra = [document("Repository", "code", url=code.clone_url, forge="gitea")]
    story.document(source="code")
    await story.publish("1.4.1", commit=first)
    await story.work()
    (pull,) = story.pulls()
    assert f"- `{first[:10]} one (" in pull["body"]
    story.merge(pull["number"])
    assert (await story.look()).phase == "Merged"
    second, third = commit(hostile), commit("three")
    await story.publish("1.4.2", commit=third)
    await story.work()
    body = story.pulls("open")[0]["body"]
    assert [line[:13] for line in body.splitlines() if line.startswith("- `")][1:] == [
        f"- `{third[:10]}",
        f"- `{second[:10]}",
    ]
    assert "two' (" in body, "a subject ends no code span"
    assert "evil" not in body


async def test_no_sender_of_an_image_chooses_whose_commits_are_shown(story: Story, unique: str) -> None:
    secret = story.gitea.create_repository(f"{unique}-secret")
    made = story.gitea.api("POST", f"/repos/{ADMIN}/{unique}-secret/contents/plan.txt",
                           {"content": "", "branch": "main", "message": "the secret plan"})  # fmt: skip
    story.extra = [document("Repository", "secret", url=secret.clone_url, forge="gitea")]
    story.document()
    await story.publish("1.4.1", commit=made["commit"]["sha"], repository=secret.clone_url)
    await story.work()
    (pull,) = story.pulls()
    assert "the secret plan" not in pull["body"]


async def test_commit_mode_pushes_straight_to_the_branch(story: Story) -> None:
    story.document(mode="commit")
    await story.publish("1.4.2")
    state = await story.work()
    assert state.phase == "Promoted"
    assert state.merge == story.tip("main")
    assert story.pulls() == []


async def test_it_is_merged_by_itself_where_the_document_says_so(story: Story) -> None:
    story.document(pullRequest={"autoMerge": True})
    await story.publish("1.4.2")
    await story.work()
    await story.planned()
    assert await story.merged_by_itself()
    assert base64.b64decode(story.file("main")["content"]).endswith(b":1.4.2\n")


async def test_a_branch_is_looked_at_again_when_it_conflicts_with_its_base_and_only_then(story: Story) -> None:
    story.document()
    await story.publish("1.4.2")
    await story.work()
    async with asyncio.timeout(30):
        while not story.pulls()[0]["mergeable"]:
            await asyncio.sleep(0.1)  # Gitea finds out
    steps = story.steps
    assert (await story.look()).phase == "Proposed"
    assert story.steps == steps
    await asyncio.to_thread(story.write, "main", "1.3.9", new="")
    async with asyncio.timeout(30):
        while story.steps == steps:
            await story.look()
            await asyncio.sleep(0.1)


async def test_what_others_pushed_to_it_a_person_merges(story: Story) -> None:
    story.document(pullRequest={"autoMerge": True})
    await story.publish("1.4.2")
    branch = (await story.work()).branch
    body = {"content": base64.b64encode(b"evil").decode(), "branch": branch, "message": "web 1.4.2"}
    made = await asyncio.to_thread(story.gitea.api, "POST", f"{story.path}/contents/evil.yaml", body)
    story.theirs.add(made["commit"]["sha"])
    await story.planned()
    state = await story.look()
    assert (state.phase, state.why) == ("Proposed", "others pushed to it: a person merges it")
    assert not (await story.look()).scheduled
    assert not story.pulls()[0]["merged"]


async def test_it_is_not_merged_before_its_plan_is_good(story: Story) -> None:
    story.document(pullRequest={"autoMerge": True})
    await story.publish("1.4.2")
    assert (await story.work()).why == "its plan is not made yet"
    await story.look()
    assert story.others == [f"preview_manifests_{story.pulls()[0]['number']}"], "asked for, should its webhook be lost"
    await story.planned("failure")
    assert (await story.look()).why == "its plan found errors"
    await story.planned("success", head="0" * 40)
    assert (await story.look()).phase == "Proposed", "another commit's plan"
    await story.planned()
    assert await story.merged_by_itself()


async def test_what_the_forge_was_asked_to_merge_is_taken_back_when_others_push_to_it(story: Story) -> None:
    story.document(pullRequest={"autoMerge": True})
    rule = {"rule_name": "main", "enable_status_check": True, "status_check_contexts": ["build"]}
    await asyncio.to_thread(story.gitea.api, "POST", f"{story.path}/branch_protections", rule)
    await story.publish("1.4.2")
    branch = (await story.work()).branch
    await story.planned()
    async with asyncio.timeout(30):
        while not (await story.look()).scheduled:
            await asyncio.sleep(0.1)
    body = {"content": base64.b64encode(b"evil").decode(), "branch": branch, "message": "web 1.4.2"}
    made = await asyncio.to_thread(story.gitea.api, "POST", f"{story.path}/contents/evil.yaml", body)
    story.theirs.add(made["commit"]["sha"])
    state = await story.look()
    assert (state.scheduled, state.why) == (False, "others pushed to it: a person merges it")
    passed = {"state": "success", "context": "build"}
    await asyncio.to_thread(story.gitea.api, "POST", f"{story.path}/statuses/{made['commit']['sha']}", passed)
    await asyncio.sleep(1)
    assert not story.pulls()[0]["merged"]


def from_a_fork(story: Story, unique: str, branch: str, body: str = "") -> int:
    """A stranger's pull request from a branch of this name, in a fork."""
    gitea, owner = story.gitea, f"strangers-{unique}"
    gitea.api("POST", "/orgs", {"username": owner})
    gitea.api("POST", f"{story.path}/forks", {"organization": owner})
    fork = f"/repos/{owner}/{story.path.rpartition('/')[2]}"
    evil = {"content": base64.b64encode(b"evil").decode(), "branch": "main", "new_branch": branch, "message": "evil"}
    gitea.api("POST", f"{fork}/contents/evil.yaml", evil)
    wanted = {"head": f"{owner}:{branch}", "base": "main", "title": "mine", "body": body}
    return int(gitea.api("POST", f"{story.path}/pulls", wanted)["number"])


async def test_a_strangers_pull_request_from_a_branch_of_the_same_name_is_not_the_promotions(
    story: Story, unique: str
) -> None:
    marker = words.marker("web", Image("9.9.9"))
    theirs = await asyncio.to_thread(from_a_fork, story, unique, "promote/web", marker)
    story.document(pullRequest={"autoMerge": True})
    await story.publish("1.4.2")
    await story.work()
    await story.planned()
    assert await story.merged_by_itself()
    state = await story.store.read("web")
    assert state.image is not None
    assert state.image.tag == "1.4.2"
    assert state.pull != theirs
    pull = story.gitea.api("GET", f"{story.path}/pulls/{theirs}")
    assert (pull["state"], pull["title"], pull["merged"]) == ("open", "mine", False)


async def test_a_pull_request_that_is_not_the_promotions_is_not_merged_whatever_is_remembered(
    story: Story, unique: str
) -> None:
    theirs = await asyncio.to_thread(from_a_fork, story, unique, "any")
    story.document(pullRequest={"autoMerge": True})
    wrong = PromotionState("Proposed", Image("1.4.2", at=time.time()), theirs, branch="any", at=time.time())
    word = Seal(story.context.secret_key, "promotion").sealed("web", msgspec.json.encode(wrong))
    await story.context.redis.hset("windlass:promotion:web", "state", word)
    state = await story.look()
    assert state.pull == 0
    assert "is none of this promotion" in state.why
    assert not story.gitea.api("GET", f"{story.path}/pulls/{theirs}")["merged"]


@pytest.mark.parametrize("queued_again", [True, False])
async def test_a_job_that_was_queued_by_older_documents_is_done_by_those_of_today_and_waits_for_nothing(
    story: Story, queued_again: bool
) -> None:
    story.document()
    await story.publish("1.4.2")
    older = story.context.catalog.promotions["promotion_web"].digest
    story.document(policy={"order": "semver"})
    if queued_again:
        await story.publish("1.4.3")
    async with asyncio.timeout(30):
        view = await view_of(story.context, lambda catalog: catalog.promotions, "promotion_web", older)
    assert view is not None
    assert view.digest != older


async def test_who_writes_redis_names_no_image(story: Story) -> None:
    story.document(mode="commit", gates={"approval": True})
    evil = msgspec.json.encode(Image("6.6.6", at=time.time())).decode()
    view = story.context.catalog.promotions["promotion_web"]
    for word in (
        evil,
        "0" * 64 + evil,
        Seal(story.context.secret_key, "image").sealed("other", evil.encode()).decode(),
    ):
        lie = Mark(view.id, "6.6.6@", word, "image 6.6.6", view.digest, keep=500)
        await story.context.queue.mark([lie], event="e", delivery=word[:70], received_at=time.time())
    state = PromotionState("Waiting", Image("6.6.6"), at=time.time())
    lies = {"state": msgspec.json.encode(state), "approved": "6.6.6@"}
    await story.context.redis.hset("windlass:promotion:web", mapping=lies)
    assert (await story.work()).image is None
    assert (await story.look()).phase == "Idle"
    assert base64.b64decode(story.file("main")["content"]).endswith(b":1.0.0\n")


async def test_the_next_environment_waits_for_the_one_before_and_then_starts_at_once(story: Story) -> None:
    story.document("web", pullRequest={"branch": "promote/staging"})
    story.document("production", gates={"after": [{"promotion": "web"}]})
    await story.publish("1.4.2")
    await story.publish("1.4.2", promotion="production")
    state = await story.work("production")
    assert (state.phase, state.why) == ("Waiting", "promotion web has brought 1.4.2")
    (pull,) = story.pulls()
    story.merge(pull["number"])
    await story.look("web")
    assert (await story.store.read("production")).phase == "Promoted"  # both name the same file here


async def test_an_application_of_the_environment_before_must_be_healthy_and_its_runs_wake_who_waits(
    story: Story,
) -> None:
    story.extra = [
        cluster("local", "/nowhere"),
        application("shop", repository="manifests", namespace="shop"),
    ]
    story.document("web", mode="commit")
    story.document("production", gates={"after": [{"promotion": "web", "application": "shop"}]})
    await story.publish("1.4.2")
    await story.publish("1.4.2", promotion="production")
    state = await story.work("production")
    assert (state.phase, state.why) == ("Waiting", "application shop is healthy with 1.4.2")
    follower = asyncio.create_task(Follower(story.context).run())
    try:
        async with asyncio.timeout(30):
            while not await story.context.redis.llen("rq:queue:windlass"):
                await story.context.redis.publish(RECORDED, b"shop\nover\n1")
                await asyncio.sleep(0.05)
        assert (await story.context.redis.lpop("rq:queue:windlass")).startswith(b"promotion_production-")
    finally:
        follower.cancel()


async def test_a_person_approves_this_very_image(story: Story) -> None:
    story.document(gates={"approval": True})
    await story.publish("1.4.2")
    state = await story.work()
    assert (state.phase, state.why) == ("Waiting", "a person approves 1.4.2")
    await story.store.approve("web", Image("1.4.1"))
    assert (await story.look()).phase == "Waiting"
    await story.store.approve("web", Image("1.4.2"))
    assert (await story.look()).phase == "Proposed"


async def test_other_gates_must_hold_for_the_soak_time(story: Story) -> None:
    story.document(gates={"soak": "1s"})
    await story.publish("1.4.2")
    assert (await story.work()).why == "the other gates hold for 1s"
    await asyncio.sleep(1.1)
    assert (await story.look()).phase == "Proposed"


async def test_an_http_check_must_answer_as_asked(story: Story) -> None:
    story.document(gates={"checks": [{"url": f"{story.gitea.url}/api/healthz", "status": 404, "private": True}]})
    await story.publish("1.4.2")
    state = await story.work()
    assert state.phase == "Waiting"
    assert state.why.endswith("answers 404 (now 200)")
    story.document(gates={"checks": [{"url": f"{story.gitea.url}/api/healthz", "private": True}]})
    assert (await story.look()).phase == "Proposed"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"])
async def test_no_check_reaches_a_clouds_metadata(story: Story, host: str) -> None:
    story.document(gates={"checks": [{"url": f"http://{host}/latest/meta-data", "private": True}]})
    await story.publish("1.4.2")
    assert "a cloud's metadata" in (await story.work()).why


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1"])
async def test_a_check_reaches_the_clusters_own_pages_only_where_it_says_so(story: Story, host: str) -> None:
    story.document(gates={"checks": [{"url": f"http://{host}/"}]})
    await story.publish("1.4.2")
    assert "not one of the public Internet; `private: true` allows" in (await story.work()).why


async def test_a_pinned_digest_is_waited_for(story: Story) -> None:
    story.document(pin="digest")
    await story.publish("1.4.2")
    state = await story.work()
    assert state.phase == "Waiting"
    assert "has no digest" in state.why


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(story: Story, tmp_path: Path) -> Path:
    """The folder of the programs that checks may run."""
    folder = tmp_path / "checks"
    folder.mkdir()
    story.context.settings = msgspec.structs.replace(story.context.settings, checks=folder)
    return folder


async def test_a_program_must_succeed_for_this_image(story: Story, programs: Path) -> None:
    program(programs, "smoke", 'test "$WINDLASS_TAG $1" = "1.4.2 a;b" && test -z "$GITEA_TOKEN" && test -e "$2"')
    story.document(gates={"checks": [{"command": ["smoke", "a;b", str(programs / "ready")]}]})
    await story.publish("1.4.2")
    state = await story.work()
    assert (state.phase, state.why) == ("Waiting", "smoke succeeds (now exit code 1)")
    (programs / "ready").touch()
    assert (await story.look()).phase == "Proposed"


async def test_a_program_that_does_not_end_or_is_not_there_holds_the_gate(story: Story, programs: Path) -> None:
    program(programs, "hangs", "sleep 600")
    story.document(gates={"checks": [{"command": ["hangs"], "timeout": "1s"}]})
    await story.publish("1.4.2")
    assert (await story.work()).why == "hangs succeeds (now not done within 1 s)"
    story.document(gates={"checks": [{"command": ["missing"]}]})
    assert (await story.look()).why == "missing succeeds (now No such file or directory)"


async def test_without_a_folder_no_program_runs(story: Story) -> None:
    story.document(gates={"checks": [{"command": ["true"]}]})
    await story.publish("1.4.2")
    assert "WINDLASS_CHECKS is not set" in (await story.work()).why


async def test_a_check_that_fails_again_begins_the_soak_time_anew(story: Story, programs: Path) -> None:
    program(programs, "smoke", f'test -e "{programs}/ready"')
    (programs / "ready").touch()
    story.document(gates={"soak": "2s", "checks": [{"command": ["smoke"]}]})
    await story.publish("1.4.2")
    assert (await story.work()).why == "the other gates hold for 2s"
    (programs / "ready").unlink()
    assert (await story.look()).passed == 0.0
    await asyncio.sleep(2.1)
    (programs / "ready").touch()
    assert (await story.look()).phase == "Waiting"
    await asyncio.sleep(2.1)
    assert (await story.look()).phase == "Proposed"


async def test_a_person_who_approved_does_not_undo_the_other_gates(story: Story, programs: Path) -> None:
    program(programs, "smoke", f'test -e "{programs}/ready"')
    story.document(gates={"checks": [{"command": ["smoke"]}], "approval": True})
    await story.publish("1.4.2")
    await story.store.approve("web", Image("1.4.2"))
    assert (await story.work()).why.startswith("smoke succeeds")
    (programs / "ready").touch()
    assert (await story.look()).phase == "Proposed"
