"""A pull request that takes an application back, on a real Gitea; the application's history is written here."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.integration.promote.test_story import Story
from tests.parts.windlass import application, cluster
from windlass.documents.types import Application
from windlass.errors import PermanentError
from windlass.health import DEGRADED, HealthState, ObjectHealth, health_key
from windlass.state import RunRecord, application_key, history_key
from workers.promote.forge import ForgeAccess
from workers.promote.rollback import Proposed, propose_rollback

pytestmark = pytest.mark.integration


class Shop:
    """An application of a folder, three commits of it: healthy, healthy and the same there, and degraded."""

    def __init__(self, story: Story, forge: ForgeAccess) -> None:
        self.story, self.forge = story, forge
        story.extra = [
            cluster("local", "/nowhere"),
            application("shop", repository="manifests", path="shop", namespace="x"),
        ]
        story.document()
        self.good = self.put("shop/web.yaml", "image: 1")
        self.same = self.put("other.yaml", "x: 1")
        self.bad = self.put("shop/web.yaml", "image: 2")

    @property
    def application(self) -> Application:
        return self.story.context.catalog.applications["shop"]

    def put(self, path: str, text: str) -> str:
        body: dict[str, Any] = {"content": base64.b64encode(text.encode()).decode(), "branch": "main", "message": text}
        gitea, contents = self.story.gitea, f"{self.story.path}/contents"
        known = gitea.api("GET", f"{self.story.path}/git/trees/main?recursive=true")["tree"]
        sha = next((one["sha"] for one in known if one["path"] == path), None)
        made = (
            gitea.api("PUT", f"{contents}/{path}", body | {"sha": sha})
            if sha
            else gitea.api("POST", f"{contents}/{path}", body)
        )
        return str(made["commit"]["sha"])

    async def ran(self, *runs: tuple[str, str, str]) -> None:
        """The application's history (revision, phase, health), the newest first."""
        redis = self.story.context.redis
        for revision, phase, health in runs:
            record = RunRecord(event="e", revision=revision, phase=phase, started=1.0, health=health)
            await redis.rpush(history_key("shop"), msgspec.json.encode(record))
        await redis.hset(
            application_key("shop"), mapping={"phase": runs[0][1], "revision": runs[0][0], "wanted": runs[0][0]}
        )

    async def back(self, asked: str = "") -> Proposed:
        return await propose_rollback(self.story.context, self.forge, self.application, asked)


@pytest.fixture
async def shop(story: Story) -> AsyncIterator[Shop]:
    forge = ForgeAccess(story.context.secrets, story.context.secret_key)
    yield Shop(story, forge)
    await forge.close()


async def test_back_to_the_last_healthy_revision_that_differs_and_why(shop: Shop) -> None:
    await shop.ran(
        (shop.bad, "Synced", "Degraded: x"), (shop.same, "Synced", "Healthy"), (shop.good, "Synced", "Healthy")
    )
    worst = {"Deployment x/web": ObjectHealth("Failed", "CrashLoopBackOff", "exit code 1 `@everyone`")}
    await shop.story.context.redis.set(health_key("shop"), HealthState(DEGRADED, unhealthy=worst).dump())
    made = await shop.back()
    (pull,) = shop.story.pulls()
    assert (made.revision, made.files, made.left) == (shop.same, ("shop/web.yaml",), ())
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("rollback/shop", "main")
    assert pull["title"] == f"shop: back to {shop.same[:10]}"
    assert "| Why | `Deployment x/web: CrashLoopBackOff: exit code 1 '@everyone'` |" in pull["body"]
    assert "- `shop/web.yaml`" in pull["body"]
    shop.story.merge(pull["number"])
    content = shop.story.gitea.api("GET", f"{shop.story.path}/contents/shop/web.yaml?ref=main")["content"]
    assert base64.b64decode(content) == b"image: 1"


async def test_the_same_again_changes_the_same_pull_request(shop: Shop) -> None:
    await shop.ran((shop.bad, "Synced", "Degraded"), (shop.same, "Synced", "Healthy"))
    await shop.back()
    await shop.back(shop.good[:10])
    (pull,) = shop.story.pulls()
    assert pull["title"] == f"shop: back to {shop.good[:10]}"


async def test_a_revision_that_is_none_and_a_history_without_a_healthy_one_are_errors(shop: Shop) -> None:
    await shop.ran((shop.bad, "Failed", ""), (shop.same, "Synced", "Degraded"))
    with pytest.raises(PermanentError, match="no earlier revision that was seen healthy"):
        await shop.back()
    for asked in ("0123456789", "main", "--upload-pack=x", shop.good[:4]):
        with pytest.raises(PermanentError, match="no commit of main begins with"):
            await shop.back(asked)
    assert shop.story.pulls() == []


async def test_what_it_reads_of_other_folders_is_named(shop: Shop) -> None:
    await shop.ran((shop.bad, "Synced", "Degraded"), (shop.good, "Synced", "Healthy"))
    inputs = {0: {"shop": "x", "other.yaml": "y"}}
    await shop.story.context.redis.hset(application_key("shop"), "inputs", msgspec.json.encode(inputs))
    made = await shop.back()
    assert made.left == ("other.yaml",)
    assert "stay as they are" in shop.story.pulls()[0]["body"]
