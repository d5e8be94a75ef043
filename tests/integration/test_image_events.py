"""Image events on real HTTP and a real Redis: who is believed, for which images, what is queued, and what is answered."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import yaml
from redis.asyncio import Redis

from service.app import connect_redis, listening, make_app
from service.follow import Documents
from tests.integration.intake import KEY
from tests.parts.process import free_port
from tests.parts.windlass import API_VERSION
from windlass.documents.directory import DocumentDirectory
from windlass.queue import LeaseKeeper, Run, SourceQueue
from windlass.queue.promotions import Image, images, seal_of
from windlass.secrets import Secrets

pytestmark = pytest.mark.integration

DATA = Path(__file__).parents[1] / "data" / "images"
SECRET, OTHER = "the-registrys-secret", "somebody-else's"
LIMIT = 256 * 1024
BEARER = {"Authorization": f"Bearer {SECRET}"}
DIGEST = "sha256:" + "a1" * 32


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def registry(name: str, of: str, *images: str, env: str = "SECRET") -> dict[str, Any]:
    return document("Registry", name, type=of, images=list(images or ["*/**"]), secrets=[{"env": env}])


def promotion(name: str, image: str, **spec: Any) -> dict[str, Any]:
    return document("Promotion", name, image=image, target={"repository": "manifests"}, mode="commit", **spec)


MANIFESTS = document("Repository", "manifests", url="https://git.example/shop/manifests.git")


class Intake:
    """A service on a port, its Redis and its documents."""

    def __init__(self, url: str, session: aiohttp.ClientSession, redis: Redis, folder: Path, used: Documents) -> None:
        self.url, self.session, self.redis, self.folder, self._documents = url, session, redis, folder, used

    def write(self, *documents: dict[str, Any]) -> None:
        (self.folder / "documents.yaml").write_text(yaml.safe_dump_all([MANIFESTS, *documents]))
        catalog = DocumentDirectory(self.folder).load()
        assert not catalog.errors
        self._documents.use(catalog)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(f"{self.url}{path}", data=data, headers=headers or {}) as answer:
            content = await answer.read()
            return answer.status, orjson.loads(content) if answer.content_type == "application/json" else {}

    async def jobs(self) -> list[str]:
        return [raw.decode() for raw in await self.redis.lrange("rq:queue:windlass", 0, -1)]

    async def noted(self, promotion: str) -> list[Image]:
        """What the next job of the promotion would see."""
        raw = await self.redis.lrange(f"windlass:source:promotion_{promotion}:hints", 0, -1)
        return [orjson_image(hint, promotion) for hint in raw]


def orjson_image(hint: bytes, promotion: str) -> Image:
    word = seal_of(KEY).opened(promotion, orjson.loads(hint)["before"].encode())
    return Image(**orjson.loads(word or b"not ours"))


@pytest.fixture
async def intake(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Intake]:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("OTHER", OTHER)
    redis, documents = connect_redis(redis_url), Documents()
    app = make_app(documents, SourceQueue(redis), Secrets(), redis, key=KEY, body_limit=LIMIT)
    async with listening(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        yield Intake(f"http://127.0.0.1:{port}", session, redis, tmp_path, documents)
    await redis.aclose()


WEB = {"image": "registry.example/shop/web", "tag": "1.4.2"}


async def test_ci_publishes_an_image_and_the_promotions_that_follow_it_are_queued(intake: Intake) -> None:
    intake.write(
        registry("ci", "ci", "registry.example/shop/*"),
        promotion("web", "registry.example/shop/web", policy={"order": "semver"}),
        promotion("web-two", "registry.example/shop/web"),
        promotion("api", "registry.example/shop/api"),
    )
    status, answer = await intake.post("/images", {**WEB, "digest": DIGEST, "source": {"commit": "c" * 40}}, BEARER)
    assert status == 202
    row = {"image": "registry.example/shop/web:1.4.2", "outcome": "queued"}
    assert answer["promotions"] == [{"promotion": "web", **row}, {"promotion": "web-two", **row}]
    assert await intake.jobs() == ["promotion_web-1", "promotion_web-two-1"]
    assert orjson.loads(await intake.redis.hget("rq:job:promotion_web-1", "data"))[0] == "promote"
    (image,) = await intake.noted("web")
    assert (image.tag, image.digest, image.commit) == ("1.4.2", DIGEST, "c" * 40)
    assert image.at > 1e9


async def test_ten_images_in_a_second_are_one_job_that_sees_all_of_them(intake: Intake) -> None:
    intake.write(registry("ci", "ci"), promotion("web", "registry.example/shop/web"))
    for number in range(10):
        status, _ = await intake.post("/images", {**WEB, "tag": f"1.4.{number}"}, BEARER)
        assert status == 202
    assert await intake.jobs() == ["promotion_web-1"]
    assert [image.tag for image in await intake.noted("web")] == [f"1.4.{number}" for number in range(10)]


async def test_a_token_speaks_of_its_own_images_only(intake: Intake) -> None:
    intake.write(
        registry("shop", "ci", "registry.example/shop/*"),
        registry("bank", "ci", "registry.example/bank/*", env="OTHER"),
        promotion("web", "registry.example/shop/web"),
    )
    status, answer = await intake.post("/images", WEB, {"Authorization": f"Bearer {OTHER}"})
    assert (status, answer) == (403, {"error": "this token may not speak of registry.example/shop/web"})
    mixed = [WEB, {**WEB, "image": "registry.example/bank/vault"}]
    assert (await intake.post("/images", mixed, BEARER))[0] == 403
    assert await intake.redis.keys("*") == []


async def test_a_registry_is_heard_for_what_the_document_names(intake: Intake) -> None:
    intake.write(registry("harbor", "harbor", "harbor.example/other/*"), promotion("web", "harbor.example/shop/web"))
    status, answer = await intake.post("/registries/harbor", (DATA / "harbor-push.json").read_bytes(), BEARER)
    assert status == 200
    assert answer["ignored"] == "the Registry document does not name harbor.example/shop/web"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}])
async def test_nothing_is_parsed_before_it_is_verified(intake: Intake, headers: dict[str, str]) -> None:
    intake.write(registry("ci", "ci"), registry("hub", "dockerhub"), registry("gh", "github"))
    for path in ("/images", "/registries/hub", "/registries/hub/wrong", "/registries/gh"):
        assert (await intake.post(path, b"[" * 1000, headers))[0] == 401


@pytest.mark.parametrize(
    ("of", "sample", "image"),
    [
        ("distribution", "distribution-push", "registry.example:5000/shop/web"),
        ("gitlab", "distribution-push", "registry.example:5000/shop/web"),
        ("harbor", "harbor-push", "harbor.example/shop/web"),
        ("azure", "azure-push", "shop.azurecr.io/shop/web"),
        ("ecr", "ecr-push", "123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/web"),
        ("google", "google-insert", "europe-docker.pkg.dev/my-project/shop/web"),
        ("cloudevents", "cloudevents-cdevents", "registry.example/shop/web"),
        ("dockerhub", "dockerhub-push", "shop/web"),
        ("quay", "quay-push", "quay.io/shop/web"),
        ("github", "github-registry-package", "ghcr.io/shop/web"),
    ],
)
async def test_every_registry_as_it_calls(intake: Intake, of: str, sample: str, image: str) -> None:
    intake.write(registry("here", of), promotion("web", image, policy={"order": "semver"}))
    body, path, headers = (DATA / f"{sample}.json").read_bytes(), "/registries/here", dict(BEARER)
    if of in ("dockerhub", "quay"):
        path, headers = f"{path}/{SECRET}", {}
    if of == "github":
        signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
        headers = {"X-GitHub-Event": "registry_package", "X-Hub-Signature-256": f"sha256={signature}"}
    status, answer = await intake.post(path, body, headers)
    assert status == 202
    assert [row["promotion"] for row in answer["promotions"]] == ["web"]
    assert [image.tag for image in await intake.noted("web")] == ["1.4.2"]


async def test_what_asks_for_nothing_is_told_so(intake: Intake) -> None:
    intake.write(registry("here", "azure"), registry("ci", "ci"), promotion("web", "registry.example/shop/web"))
    ping = await intake.post("/registries/here", (DATA / "azure-ping.json").read_bytes(), BEARER)
    assert ping[0] == 200
    assert ping[1]["ignored"] == "action 'ping' publishes no tag"
    other = await intake.post("/images", {"image": "registry.example/shop/api", "tag": "1"}, BEARER)
    assert other[0] == 200
    assert other[1]["ignored"] == "no promotion follows registry.example/shop/api:1"
    assert await intake.redis.keys("*") == []


async def test_a_tag_that_the_policy_does_not_accept_queues_nothing(intake: Intake) -> None:
    intake.write(registry("ci", "ci"), promotion("web", WEB["image"], policy={"order": "semver"}))
    status, answer = await intake.post("/images", {**WEB, "tag": "latest"}, BEARER)
    assert status == 200
    assert "no promotion follows" in answer["ignored"]


async def test_a_wrong_body_says_which_field(intake: Intake) -> None:
    intake.write(registry("ci", "ci"))
    status, answer = await intake.post("/images", {"image": "registry.example/shop/web", "tag": 7}, BEARER)
    assert status == 400
    assert "$.tag" in answer["error"] or "tag" in answer["error"]


async def test_without_a_document_there_is_no_endpoint(intake: Intake) -> None:
    intake.write(registry("ci", "ci"))
    assert (await intake.post("/registries/ci", WEB, BEARER))[0] == 404
    assert (await intake.post("/registries/nowhere", WEB, BEARER))[0] == 404
    intake.write()
    assert (await intake.post("/images", WEB, BEARER))[0] == 404


async def test_a_secret_that_cannot_be_read_is_our_fault(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    intake.write(registry("ci", "ci"))
    monkeypatch.delenv("SECRET")
    assert (await intake.post("/images", WEB, BEARER))[0] == 503


async def test_a_huge_body_is_refused(intake: Intake) -> None:
    intake.write(registry("ci", "ci"))
    assert (await intake.post("/images", b" " * (LIMIT + 1), BEARER))[0] == 413


async def test_a_redelivery_is_noted_once_and_of_what_is_decided_it_asks_for_nothing(
    intake: Intake, redis_url: str
) -> None:
    intake.write(registry("ci", "ci"), promotion("web", "registry.example/shop/web"))
    await intake.post("/images", WEB, BEARER)
    await intake.post("/images", WEB, BEARER)
    assert len(await intake.noted("web")) == 1
    keeper = LeaseKeeper(intake.redis, redis_url, seconds=3.0)
    queue = SourceQueue(intake.redis, keeper=keeper)
    await queue.epoch(fresh=True)
    run = await queue.begin("promotion_web-1", "promotion_web")
    assert isinstance(run, Run)
    (image,) = images(run.hints, "web", seal_of(KEY))
    await queue.advance(run, commit=image.identity, documents="d", dirty=[])
    await queue.finish(run)
    status, answer = await intake.post("/images", WEB, BEARER)
    assert (status, answer["promotions"][0]["outcome"]) == (200, "applied")


async def test_without_redis_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    redis, documents = connect_redis(f"redis://127.0.0.1:{free_port()}"), Documents()
    app = make_app(documents, SourceQueue(redis), Secrets(), redis, key=KEY, body_limit=LIMIT)
    async with listening(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        intake = Intake(f"http://127.0.0.1:{port}", session, redis, tmp_path, documents)
        intake.write(registry("ci", "ci"), promotion("web", "registry.example/shop/web"))
        status, answer = await intake.post("/images", WEB, BEARER)
    assert (status, answer) == (503, {"error": "Redis is away: nothing was queued"})
    await redis.aclose()
