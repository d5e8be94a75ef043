"""Windlass itself, as people start it: `windlass service` and `windlass worker`, each a process of its own, with its log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import yaml

from tests.parts.process import die_with_parent, free_port
from windlass.documents.types import source_id
from windlass.queue.connections import connect_async
from windlass.state import ApplicationState, RunRecord, read_state

API_VERSION = "windlass.dev/v1alpha1"


def repository(
    name: str, url: str, *, secret_env: str = "WEBHOOK_SECRET", forge: str = "gitea", **spec: object
) -> dict[str, object]:
    """A Repository document."""
    content = {"url": url, "forge": forge, "webhook": {"secrets": [{"env": secret_env}]}, **spec}
    return {"apiVersion": API_VERSION, "kind": "Repository", "metadata": {"name": name}, "spec": content}


def cluster(name: str, kubeconfig: Path | str, **spec: object) -> dict[str, object]:
    """A Cluster document."""
    content = {"kubeconfig": str(kubeconfig), **spec}
    return {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": name}, "spec": content}


def application(
    name: str,
    *,
    repository: str,
    path: str = "",
    cluster: str = "local",
    namespace: str | None = None,
    branch: str = "main",
    **spec: object,
) -> dict[str, object]:
    """An Application document."""
    content = {
        "sources": [{"repository": repository, "branch": branch, "path": path}],
        "destination": {"cluster": cluster, **({"namespace": namespace} if namespace else {})},
        **spec,
    }
    return {"apiVersion": API_VERSION, "kind": "Application", "metadata": {"name": name}, "spec": content}


class Windlass:
    """The processes of one installation: one service, any number of workers, one folder of documents."""

    def __init__(self, folder: Path, redis_url: str, **environment: str) -> None:
        self.folder, self.documents = folder, folder / "documents"
        self.python = sys.executable  # whose packages it runs with
        self.documents.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("WINDLASS_")},
            "REDIS_URL": redis_url,
            "WINDLASS_DOCUMENTS": str(self.documents),
            "WINDLASS_DATA": str(folder / "data"),
            "WINDLASS_PORT": str(self.port),
            "WEBHOOK_SECRET": "webhook-secret-of-the-tests",
            **environment,
        }
        self.settings: dict[str, dict[str, str]] = {}  # more environment, by command
        self.service: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def secret(self) -> str:
        return self.environment["WEBHOOK_SECRET"]

    def write(self, *documents: dict[str, object], name: str = "documents.yaml") -> None:
        """Write documents, in one step: a reader sees the old file or the new one."""
        part = self.documents / f".{name}.part"
        part.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        part.replace(self.documents / name)

    def start_service(self) -> subprocess.Popen[bytes]:
        self.service = self.spawn("service")
        self._ready(self.service)
        return self.service

    def start_worker(self, *, fresh_redis: bool = True) -> subprocess.Popen[bytes]:
        process = self.spawn("worker", *(["--fresh-redis"] if fresh_redis else []))
        self.workers.append(process)
        return process

    def start(self) -> Windlass:
        self.start_worker()
        self.start_service()
        return self

    def __enter__(self) -> Windlass:
        return self if self.workers or self.service else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A `windlass` command in this installation's environment."""
        return subprocess.run(
            [self.python, "-m", "windlass.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, to be read while it runs: what it says to people, on both of its outputs."""
        return subprocess.Popen(
            [self.python, "-m", "windlass.cli", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def pids(self) -> list[int]:
        """The service's and the workers' processes."""
        return [process.pid for process in (self.service, *self.workers) if process is not None]

    def last_run(self, name: str) -> RunRecord:
        """What the application's last run recorded."""
        return asyncio.run(self._state(name)).last or RunRecord(event="", revision="", phase="Unknown", started=0.0)

    def revision(self, name: str) -> str:
        """The last commit of which everything was applied."""
        return asyncio.run(self._state(name)).revision

    def received(self, name: str, commit: str) -> float:
        """When the webhook of ``commit`` arrived."""
        run = self.last_run(name)
        assert run.revision == commit, f"the last run is of {run.revision}"
        assert run.received is not None
        return run.received

    def settled(self, heads: Mapping[str, str]) -> bool:
        """Is every application at the head (repository -> commit of main) of its source, and is nothing left to do?"""
        return asyncio.run(self._settled(heads))

    async def _settled(self, heads: Mapping[str, str]) -> bool:
        async with connect_async(self.environment["REDIS_URL"], connect_seconds=5) as redis:
            pipeline = redis.pipeline(transaction=False)
            for name in heads:
                key = f"windlass:source:{source_id(name, 'refs/heads/main')}"
                pipeline.hmget(key, "processed", "gen", "done")
                pipeline.scard(f"{key}:dirty")
            answers = await pipeline.execute()
        rows = zip(heads.values(), answers[::2], answers[1::2], strict=True)
        return all(
            processed == head.encode() and generation == done and not dirty
            for head, (processed, generation, done), dirty in rows
        )

    async def _state(self, name: str) -> ApplicationState:
        async with connect_async(self.environment["REDIS_URL"], connect_seconds=5) as redis:
            return await read_state(redis, name)

    def log(self, name: str = "") -> str:
        """What the processes have logged so far."""
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"{name}*.log")))

    def stop(self) -> None:
        _end([self.service, *self.workers])
        for log in self._logs:
            log.close()
        self._logs.clear()

    def stop_workers(self) -> None:
        """The service stays."""
        _end(self.workers)

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{arguments[0]}-{len(self._logs)}.log").open("ab")
        self._logs.append(log)
        return subprocess.Popen(
            [self.python, "-m", "windlass.cli", *arguments],
            env={**self.environment, **self.settings.get(arguments[0], {})},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def _ready(self, process: subprocess.Popen[bytes], timeout: float = 20) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=1):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        raise RuntimeError(f"the service did not become ready:\n{self.log('service')[-4000:]}")


def _end(processes: Sequence[subprocess.Popen[bytes] | None]) -> None:
    running = [process for process in processes if process is not None and process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Dashboard:
    """rq-dashboard on an installation's queue."""

    def __init__(self, windlass: Windlass, *options: str) -> None:
        self._windlass, self._options, self.port = windlass, options, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Dashboard:
        self._process = self._windlass.spawn("dashboard", "--port", str(self.port), *self._options)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
