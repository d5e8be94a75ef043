"""The worker as a process: what it runs, what it refuses, and what becomes of its jobs when it ends or is killed."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from windlass.queue.dashboard import make_dashboard_app


class Bench:
    """A queue, and worker processes on it."""

    def __init__(self, url: str) -> None:
        self.url, self.redis = url, Redis.from_url(url)
        self.queue = Queue("windlass", connection=self.redis, serializer=JSONSerializer)
        self.processes: list[subprocess.Popen[bytes]] = []

    def worker(self, *, drain: float = 5) -> subprocess.Popen[bytes]:
        before = len(Worker.all(connection=self.redis, serializer=JSONSerializer))
        command = [sys.executable, "-m", "tests.integration.queue.worker_process", self.url, str(drain)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        self.until(lambda: len(Worker.all(connection=self.redis, serializer=JSONSerializer)) > before)
        return process

    def put(self, job_id: str, data: bytes | None = None, **fields: str) -> None:
        """A job as the queue's script writes it, or with other ``data`` and fields."""
        call = f'["reconcile", null, ["{job_id.rpartition("-")[0]}", 1, "d"], {{}}]'.encode()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        content = {
            "data": data or call,
            "status": "queued",
            "origin": "windlass",
            "created_at": now,
            "enqueued_at": now,
        }
        self.redis.hset(
            f"rq:job:{job_id}", mapping={**content, "retries_left": "2", "timeout": "100", "description": "d", **fields}
        )
        self.redis.sadd("rq:queues", "rq:queue:windlass")
        self.redis.rpush("rq:queue:windlass", job_id)

    def list(self, name: str) -> list[str]:
        return [raw.decode() for raw in self.redis.lrange(name, 0, -1)]

    def status(self, job_id: str) -> JobStatus | None:
        return Job.fetch(job_id, connection=self.redis, serializer=JSONSerializer).get_status()

    def until(self, true: Callable[[], object], seconds: float = 15) -> float:
        started = time.monotonic()
        while not true():
            assert time.monotonic() - started < seconds, "it never came true"
            time.sleep(0.02)
        return time.monotonic() - started


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
    made.redis.close()


def test_a_job_is_run_and_finished(bench: Bench) -> None:
    bench.worker()
    bench.put("shop-1")
    bench.until(lambda: bench.list("ended") == ["shop-1"])
    bench.until(lambda: bench.status("shop-1") == JobStatus.FINISHED)


def test_many_jobs_run_at_once(bench: Bench) -> None:
    bench.worker()
    for number in range(8):
        bench.redis.set(f"sleep:s{number}", 1)
        bench.put(f"s{number}-1")
    bench.until(lambda: len(bench.list("began")) == 8, 3)
    assert bench.list("ended") == []
    bench.until(lambda: len(bench.list("ended")) == 8)


def test_the_job_of_a_killed_worker_runs_again_elsewhere_within_seconds(bench: Bench) -> None:
    first = bench.worker()
    bench.worker()
    bench.redis.set("sleep:shop", 60)
    bench.put("shop-1")
    bench.until(lambda: bench.list("began") == ["shop-1"] and bench.redis.hget("rq:job:shop-1", "worker_name"))
    name = bench.redis.hget("rq:job:shop-1", "worker_name") or b""
    victim = first if f"-{first.pid}-" in name.decode() else bench.processes[1]
    victim.send_signal(signal.SIGKILL)
    bench.redis.set("sleep:shop", 0)
    assert bench.until(lambda: bench.list("began") == ["shop-1", "shop-1"]) < 15


def test_a_job_that_kills_its_worker_three_times_is_given_up(bench: Bench) -> None:
    bench.redis.set("sleep:shop", 60)
    bench.put("shop-1")
    for number in range(3):
        process = bench.worker()
        bench.until(lambda expected=number + 1: len(bench.list("began")) == expected, 40)
        bench.until(lambda: bench.status("shop-1") == JobStatus.STARTED)  # else it was only taken
        process.send_signal(signal.SIGKILL)
        process.wait()
    bench.worker()
    bench.until(lambda: bench.status("shop-1") == JobStatus.FAILED, 40)
    assert len(bench.list("began")) == 3


def test_sigterm_lets_a_running_job_end(bench: Bench) -> None:
    process = bench.worker()
    bench.redis.set("sleep:shop", 1)
    bench.put("shop-1")
    bench.until(lambda: bench.list("began"))
    process.terminate()
    bench.put("shop-2")
    assert process.wait(10) == 0
    assert bench.list("ended") == ["shop-1"]
    assert bench.list("rq:queue:windlass") == ["shop-2"]


def test_sigterm_ends_a_job_that_takes_longer_than_the_drain(bench: Bench) -> None:
    process = bench.worker(drain=0.5)
    bench.redis.set("sleep:shop", 60)
    bench.put("shop-1")
    bench.until(lambda: bench.list("began"))
    process.terminate()
    assert process.wait(10) == 0
    assert bench.list("ended") == []


@pytest.mark.parametrize(
    "data",
    [
        b'["os.system", null, ["touch %s"], {}]',
        b'["tests.integration.queue.worker_process.main", null, ["%s"], {}]',
        b'["reconcile"]',
        b"not JSON",
    ],
    ids=["os.system", "importable", "no call", "no JSON"],
)
def test_nothing_but_the_registry_is_run(bench: Bench, tmp_path: Path, data: bytes) -> None:
    bench.worker()
    bench.put("evil-1", data.replace(b"%s", str(tmp_path / "sentinel").encode()))
    bench.until(lambda: bench.redis.hget("rq:job:evil-1", "status") == b"failed")
    assert not (tmp_path / "sentinel").exists()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_not_read(bench: Bench, tmp_path: Path) -> None:
    bench.worker()
    bench.put("evil-1", pickle.dumps(_Bomb(tmp_path / "sentinel")))
    bench.until(lambda: bench.redis.hget("rq:job:evil-1", "status") == b"failed")
    assert not (tmp_path / "sentinel").exists()


def test_callbacks_that_a_job_names_are_ignored(bench: Bench) -> None:
    bench.worker()
    bench.put("shop-1", success_callback_name="os.getcwd", failure_callback_name="os.abort")
    bench.until(lambda: bench.status("shop-1") == JobStatus.FINISHED)
    bench.put("shop-2", b'["nothing", null, [], {}]', failure_callback_name="os.abort")
    bench.until(lambda: bench.redis.hget("rq:job:shop-2", "status") == b"failed")
    assert bench.processes[0].poll() is None


def test_rq_and_its_dashboard_see_a_busy_worker(bench: Bench) -> None:
    bench.worker()
    bench.redis.set("sleep:shop", 5)
    bench.put("shop-1")
    bench.until(lambda: bench.list("began"))
    [worker] = Worker.all(connection=bench.redis, serializer=JSONSerializer)
    bench.until(lambda: worker.get_state() == "busy")
    client = make_dashboard_app(bench.url).test_client()
    for page in ("/", "/0/view/workers", "/0/view/jobs/windlass/started/8/asc/1", "/0/view/job/shop-1"):
        assert client.get(page).status_code == 200, page
    answer = client.get("/0/data/workers.json")
    assert answer.status_code == 200
    assert answer.get_json()["workers"][0]["state"] == "busy"


def test_a_job_whose_start_is_not_known_to_have_been_noted_runs_again(bench: Bench) -> None:
    """EXEC's answer is lost: nobody may beat for that job, or it would count as running for ever."""
    bench.redis.set("lose:start", 1)
    bench.worker()
    bench.put("shop-1")
    bench.until(lambda: bench.status("shop-1") == JobStatus.FINISHED, 30)
    assert bench.redis.get("lose:start") is None


def test_what_is_no_job_is_put_aside_and_the_next_one_runs(bench: Bench) -> None:
    bench.worker()
    bench.redis.rpush("rq:queue:windlass", b"\xff\xfe")
    bench.put("broken-1", created_at="yesterday")
    bench.put("shop-1")
    bench.until(lambda: bench.list("ended") == ["shop-1"])
    bench.until(lambda: bench.list("rq:queue:windlass:intermediate") == [])


def test_a_service_that_fails_begins_again_and_the_worker_goes_on(bench: Bench) -> None:
    bench.redis.set("fail:service", 2)
    process = bench.worker()
    bench.until(lambda: bench.redis.get("service") == b"up")
    bench.put("shop-1")
    bench.until(lambda: bench.list("ended") == ["shop-1"])
    assert process.poll() is None
