"""What a merged pull request is told of the clusters, on a real Gitea and Redis; the applications' states are written here."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.integration.promote.test_story import Story
from tests.parts.windlass import application, cluster
from windlass.errors import TransientError
from windlass.health import HEALTHY, HealthState, ObjectHealth, health_key
from windlass.state import RunRecord, application_key
from workers.promote.aftermath import located
from workers.promote.follow import Follower

pytestmark = pytest.mark.integration


async def merged(story: Story, *applications: dict[str, Any], tag: str = "1.4.2", **spec: Any) -> int:
    """Publish an image, merge its pull request, and see that; its number."""
    story.extra = [cluster("local", "/nowhere"), *applications]
    story.document(policy={"order": "semver"}, **spec)
    await story.publish(tag)
    await story.work()
    pull = story.pulls()[-1]["number"]
    story.merge(pull)
    state = await story.look()
    assert (state.phase, state.pull, state.settled) == ("Merged", pull, False)
    return int(pull)


def shop(name: str = "shop", path: str = "") -> dict[str, Any]:
    return application(name, repository="manifests", namespace="shop", path=path)


async def reaches(story: Story, name: str, *, errors: tuple[str, ...] = (), phase: str = "", **health: Any) -> None:
    """The application's state, as a run and the watcher leave it at the tip."""
    tip = story.tip("main")
    phase = phase or ("Failed" if errors else "Synced")
    last = RunRecord(event="e", revision=tip, phase=phase, started=1.0, errors=list(errors))
    fields = {"phase": phase, "wanted": tip, "last": msgspec.json.encode(last)}
    if not errors:
        fields["revision"] = tip
    await story.context.redis.hset(application_key(name), mapping=fields)
    await story.context.redis.set(health_key(name), HealthState(**health).dump())


async def told(story: Story, pull: int) -> str:
    """The one comment, after a look."""
    await story.look()
    (comment,) = story.comments(pull)
    return comment


async def test_one_comment_follows_the_merge_until_it_is_healthy(story: Story) -> None:
    pull = await merged(story, shop())
    assert "| `shop` | `local` | waits |" in await told(story, pull)
    worst = {"apps/Deployment shop/web": ObjectHealth("Failed", "ImagePullBackOff", "no such image | `x`")}
    await reaches(story, "shop", status="Degraded", unhealthy=worst)
    comment = await told(story, pull)
    at = story.tip("main")[:10]
    why = "apps/Deployment shop/web: ImagePullBackOff: no such image ¦ 'x'"
    assert f"| `shop` | `local` | **applied, but degraded** at `{at}`: `{why}` |" in comment
    await reaches(story, "shop", status=HEALTHY)
    assert f"| `shop` | `local` | healthy at `{at}` |" in await told(story, pull)
    assert (await story.store.read("web")).settled
    await reaches(story, "shop", status="Degraded", unhealthy=worst)
    assert "healthy at" in await told(story, pull), "what comes later is not this pull request's"


async def test_who_follows_the_branch_is_queued_at_the_merge_also_where_no_webhook_tells_of_it(story: Story) -> None:
    pull = await merged(story, shop())
    (source,) = story.context.catalog.sources
    assert story.others == [source]
    (hint,) = await story.context.redis.lrange(f"windlass:source:{source}:hints", 0, -1)
    assert msgspec.json.decode(hint)["commit"] == story.tip("main")
    await told(story, pull)
    assert story.others == [source], "once"


async def test_what_could_not_be_applied_is_told_with_its_errors(story: Story) -> None:
    pull = await merged(story, shop())
    await reaches(story, "shop", errors=("web.yaml:1: Deployment web: spec.replicas: must be positive",))
    comment = await told(story, pull)
    assert "| **not applied**: `web.yaml:1: Deployment web: spec.replicas: must be positive` |" in comment
    assert not (await story.store.read("web")).settled


async def test_only_applications_that_read_what_was_edited_are_named(story: Story) -> None:
    pull = await merged(story, shop(), shop("elsewhere", path="api"))
    state = await story.store.read("web")
    assert state.files == ("web.yaml",)
    comment = await told(story, pull)
    assert "`shop`" in comment
    assert "elsewhere" not in comment


async def test_nothing_new_asks_the_forge_nothing(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    pull = await merged(story, shop())
    await told(story, pull)

    async def away(*_: object) -> None:
        raise TransientError("the forge was called")

    with monkeypatch.context() as patched:
        patched.setattr("windlass.forges.pulls.gitea.Gitea.get", away)
        await story.look()
        assert (await story.context.queue.source_state("promotion_web"))["error"] == ""
        await reaches(story, "shop", status=HEALTHY)
        await story.look()
        assert "was called" in (await story.context.queue.source_state("promotion_web"))["error"]
    assert "healthy at" in await told(story, pull)


async def test_a_newer_image_ends_what_is_told_of_the_older(story: Story) -> None:
    pull = await merged(story, shop())
    await told(story, pull)
    await story.publish("1.5.0")
    await story.work()
    (comment,) = story.comments(pull)
    assert "`1.5.0` is promoted now" in comment


async def test_without_an_application_nothing_is_told(story: Story) -> None:
    pull = await merged(story)
    await story.look()
    assert story.comments(pull) == []
    assert (await story.store.read("web")).settled


async def test_a_change_of_health_wakes_it(story: Story) -> None:
    await merged(story, shop())
    await story.context.redis.delete("rq:queue:windlass")
    await story.look()
    await Follower(story.context).health_changed("shop")
    assert (await story.context.redis.lpop("rq:queue:windlass")).startswith(b"promotion_web-")
    await Follower(story.context).health_changed("another")
    assert await story.context.redis.llen("rq:queue:windlass") == 0


async def test_a_merge_that_the_forge_abbreviates_is_found(story: Story) -> None:
    await merged(story, shop())
    repository = await story.context.repositories.get(story.context.catalog.repositories["manifests"])
    tip = await asyncio.to_thread(story.tip, "main")
    assert await located(repository, "main", tip[:12], [tip]) == tip
    assert await located(repository, "main", "0123456789ab", []) == ""
    assert await located(repository, "main", tip, [tip]) == tip
