"""rq-dashboard as Windlass serves it: for whom, what may be done there, and under which path."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from redis import Redis
from rq import Queue
from rq.registry import FailedJobRegistry, ScheduledJobRegistry
from rq.serializers import JSONSerializer

from windlass.queue.dashboard import make_dashboard_app
from windlass.queue.rqjob import JOB_PREFIX
from windlass.settings import Login

pytestmark = pytest.mark.integration

LOGIN = Login("ops", "correct horse")


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url)


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    return make_dashboard_app(redis_url, login=LOGIN, prefix="/queues").test_client()


def put(redis: Redis, job_id: str, status: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    call = json.dumps(["reconcile", None, ["shop", 1, "d"], {}])
    fields = {"data": call, "status": status, "origin": "windlass", "created_at": now, "description": "push 1234abcd"}
    redis.hset(JOB_PREFIX + job_id, mapping={**fields, "enqueued_at": now})
    queue = Queue("windlass", connection=redis, serializer=JSONSerializer)
    registry = {"failed": FailedJobRegistry, "scheduled": ScheduledJobRegistry}[status](queue=queue)
    redis.zadd(registry.key, {job_id: 4_000_000_000})
    redis.sadd("rq:queues", "rq:queue:windlass")


@pytest.mark.parametrize(
    "headers", [{}, basic("ops", "wrong"), basic("", ""), {"Authorization": "Bearer x"}, {"Authorization": "Basic %"}]
)
def test_nobody_looks_without_the_password(client: FlaskClient, headers: dict[str, str]) -> None:
    for path in ("/queues/", "/queues/0/data/queues.json", "/queues/static/css/main.css", "/", "/nowhere"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]


def test_below_its_prefix_pages_and_data_are_shown(client: FlaskClient, redis: Redis) -> None:
    put(redis, "shop-1", "failed")
    put(redis, "shop-2", "scheduled")
    for path in (
        "/queues/",
        "/queues/static/css/main.css",
        "/queues/0/view/workers",
        "/queues/0/view/jobs/windlass/failed/8/asc/1",
    ):
        answer = client.get(path, headers=basic(*LOGIN))
        assert answer.status_code == 200, path
        assert answer.headers["X-Frame-Options"] == "DENY"
        answer.close()
    assert client.get("/", headers=basic(*LOGIN)).status_code == 404
    for registry, job in (("failed", "shop-1"), ("scheduled", "shop-2")):
        found = client.get(f"/queues/0/data/jobs/windlass/{registry}/8/asc/1.json", headers=basic(*LOGIN)).get_json()
        assert [(item["id"], item["description"]) for item in found["jobs"]] == [(job, "push 1234abcd")]


def test_a_failed_job_is_requeued_from_it(client: FlaskClient, redis: Redis) -> None:
    put(redis, "shop-1", "failed")
    assert client.post("/queues/job/shop-1/requeue", headers=basic(*LOGIN)).status_code == 200
    assert redis.lrange("rq:queue:windlass", 0, -1) == [b"shop-1"]


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_another_sites_page_changes_nothing(client: FlaskClient, redis: Redis, headers: dict[str, str]) -> None:
    put(redis, "shop-1", "failed")
    for path in ("/queues/job/shop-1/requeue", "/queues/requeue/windlass"):
        assert client.post(path, headers={**basic(*LOGIN), **headers}).status_code == 403
    assert client.get("/queues/requeue/windlass", headers=basic(*LOGIN)).status_code == 403
    assert redis.llen("rq:queue:windlass") == 0


def test_nothing_is_deleted_from_it(client: FlaskClient, redis: Redis) -> None:
    put(redis, "shop-1", "failed")
    for path in ("/queues/job/shop-1/delete", "/queues/queue/windlass/failed/empty"):
        client.post(path, headers=basic(*LOGIN))
    assert redis.exists(JOB_PREFIX + "shop-1")
