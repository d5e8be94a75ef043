"""A pull request that was closed wakes the promotions whose it may be, at once, and tells them nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.intake import OTHER, Intake, documents, shop
from tests.parts.windlass import API_VERSION
from tests.webhooks import Sample, sample, samples

pytestmark = pytest.mark.integration

IMAGE = "registry.example/shop/web"


def promotion(name: str, branch: str = "web-1.4.2", **spec: Any) -> dict[str, object]:
    spec = {"image": IMAGE, "target": {"repository": "shop"}, "pullRequest": {"branch": branch}} | spec
    return {"apiVersion": API_VERSION, "kind": "Promotion", "metadata": {"name": name}, "spec": spec}


def manifests(item: Sample) -> dict[str, object]:
    """The repository of this sample, with a way to open pull requests."""
    document = shop(item.url, item.forge)
    document["spec"]["pullRequests"] = {"token": {"env": "SECRET"}}  # type: ignore[index]
    return document


def closing() -> list[Sample]:
    return [item for item in samples() if "pull" in item.expect]


@pytest.mark.parametrize("item", closing(), ids=lambda item: item.name)
async def test_every_forges_wakes_the_promotion_that_opened_it(intake: Intake, item: Sample) -> None:
    intake.write(*documents(manifests(item)), promotion("web"), promotion("api", "promote/api"))
    assert (await intake.deliver(item, secret=OTHER))[0] == 401
    assert await intake.keys() == set()
    status, answer = await intake.deliver(item)
    assert status == 202
    assert answer["promotions"] == [{"promotion": "web", "outcome": "queued"}]
    jobs = [f"{row['source']}-1" for row in answer.get("sources", ())]
    assert len(jobs) == (item.expect["kind"] == "merge")
    assert await intake.jobs() == [*jobs, "promotion_web-1"]


async def test_what_the_payload_says_of_it_reaches_no_job(intake: Intake) -> None:
    item = sample("gitea-pull-request-merged")
    intake.write(*documents(manifests(item)), promotion("web"))
    await intake.deliver(item)
    job = await intake.redis.hgetall("rq:job:promotion_web-1")
    assert json.loads(job[b"data"])[:2] == ["promote", None]
    assert json.loads(job[b"data"])[2][:2] == ["promotion_web", 1]
    assert job[b"description"] == b"promote promotion_web (merge of pull request 7)"
    assert await intake.redis.llen("windlass:source:promotion_web:hints") == 0


async def test_a_branch_an_image_is_known_by_what_surrounds_the_tag(intake: Intake) -> None:
    item = sample("gitea-pull-request-closed")
    intake.write(
        *documents(manifests(item)),
        promotion("web", "web-{{tag}}"),
        promotion("api", "api-{{tag}}"),
        promotion("suffix", "web-{{tag}}-x"),
        promotion("nothing", "web-1.4.2{{tag}}"),
    )
    _, answer = await intake.deliver(item)
    assert [row["promotion"] for row in answer["promotions"]] == ["web"]


async def test_another_base_or_repository_and_a_promotion_without_pull_requests_sleep_on(intake: Intake) -> None:
    item = sample("gitea-pull-request-closed")
    elsewhere = shop("http://git.example:3000/shop/other.git", name="other", endpoint="other")
    elsewhere["spec"]["pullRequests"] = {"token": {"env": "SECRET"}}  # type: ignore[index]
    intake.write(
        *documents(manifests(item), elsewhere),
        promotion("other", target={"repository": "other"}),
        promotion("base", target={"repository": "shop", "branch": "staging"}),
        promotion("pushes", mode="commit"),
    )
    status, answer = await intake.deliver(item)
    assert (status, answer["ignored"]) == (200, "no promotion has pull requests from web-1.4.2 into main")
    assert await intake.keys() == set()


async def test_many_closed_at_once_are_one_look(intake: Intake) -> None:
    item = sample("gitea-pull-request-closed")
    intake.write(*documents(manifests(item)), promotion("web"))
    outcomes = [(await intake.deliver(item))[1]["promotions"][0]["outcome"] for _ in range(5)]
    assert outcomes == ["queued"] + ["coalesced"] * 4
    assert await intake.jobs() == ["promotion_web-1"]
