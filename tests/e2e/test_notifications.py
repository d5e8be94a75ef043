"""A push, told: by the real worker and watcher, to a receiver that is down at first."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.process import free_port
from tests.parts.waiting import until
from tests.parts.windlass import API_VERSION, application, cluster, repository

pytestmark = pytest.mark.e2e

KEY = "the key of the signatures"


class Receiver:
    """Takes what is posted, once it is started."""

    def __init__(self) -> None:
        self.port, self.got = free_port(), list[dict[str, Any]]()
        self._server: http.server.ThreadingHTTPServer | None = None

    def start(self) -> None:
        got = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                digest = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
                if self.headers["X-Windlass-Signature"] == f"sha256={digest}":
                    got.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Not on the tests' output."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def events(self, revision: str = "") -> list[str]:
        return sorted(one["event"] for one in self.got if not revision or one.get("revision") == revision)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_a_push_is_told_from_its_start_until_it_is_healthy_and_what_drifts(
    world: World, receiver: Receiver, control_plane: ControlPlane
) -> None:
    (world.windlass.folder / "url").write_text(f"http://127.0.0.1:{receiver.port}/hook\n")
    (world.windlass.folder / "key").write_text(f"{KEY}\n")
    hook = {
        "url": {"file": str(world.windlass.folder / "url")},
        "key": {"file": str(world.windlass.folder / "key")},
        "private": True,
    }
    spec = {"to": {"webhook": hook}, "events": ["started", "applied", "healthy", "failed", "drift"]}
    app = application(world.name, repository=world.name, path="manifests", namespace=world.name)
    app["spec"]["sync"] = {"selfHeal": False}  # type: ignore[index]
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        app,
        {"apiVersion": API_VERSION, "kind": "Notification", "metadata": {"name": "ops"}, "spec": spec},
    )
    until(lambda: world.windlass.log("worker").count('"event":"documents.loaded"') >= 2)

    world.push({"manifests/b.yaml": config_map("b", "1")})
    pushed = world.work.head
    until(
        lambda: "notification.failed" in world.windlass.log("worker"), show=lambda: world.windlass.log("worker")[-3000:]
    )
    receiver.start()
    wanted = ["applied", "healthy", "started"]
    until(
        lambda: receiver.events(pushed) == wanted, show=lambda: f"{receiver.got} {world.windlass.log('worker')[-3000:]}"
    )

    path = f"/api/v1/namespaces/{world.name}/configmaps/b?fieldManager=kubectl-edit"
    control_plane.request("PATCH", path, {"data": {"value": "by hand"}}, content_type="application/merge-patch+json")
    until(lambda: "drift" in receiver.events(), show=lambda: world.windlass.log("worker")[-3000:])
    shown = world.windlass.run("notifications")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[1].split()[:2] == ["ops", "webhook"]
    assert str(receiver.port) not in world.windlass.log("worker")

    world.push({"manifests/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: C}\n"})
    until(lambda: "failed" in receiver.events(world.work.head), show=lambda: str(receiver.got))
