"""What happens is told once to who asked for it, whatever the receiver does; and nothing else waits for that."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest
import structlog

from tests.integration.notify.conftest import REVISION, SECRET, Told
from windlass.health import DEGRADED, HEALTHY, HealthState, ObjectHealth, health_key
from windlass.queue.notices import Occurrence
from windlass.state import Drift, RunRecord, application_key
from workers.application import Outcome
from workers.notify import sender

pytestmark = pytest.mark.integration

ALL = ["started", "applied", "healthy", "degraded", "failed", "drift", "promotion"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_RETRY", 0.05)


async def is_at(told: Told, health: HealthState, name: str = "shop", *, last: str = "") -> None:
    """The application's state, as a run and the watcher leave it."""
    record = RunRecord(event="e", revision=REVISION, phase="Synced", started=1.0, health=last)
    fields = {"phase": "Synced", "revision": REVISION, "wanted": REVISION, "last": msgspec.json.encode(record)}
    await told.context.redis.hset(application_key(name), mapping=fields)
    await told.context.redis.set(health_key(name), health.dump())


def ended(phase: str, *errors: str, name: str = "shop") -> Outcome:
    return Outcome(name, "eu", phase, errors, None, 1.0)


def events(told: Told, path: str = "/webhook") -> list[str]:
    return [json.loads(one.body)["event"] for one in told.receiver.to(path)]


class TestWhatIsTold:
    async def test_the_way_of_a_commit(self, told: Told) -> None:
        told.write(told.rule("webhook", events=ALL))
        told.send()
        news = told.context.news
        news.started("manifests", REVISION, [told.app()])
        await told.until(lambda: events(told) == ["started"])
        await news.ended("manifests", REVISION, [ended("Waiting"), ended("Synced")])
        await told.until(lambda: events(told) == ["started", "applied"])
        worst = {"apps/Deployment shop/web": ObjectHealth("Failed", "CrashLoopBackOff", "exit code 1")}
        await is_at(told, HealthState(DEGRADED, unhealthy=worst))
        await news.health_changed("shop")
        await is_at(told, HealthState(HEALTHY))
        await news.health_changed("shop")
        await told.until(lambda: len(events(told)) == 4)
        assert sorted(events(told)[2:]) == ["degraded", "healthy"]
        bad = next(found for one in told.receiver.got if (found := json.loads(one.body))["event"] == "degraded")
        assert bad["why"] == "apps/Deployment shop/web: CrashLoopBackOff: exit code 1"
        assert (bad["application"], bad["cluster"], bad["revision"]) == ("shop", "eu", REVISION)

    async def test_what_failed_and_what_could_not_be_read(self, told: Told) -> None:
        told.write(told.rule("webhook", events=["failed"]))
        told.send()
        await told.context.news.ended("manifests", REVISION, [ended("Failed", "web.yaml:3: no such field")])
        await told.context.news.unreadable("manifests", "b" * 40, [told.app("other")], "nobody signed it")
        await told.settled("webhook", 2)
        assert {json.loads(one.body)["why"] for one in told.receiver.got} == {
            "web.yaml:3: no such field",
            "nobody signed it",
        }

    async def test_a_run_that_changed_nothing_of_health_is_healthy_at_once(self, told: Told) -> None:
        told.write(told.rule("webhook"))
        told.send()
        await is_at(told, HealthState(HEALTHY), last=HEALTHY)
        await told.context.news.ended("manifests", REVISION, [ended("Synced")])
        await told.until(lambda: events(told) == ["healthy"])

    async def test_drift_is_news_when_other_objects_drift(self, told: Told) -> None:
        told.write(told.rule("webhook", events=["drift"]))
        told.send()
        await is_at(told, HealthState(HEALTHY))
        one = Drift(1, {"v1/ConfigMap shop/a": "data.x is another"})
        for drift in (one, one, Drift(), Drift(2, {**one.objects, "v1/ConfigMap shop/b": "is gone"})):
            await told.context.news.drifted(told.app(), drift)
        assert (await told.settled("webhook", 2)).told == 2

    async def test_a_promotions_phases_but_not_that_it_waits(self, told: Told) -> None:
        told.write(told.rule("webhook", events=["promotion"]))
        told.send()
        for phase in ("Waiting", "Proposed", "Proposed", "Merged"):
            found = Occurrence("promotion", 1.0, promotion="web", phase=phase, image="r.example/web:1")
            await told.context.news.promoted(found)
        await told.settled("webhook", 2)
        assert sorted(json.loads(one.body)["phase"] for one in told.receiver.got) == ["Merged", "Proposed"]

    async def test_only_who_asked_for_this_event_of_this_application(self, told: Told) -> None:
        rules = [
            told.rule("webhook", "both"),
            told.rule("webhook", "others", applications=["oth*"]),
            told.rule("webhook", "drift-only", events=["drift"]),
        ]
        told.write(*rules)
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")
        await told.settled("both")
        assert [one.path.split("/")[1] for one in told.receiver.got] == ["both"]

    @pytest.mark.parametrize("kind", ["slack", "teams", "discord", "webhook", "cloudevents"])
    async def test_every_kind_of_receiver(self, told: Told, kind: str) -> None:
        told.write(told.rule(kind))
        status = {"discord": 204, "teams": 202}.get(kind, 200)
        told.receiver.says(f"/{kind}/{SECRET}", (status, {}, "ok" if kind == "slack" else ""))
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")
        assert (await told.settled(kind)).told == 1
        (got,) = told.receiver.got
        assert b"shop" in got.body
        assert got.headers["Content-Type"].startswith(("application/json", "application/cloudevents+json"))


class TestOnce:
    async def test_however_often_it_is_seen_and_by_whom(self, told: Told) -> None:
        told.write(told.rule("webhook"))
        told.send()
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await asyncio.gather(*[told.context.news.health_changed("shop") for _ in range(20)])
        await told.settled("webhook")
        await told.context.news.health_changed("shop")
        await asyncio.sleep(0.3)
        assert events(told) == ["healthy"]

    async def test_healthy_again_after_it_was_not_is_news(self, told: Told) -> None:
        told.write(told.rule("webhook"))
        told.send()
        for number, status in enumerate((HEALTHY, DEGRADED, HEALTHY, DEGRADED), start=1):
            await is_at(told, HealthState(status))
            await told.context.news.health_changed("shop")
            await told.settled("webhook", min(number, 3))
        await asyncio.sleep(0.3)
        assert events(told) == ["healthy", "degraded", "healthy"], "it flaps: that is told once an hour"

    async def test_what_a_dead_worker_had_taken_comes_back(self, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        told.write(told.rule("webhook"))
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")
        assert await told.notices.claim("webhook", seconds=0.2) is not None
        assert await told.notices.claim("webhook", seconds=0.2) is None
        told.send()
        await told.settled("webhook")
        assert events(told) == ["healthy"]


class TestReceiversThatFail:
    async def tell(self, told: Told, *answers: tuple[int, dict[str, str], str], kind: str = "webhook") -> None:
        told.write(told.rule(kind))
        told.receiver.says(f"/{kind}/{SECRET}", *answers)
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")

    async def test_5xx_is_tried_again_until_it_is_told(self, told: Told) -> None:
        await self.tell(told, (500, {}, "oops"), (503, {}, ""), (502, {}, ""), (200, {}, ""))
        standing = await told.settled("webhook")
        assert (standing.told, standing.given_up, standing.error) == (1, 0, "")
        assert len(told.receiver.got) == 4
        assert len({one.headers["X-Windlass-Delivery"] for one in told.receiver.got}) == 1

    async def test_429_is_obeyed(self, told: Told) -> None:
        await self.tell(told, (429, {"Retry-After": "1"}, ""), (200, {}, ""))
        assert (await told.settled("webhook")).told == 1
        first, second = told.receiver.got
        assert second.at - first.at >= 1.0

    async def test_teams_says_200_of_what_it_throttles(self, told: Told) -> None:
        throttled = (
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with "
            "ContextId tcid=0"
        )
        await self.tell(told, (200, {}, throttled), (200, {}, "1"), kind="teams")
        assert (await told.settled("teams")).told == 1
        assert len(told.receiver.got) == 2

    @pytest.mark.parametrize(
        ("status", "text", "error"),
        [
            (400, "invalid_payload", "the receiver answers 400: invalid_payload"),
            (404, "no_service", "the receiver answers 404: no_service"),
            (410, "", "the receiver answers 410"),
            (403, f"who knows /{SECRET} may write", "the receiver answers 403"),
        ],
    )
    async def test_4xx_is_given_up_and_can_be_seen(self, told: Told, status: int, text: str, error: str) -> None:
        await self.tell(told, (status, {}, text))
        standing = await told.settled("webhook")
        assert (standing.told, standing.given_up, standing.error) == (0, 1, error)
        assert len(told.receiver.got) == 1

    async def test_a_redirect_is_not_followed(self, told: Told) -> None:
        await self.tell(told, (307, {"Location": "/elsewhere"}, ""))
        assert "redirects are not followed" in (await told.settled("webhook")).error
        assert told.receiver.to("/elsewhere") == []

    async def test_a_private_address_is_refused_unless_the_document_says_so(self, told: Told) -> None:
        told.write(told.rule("webhook", to={"private": False}))
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")
        assert (await told.settled("webhook")).given_up == 1
        assert told.receiver.got == []

    async def test_a_name_that_resolves_to_a_private_address_is_refused(
        self, told: Told, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told.write(told.rule("webhook", to={"private": False}))
        monkeypatch.setenv("URL_WEBHOOK", f"https://localhost:{told.receiver.port}/{SECRET}")
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")
        assert "not one of the public Internet" in (await told.settled("webhook")).error

    async def test_a_slow_receiver_holds_up_nobody_else(self, told: Told) -> None:
        told.write(told.rule("webhook", "slow"), told.rule("webhook", "quick"))
        told.receiver.slow.clear()
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")
        await told.until(lambda: len(told.receiver.to("/slow")) == 1)
        await told.settled("quick")
        told.receiver.slow.set()
        await told.settled("slow")

    async def test_a_secret_that_is_not_there_yet_is_waited_for(
        self, told: Told, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rule = told.rule("webhook")
        told.write(rule)
        monkeypatch.delenv("URL_WEBHOOK")
        told.send()
        await is_at(told, HealthState(HEALTHY))
        await told.context.news.health_changed("shop")

        async def tried() -> bool:
            notice = await told.context.redis.get(f"windlass:notice:{(await self.ids(told))[0]}")
            return json.loads(notice).get("attempts", 0) > 0

        await told.until(tried)
        told.rule("webhook")
        assert (await told.settled("webhook")).told == 1

    @staticmethod
    async def ids(told: Told) -> list[str]:
        return [raw.decode() for raw in await told.context.redis.zrange("windlass:notices:webhook", 0, -1)]


class TestWhatNobodySees:
    async def test_the_address_and_the_key_are_in_no_log_and_not_in_redis(
        self, told: Told, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOOK_KEY", "the-signing-key")
        told.write(told.rule("webhook", to={"key": {"env": "HOOK_KEY"}}), told.rule("slack"))
        told.receiver.says(f"/webhook/{SECRET}", (500, {}, SECRET), (404, {}, SECRET))
        told.receiver.says(f"/slack/{SECRET}", (400, {}, SECRET))
        with structlog.testing.capture_logs() as logs:
            told.send()
            await is_at(told, HealthState(HEALTHY))
            await told.context.news.health_changed("shop")
            await told.settled("webhook")
            await told.settled("slack")
        memory = await everything(told)
        for secret in ("the-secret-part", "the-signing-key", str(told.receiver.port)):
            assert secret not in memory
            assert secret not in repr(logs)
        assert "notification.given_up" in repr(logs)


class TestWhatDoesNotWait:
    async def test_a_run_that_begins_waits_for_nothing_of_it(self, told: Told) -> None:
        told.write(told.rule("webhook", events=["started"]))
        told.context.news.started("manifests", REVISION, [told.app()])  # not awaitable: it only leaves a note
        await told.context.news.close()
        assert (await told.standing("webhook")).waiting == 1

    async def test_without_a_rule_redis_is_not_asked(self, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        told.write()

        def asked(*_: Any, **__: Any) -> None:
            pytest.fail("Redis was asked")

        monkeypatch.setattr(told.context.redis, "execute_command", asked)
        monkeypatch.setattr(told.context.redis, "pipeline", asked)
        news = told.context.news
        news.started("manifests", REVISION, [told.app()])
        await news.ended("manifests", REVISION, [ended("Synced")])
        await news.health_changed("shop")
        await news.drifted(told.app(), Drift(1, {"v1/ConfigMap shop/a": "x"}))
        await news.promoted(Occurrence("promotion", 1.0, promotion="web", phase="Merged"))


class TestGithubDeployments:
    DEPLOYMENTS = "/api/repos/shop/manifests/deployments"

    async def tell(self, told: Told, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> None:
        monkeypatch.setenv("TOKEN", "the-token")
        to = {"githubDeployments": {"token": {"env": "TOKEN"}, **spec}}
        rule = told.rule("webhook", "deployments", events=["applied", "healthy", "failed"])
        told.write({**rule, "spec": {**rule["spec"], "to": to}}, forge="github")
        told.send()

    async def test_one_deployment_a_commit_and_environment_and_its_statuses(
        self, told: Told, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        created = json.dumps({"id": 1, "sha": REVISION, "task": "windlass"})
        told.receiver.says(self.DEPLOYMENTS, (200, {}, "[]"), (201, {}, created), (200, {}, f"[{created}]"))
        told.receiver.says(f"{self.DEPLOYMENTS}/1/statuses", (201, {}, '{"id": 1}'))
        await self.tell(told, monkeypatch)
        await told.context.news.ended("manifests", REVISION, [ended("Synced")])
        await told.settled("deployments")
        await told.context.news.ended("manifests", REVISION, [ended("Failed", "no")])
        await told.settled("deployments", 2)
        calls = [
            (one.path.removeprefix(self.DEPLOYMENTS), json.loads(one.body or b"null")) for one in told.receiver.got
        ]
        assert [path for path, _ in calls] == ["", "", "/1/statuses", "", "/1/statuses"]
        assert calls[1][1] == {
            "ref": REVISION,
            "task": "windlass",
            "environment": "eu/shop",
            "auto_merge": False,
            "required_contexts": [],
            "description": "shop on eu",
            "payload": {"application": "shop", "cluster": "eu"},
        }
        assert [body["state"] for path, body in calls if path.endswith("statuses")] == ["in_progress", "failure"]
        assert {one.headers["Authorization"] for one in told.receiver.got} == {"Bearer the-token"}

    async def test_a_token_that_may_not_is_given_up(self, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = json.dumps({"message": "Resource not accessible by the-token", "status": "403"})
        told.receiver.says(self.DEPLOYMENTS, (403, {}, refused))
        await self.tell(told, monkeypatch)
        await told.context.news.ended("manifests", REVISION, [ended("Failed")])
        standing = await told.settled("deployments")
        assert standing.given_up == 1
        assert re.search(r"403: Resource not accessible by …", standing.error)

    async def test_what_is_not_on_github_is_no_deployment(self, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        await self.tell(told, monkeypatch)
        (told.folder / "all.yaml").write_text((told.folder / "all.yaml").read_text().replace("github\n", "gitea\n"))
        told.context.catalog = told.context.directory.load()
        await told.context.news.ended("manifests", REVISION, [ended("Synced")])
        assert (await told.standing("deployments")).waiting == 0


async def everything(told: Told) -> str:
    """All that Redis holds."""
    redis, found = told.context.redis, []
    for key in await redis.keys("*"):
        found.append(repr(key))
        match await redis.type(key):
            case b"hash":
                found.append(repr(await redis.hgetall(key)))
            case b"zset":
                found.append(repr(await redis.zrange(key, 0, -1, withscores=True)))
            case b"string":
                found.append(repr(await redis.get(key)))
            case other:
                found.append(repr(other))
    return "\n".join(found)
