"""Promotions when things go wrong: whole Windlass, a real Gitea, a real registry. Nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_promotion import document
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.registry import Registry
from tests.parts.waiting import until
from tests.parts.windlass import Windlass, repository

pytestmark = pytest.mark.e2e

POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {0}}}\nspec: {{containers: [{{name: {0}, image: {1}:1.0.0}}]}}\n"
SEMVER = {"order": "semver", "range": ">=1.0.0"}
QUIET_SECONDS = 2.0
"""How long nothing more must happen, where nothing more must."""


class Shop:
    """A manifest repository on the forge with two images of its own, in an installation of all tests."""

    def __init__(self, folder: Path, name: str, forge: Gitea, windlass: Windlass) -> None:
        self.name, self.forge, self.path, self.windlass = name, forge, f"/repos/{ADMIN}/{name}", windlass
        self.web, self.api = f"registry.example/{name}/web", f"registry.example/{name}/api"
        self.remote = forge.create_repository(name, private=True)
        self.work = WorkTree(folder / "work", self.remote.push_url)
        self.token = folder / "token"
        self.token.write_text(forge.token)
        self.work.commit_and_push({"web.yaml": POD.format("web", self.web), "api.yaml": POD.format("api", self.api)})

    def start(self, *documents: dict[str, object]) -> None:
        """Have these promoted."""
        token = {"token": {"file": str(self.token)}}
        before = [self.windlass.log(name).count(word) for name, word in SEEN]
        self.windlass.write(
            repository(self.name, self.remote.clone_url, credentials=token, pullRequests=token),
            *documents,
            name=f"{self.name}.yaml",
        )
        until(lambda: all(self.windlass.log(n).count(w) > b for (n, w), b in zip(SEEN, before, strict=True)))
        self.forge.create_webhook(self.name, f"{self.windlass.url}/webhooks/{self.name}", self.windlass.secret)

    def promotion(self, kind: str, image: str, **more: Any) -> dict[str, object]:
        target = {"repository": self.name, "branch": "main"}
        words = {"title": "{{name}} {{tag}}", "branch": f"promote/{kind}"}
        spec = {"image": image, "policy": SEMVER, "target": target, "pullRequest": words, **more}
        return document("Promotion", f"{kind}-{self.name}", spec)

    def publish(self, image: str, tag: str, **more: Any) -> int:
        """What CI does last; the answer's status."""
        body = json.dumps({"image": image, "tag": tag, **more}).encode()
        request = urllib.request.Request(f"{self.windlass.url}/images", data=body)
        request.add_header("Authorization", f"Bearer {self.windlass.environment['CI']}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def titles(self, state: str = "open") -> list[str]:
        return sorted(pull["title"] for pull in self.pulls(state))

    def pulls(self, state: str = "open") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.forge.api("GET", f"{self.path}/pulls?state={state}")
        return found

    def opened(self, *titles: str) -> None:
        until(lambda: self.titles() == sorted(titles), show=self.log)

    def commits(self, branch: str) -> list[str]:
        """The subjects of the branch's commits that main has not, the newest first."""
        self.work.git("fetch", "-q", "origin", "-f", "main:refs/main", f"{branch}:refs/looked")
        return self.work.git("log", "--format=%s", "refs/main..refs/looked").splitlines()

    def file(self, name: str, ref: str = "main") -> str:
        self.work.git("fetch", "-q", "origin", ref)
        return self.work.git("show", f"FETCH_HEAD:{name}")

    def logged(self, words: str) -> int:
        """How often the workers have logged it of this repository."""
        return sum(words in line and self.name in line for line in self.windlass.log("worker").splitlines())

    def log(self) -> str:
        return "\n".join([line for line in self.windlass.log("worker").splitlines() if self.name in line][-20:])

    def heard(self, words: str, times: int = 1) -> None:
        until(lambda: self.logged(words) >= times, show=self.log)


SEEN = (("worker-0", "documents.loaded"), ("worker-1", "documents.loaded"), ("service", "documents.used"))


@pytest.fixture(scope="module")
def installation(parts_folder: Path) -> Iterator[Windlass]:
    """A service and two workers, with a Redis of their own."""
    folder = parts_folder / "promotion-faults"
    folder.mkdir()
    with RedisServer(folder) as redis:
        windlass = Windlass(folder / "windlass", redis.url, CI="a token of CI, of some length")
        ci = {"type": "ci", "images": ["registry.example/**"], "secrets": [{"env": "CI"}]}
        windlass.write(document("Registry", "ci", ci))
        windlass.start_worker()
        windlass.start_worker()
        windlass.start_service()
        yield windlass
        windlass.stop()


@pytest.fixture
def shop(parts_folder: Path, unique: str, gitea: Gitea, installation: Windlass) -> Iterator[Shop]:
    (parts_folder / unique).mkdir()
    yield Shop(parts_folder / unique, unique, gitea, installation)
    (installation.documents / f"{unique}.yaml").unlink(missing_ok=True)


def test_two_images_at_once_into_one_repository_are_two_pull_requests_that_both_can_be_merged(shop: Shop) -> None:
    shop.start(shop.promotion("web", shop.web), shop.promotion("api", shop.api))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(shop.publish, (shop.web, shop.api), ("1.1.0", "3.0.0"))) == [202, 202]
    shop.opened("api 3.0.0", "web 1.1.0")
    for pull in shop.pulls():
        until(lambda number=pull["number"]: _merged(shop, number), show=shop.log)
    assert f"{shop.web}:1.1.0" in shop.file("web.yaml")
    assert f"{shop.api}:3.0.0" in shop.file("api.yaml")


def _merged(shop: Shop, number: int) -> bool:
    try:
        shop.forge.merge(shop.name, number)
    except urllib.error.HTTPError as error:
        if error.code != 405:  # it has not found out yet whether it can be
            raise
        return False
    return True


def test_two_images_straight_to_one_branch_both_arrive(shop: Shop) -> None:
    shop.start(shop.promotion("web", shop.web, mode="commit"), shop.promotion("api", shop.api, mode="commit"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(shop.publish, (shop.web, shop.api), ("1.1.0", "3.0.0")))
    until(
        lambda: f"{shop.web}:1.1.0" in shop.file("web.yaml") and f"{shop.api}:3.0.0" in shop.file("api.yaml"),
        show=shop.log,
    )
    assert shop.pulls("all") == []


def test_ten_images_in_a_second_are_one_pull_request_of_the_newest(shop: Shop) -> None:
    shop.start(shop.promotion("web", shop.web))
    tags = ["1.3.0", "1.10.0", "1.2.0", "1.9.0", "1.1.0", "1.8.0", "1.4.0", "1.7.0", "1.6.0", "1.5.0"]
    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(lambda tag: shop.publish(shop.web, tag), tags)) == {202}
    shop.opened("web 1.10.0")
    time.sleep(QUIET_SECONDS)
    assert shop.titles("all") == ["web 1.10.0"]
    assert shop.commits("promote/web") == [f"web-{shop.name}: web 1.10.0"]


def test_our_own_commit_merge_and_webhooks_promote_nothing(shop: Shop) -> None:
    shop.start(shop.promotion("web", shop.web))
    shop.publish(shop.web, "1.1.0")
    shop.opened("web 1.1.0")
    until(lambda: _merged(shop, shop.pulls()[0]["number"]), show=shop.log)
    shop.publish(shop.web, "1.1.0")
    time.sleep(QUIET_SECONDS)
    assert shop.titles("all") == ["web 1.1.0"]
    assert shop.logged("git.pushed") == 1


def test_an_image_that_a_registry_can_not_tell_of_is_found_also_after_the_registry_was_down(
    shop: Shop, tmp_path: Path
) -> None:
    server = Registry(tmp_path / "registry")
    image = f"{server.host}/{shop.name}/web"
    shop.work.commit_and_push({"web.yaml": POD.format("web", image)})
    with server:
        server.push(f"{shop.name}/web", "1.0.0")
        polled = {"type": "distribution", "images": [f"{server.host}/**"], "poll": "1s", "api": server.url}
        shop.start(shop.promotion("web", image), document("Registry", f"polled-{shop.name}", polled))
        server.push(f"{shop.name}/web", "1.1.0")
        shop.opened("web 1.1.0")
    shop.heard("registry.poll_failed")
    with server:
        server.push(f"{shop.name}/web", "1.2.0")
        shop.opened("web 1.2.0")
    assert shop.titles("all") == ["web 1.2.0"], "the same pull request"


def test_credentials_that_expired_are_told_and_new_ones_are_used_without_a_restart(shop: Shop) -> None:
    shop.start(shop.promotion("web", shop.web))
    shop.publish(shop.web, "1.1.0")
    shop.opened("web 1.1.0")
    shop.token.write_text("expired-t0ken")
    shop.publish(shop.web, "1.2.0")
    shop.heard("source.failed")
    assert shop.titles() == ["web 1.1.0"]
    shop.token.write_text(shop.forge.token)
    shop.opened("web 1.2.0")
    assert shop.titles("all") == ["web 1.2.0"]
    assert "expired-t0ken" not in shop.windlass.log()


def test_a_branch_that_nobody_may_push_to_is_told_in_the_forges_words(shop: Shop) -> None:
    rule = {"rule_name": "main", "enable_push": False}
    shop.forge.api("POST", f"{shop.path}/branch_protections", rule)
    shop.start(shop.promotion("web", shop.web, mode="commit"))
    shop.publish(shop.web, "1.1.0")
    shop.heard("refuses the push to main")
    time.sleep(QUIET_SECONDS)
    assert shop.logged("source.failed") == 1, "nobody tries what can't succeed"
    assert f"{shop.web}:1.0.0" in shop.file("web.yaml")


HOSTILE: list[dict[str, Any]] = [
    {"image": "{web}:1.1.0\nimage: evil"},
    {"tag": "1.1.0; rm -rf /"},
    {"tag": "--upload-pack=x"},
    {"digest": "sha256:$(id)"},
    {"image": "registry.example/../../etc"},
    {"source": {"commit": "HEAD; id"}},
    {"tag": "{{commit}}"},
]


def test_hostile_names_and_tags_are_refused_and_hostile_words_are_only_text(shop: Shop) -> None:
    template = {"title": "{{name}} {{tag}}", "branch": "promote/web", "body": "From {{commit}}: {{tag}}."}
    shop.start(shop.promotion("web", shop.web, policy={"order": "any"}, pullRequest=template))
    for body in HOSTILE:
        image = str(body.get("image", shop.web)).replace("{web}", shop.web)
        assert shop.publish(**{"tag": "1.1.0", **body, "image": image}) == 400, body
    address = "https://x.example/`](javascript:alert(1))<script>alert(2)</script>\n\n# @everyone | x"
    assert shop.publish(shop.web, "1.1.0-_.lock", source={"commit": "a" * 40, "repository": address}) == 202
    shop.opened("web 1.1.0-_.lock")
    (pull,) = shop.pulls()
    shown = _rendered(shop, pull["body"])
    assert "<script" not in shown
    assert 'href="javascript' not in shown
    assert "<h1" not in shown
    assert re.search(r"<code>[^<]*@everyone", shown), "all of it is one code span"
    assert f"image: {shop.web}:1.1.0-_.lock}}" in shop.file("web.yaml", "promote/web")


def _rendered(shop: Shop, text: str) -> str:
    """The forge's own HTML of a body."""
    request = urllib.request.Request(f"{shop.forge.url}/api/v1/markdown/raw", data=text.encode())
    request.add_header("Authorization", f"token {shop.forge.token}")
    request.add_header("Content-Type", "text/plain")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def test_a_forge_that_was_down_loses_nothing_and_repeats_nothing(
    parts_folder: Path, unique: str, installation: Windlass
) -> None:
    folder = parts_folder / unique
    folder.mkdir()
    with Gitea(folder / "forge") as forge:
        shop = Shop(folder, unique, forge, installation)
        shop.start(shop.promotion("web", shop.web), shop.promotion("api", shop.api))
        shop.publish(shop.web, "1.1.0")
        shop.opened("web 1.1.0")
        forge.kill()
        assert shop.publish(shop.web, "1.2.0") == 202
        assert shop.publish(shop.api, "3.0.0") == 202
        shop.heard("source.failed", 3)
        forge.serve()
        shop.opened("api 3.0.0", "web 1.2.0")
        time.sleep(QUIET_SECONDS)
        assert shop.titles("all") == ["api 3.0.0", "web 1.2.0"]
        assert shop.commits("promote/web") == [f"web-{shop.name}: web 1.2.0"]
        assert shop.commits("promote/api") == [f"api-{shop.name}: api 3.0.0"]
