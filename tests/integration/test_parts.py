"""The parts themselves: that they are the pinned ones, that they serve, and that one which cannot start says why.

A failure here explains a failure anywhere else, so these tests use nothing of Windlass.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import redis

from tests.parts import build
from tests.parts.control_plane import ControlPlane
from tests.parts.git import WorkTree, git
from tests.parts.git_http import GitHttp
from tests.parts.gitea import Gitea
from tests.parts.process import Part, answers, free_port
from tests.parts.redis_server import RedisServer

pytestmark = pytest.mark.integration

SECRET = "a-secret-of-this-test"


class Delivery(NamedTuple):
    """A webhook as it arrived."""

    headers: dict[str, str]
    body: bytes


def until(holds: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


@pytest.fixture
def receiver() -> Iterator[tuple[str, queue.Queue[Delivery]]]:
    """An HTTP server that keeps what is posted to it."""
    deliveries: queue.Queue[Delivery] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            deliveries.put(Delivery(dict(self.headers.items()), body))
            self.send_response(202)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", deliveries
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("part", "arguments", "version"),
    [
        ("etcd", ["--version"], "etcd Version: 3.6.5"),
        ("kube-apiserver", ["--version"], "Kubernetes v1.36.3"),
        ("kube-controller-manager", ["--version"], "Kubernetes v1.36.3"),
        ("kube-scheduler", ["--version"], "Kubernetes v1.36.3"),
        ("kwok", ["--version"], "v0.8.0"),
        ("helm", ["version", "--short"], "v3.22.0"),
        ("kustomize", ["version"], "v5.8.2"),
        ("sops", ["--disable-version-check", "--version"], "3.13.3"),
    ],
)
def test_a_program_is_the_pinned_one(part: str, arguments: list[str], version: str) -> None:
    said = subprocess.run([build.binary(part), *arguments], capture_output=True, text=True, check=True)
    assert version in said.stdout


def test_the_api_server_and_the_forge_are_the_pinned_ones(control_plane: ControlPlane, gitea: Gitea) -> None:
    assert control_plane.request("GET", "/version")["gitVersion"] == "v1.36.3"
    assert gitea.api("GET", "/version") == {"version": "1.26.0"}


def test_a_program_once_built_needs_no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build.binary("kustomize")
    monkeypatch.setenv("PATH", "")
    assert build.binary("kustomize") == built
    assert subprocess.run([built, "version"], check=False, capture_output=True).returncode == 0


def test_a_deployment_becomes_ready(control_plane: ControlPlane, unique: str) -> None:
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
    deployments = f"/apis/apps/v1/namespaces/{unique}/deployments"
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    control_plane.request("POST", deployments, {"metadata": {"name": "web"}, "spec": spec})

    def ready() -> bool:
        found: Any = control_plane.request("GET", f"{deployments}/web")
        return bool(found["status"].get("readyReplicas") == 2)

    until(ready, "a Deployment of two pods on kwok's nodes", seconds=60)

    control_plane.request("DELETE", f"/api/v1/namespaces/{unique}")

    def gone() -> bool:
        try:
            control_plane.request("GET", f"/api/v1/namespaces/{unique}")
        except urllib.error.HTTPError as error:
            return error.code == 404
        return False

    until(gone, "the namespace with its pods deleted", seconds=60)


def test_the_audit_log_counts_requests(control_plane: ControlPlane, unique: str) -> None:
    path = f"/api/v1/namespaces/default/configmaps/{unique}"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        control_plane.request("GET", path)

    def seen() -> bool:
        return sum(event["requestURI"] == path for event in control_plane.audited(verbs=("get",))) == 1

    until(seen, "the one request in the audit log", seconds=5)


def test_the_api_server_goes_and_comes_back_with_what_it_held(tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "plane") as plane:
        config_maps = "/api/v1/namespaces/default/configmaps"
        plane.request("POST", config_maps, {"metadata": {"name": "kept"}, "data": {"a": "1"}})
        plane.stop_apiserver()
        with pytest.raises(urllib.error.URLError, match="refused"):
            plane.request("GET", f"{config_maps}/kept")
        plane.start_apiserver()
        assert plane.request("GET", f"{config_maps}/kept")["data"] == {"a": "1"}


def test_the_forge_signs_what_it_delivers(
    gitea: Gitea, receiver: tuple[str, queue.Queue[Delivery]], unique: str, tmp_path: Path
) -> None:
    url, deliveries = receiver
    repository = gitea.create_repository(unique)
    gitea.create_webhook(unique, url, SECRET)
    work = WorkTree(tmp_path / "work", repository.push_url)
    commit = work.commit_and_push({"a.yaml": "a: 1\n"})

    delivery = deliveries.get(timeout=20)
    expected = hmac.new(SECRET.encode(), delivery.body, hashlib.sha256).hexdigest()
    assert delivery.headers["X-Gitea-Signature"] == expected
    assert delivery.headers["X-Gitea-Event"] == "push"
    assert commit.encode() in delivery.body


def test_a_pull_request_is_merged_and_a_status_kept(gitea: Gitea, unique: str, tmp_path: Path) -> None:
    repository = gitea.create_repository(unique, private=True)
    work = WorkTree(tmp_path / "work", repository.push_url)
    work.commit_and_push({"a.yaml": "a: 1\n"})
    work.git("switch", "-q", "-c", "change")
    head = work.commit({"a.yaml": "a: 2\n"})
    work.push(ref="change")
    number = gitea.create_pull_request(unique, "change", "Change a")
    until(
        lambda: bool(
            gitea.api("GET", f"/repos/{repository.push_url.split('/')[-2]}/{unique}/pulls/{number}")["mergeable"]
        ),
        "the pull request mergeable",
    )
    gitea.merge(unique, number)
    assert gitea.statuses(unique, head) == []
    assert head in git("rev-list", "FETCH_HEAD", cwd=_fetched(work, "main"))
    with pytest.raises(RuntimeError, match="could not read Username"):
        git("ls-remote", repository.clone_url)


def _fetched(work: WorkTree, branch: str) -> Path:
    work.git("fetch", "-q", "origin", branch)
    return work.path


def test_git_over_http_speaks_version_2_and_asks_for_its_password(git_http: GitHttp, tmp_path: Path) -> None:
    url = git_http.create("shop")
    commit = git_http.work_tree("shop", tmp_path / "work").commit_and_push({"a.yaml": "a: 1\n"})
    assert git("ls-remote", url, "refs/heads/main").split() == [commit, "refs/heads/main"]
    assert any(headers.get("Git-Protocol") == "version=2" for _, _, headers in git_http.requests)

    git_http.password = "open"
    with pytest.raises(RuntimeError, match="could not read Username"):
        git("ls-remote", url)
    assert commit in git("ls-remote", url.replace("://", "://anyone:open@"))


def test_redis_loses_all_when_killed_and_comes_back_on_its_port(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        with redis.Redis.from_url(server.url) as connection:
            connection.set("a", "1")
            assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        server.kill()
        with redis.Redis.from_url(server.url) as connection, pytest.raises(redis.ConnectionError):
            connection.ping()
        url = server.url
        server.start()
        assert server.url == url
        with redis.Redis.from_url(url) as connection:
            assert connection.get("a") is None


def test_a_part_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys; print('the port is taken', file=sys.stderr); sys.exit(3)"]
    part = Part("broken", program, tmp_path / "broken.log")
    with pytest.raises(RuntimeError, match=r"(?s)broken ended with status 3.*the port is taken"):
        part.wait_ready(lambda: False, seconds=10)


def test_a_part_that_never_answers_is_ended_and_shows_its_log(tmp_path: Path) -> None:
    program = [sys.executable, "-u", "-c", "import time; print('still thinking'); time.sleep(600)"]
    part = Part("slow", program, tmp_path / "slow.log")
    with pytest.raises(RuntimeError, match=r"(?s)slow was not ready in 1 s.*still thinking"):
        part.wait_ready(answers(free_port()), seconds=1)
    assert not psutil.pid_exists(part.pid)


def test_a_part_ends_with_the_run_that_started_it(tmp_path: Path) -> None:
    """Even kill -9 of the run leaves nothing behind."""
    run = tmp_path / "run.py"
    run.write_text(
        textwrap.dedent("""
            import pathlib, sys, time
            from tests.parts.redis_server import RedisServer
            server = RedisServer(pathlib.Path(sys.argv[1])).start()
            print(server.port, flush=True)
            time.sleep(600)
        """)
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(run), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert answers(port)()
        process.send_signal(signal.SIGKILL)
    with pytest.raises(ConnectionRefusedError):
        until(lambda: not answers(port)(), "Redis gone", seconds=5)


def test_a_build_that_fails_says_what_go_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go" / "broken").mkdir(parents=True)
    (tmp_path / "go" / "broken" / "go.mod").write_text("module parts/broken\n\ngo 1.26.0\n")
    (tmp_path / "go" / "broken" / "go.sum").write_text("")
    (tmp_path / "go" / "broken" / "main.go").write_text("package main\n\nfunc main() { wrong }\n")
    monkeypatch.setattr(build, "MODULES", tmp_path / "go")
    monkeypatch.setitem(build.PARTS, "broken", build.Part("broken", ".", 1))
    monkeypatch.setenv("WINDLASS_PARTS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RuntimeError, match="undefined: wrong"):
        build.binary("broken")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(("broken-", ".broken-"))]
