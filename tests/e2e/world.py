"""One repository, one application, one namespace: the smallest whole that a push goes through."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import redis as redis_client

from tests.parts.cluster import Cluster
from tests.parts.git_http import GitHttp
from tests.parts.redis_server import RedisServer
from tests.parts.windlass import Windlass, application, cluster, repository
from windlass.state import RunRecord, read_history


def config_map(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: {json.dumps(value)}\n"


class World:
    """One repository, one application, one namespace."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path) -> None:
        self.name, self.kubeconfig = name, kubeconfig
        self.redis = RedisServer(folder)
        self.git = GitHttp(folder / "git")
        self.cluster = Cluster(folder, str(kubeconfig), nodes=0)
        self.url = self.git.create(name)
        self.work = self.git.work_tree(name, folder / "work")
        self.windlass = Windlass(folder / "windlass", self.redis.url)
        self.windlass.write(
            repository(name, self.url, forge="generic"),
            cluster("local", kubeconfig),
            application(name, repository=name, path="manifests", namespace=name),
        )

    def start(self) -> None:
        self.redis.start()
        self.git.__enter__()
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {self.name}\n"
        self.work.commit_and_push({"manifests/namespace.yaml": namespace, "manifests/a.yaml": config_map("a", "1")})
        self.windlass.start()
        self.applied(self.work.head)

    def stop(self) -> None:
        self.windlass.stop()
        self.git.__exit__()
        self.redis.stop()

    def push(self, files: dict[str, str | bytes | None], *, wait: bool = True) -> RunRecord:
        """Commit, push, and tell Windlass as a forge would; the run that it led to."""
        commit = self.work.commit_and_push(files)
        self.deliver(commit)
        return self.applied(commit) if wait else self.windlass.last_run(self.name)

    def deliver(self, commit: str) -> tuple[int, dict[str, Any]]:
        """The webhook, sent again for as long as nobody takes it."""
        body = json.dumps({"repository": self.url, "updates": [{"ref": "refs/heads/main", "after": commit}]}).encode()
        signature = hmac.new(self.windlass.secret.encode(), body, hashlib.sha256).hexdigest()
        for _ in range(100):
            request = urllib.request.Request(f"{self.windlass.url}/webhooks/{self.name}", data=body)
            request.add_header("X-Windlass-Signature", f"sha256={signature}")
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, json.loads(answer.read())
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise AssertionError("nobody took the delivery")

    def applied(self, commit: str, seconds: float = 30) -> RunRecord:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.windlass.last_run(self.name)
            if run.revision == commit and run.phase != "Superseded":
                return run
            time.sleep(0.02)
        raise AssertionError(f"{commit} was not applied:\n{self.windlass.log('worker')[-4000:]}")

    def applied_completely(self, commit: str, seconds: float = 30) -> None:
        """Wait until everything of ``commit`` is applied, whatever it took."""
        deadline = time.monotonic() + seconds
        while self.windlass.revision(self.name) != commit:
            assert time.monotonic() < deadline, self.windlass.log("worker")[-4000:]
            time.sleep(0.05)

    def value(self, name: str) -> str | None:
        found = self.cluster.get(f"/api/v1/namespaces/{self.name}/configmaps/{name}")
        return found["data"]["value"] if found else None

    def runs(self) -> list[RunRecord]:
        async def read() -> list[RunRecord]:
            async with redis_client.asyncio.Redis.from_url(self.redis.url) as connection:
                return await read_history(connection, self.name)

        return asyncio.run(read())
