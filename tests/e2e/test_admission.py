"""A mutating webhook on the way into the cluster: what it adds stays, what it overrules is no endless fight."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import World, config_map
from tests.parts import certificates
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until

pytestmark = pytest.mark.e2e

PATCH = [
    {"op": "add", "path": "/data/injected", "value": "by the webhook"},
    {"op": "replace", "path": "/data/value", "value": "overruled"},
]
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class Webhook(http.server.BaseHTTPRequestHandler):
    """Answers every review with the patch; says how often it was asked."""

    asked = 0

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += 1
        patch = base64.b64encode(json.dumps(PATCH).encode()).decode()
        response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        body = json.dumps({**review, "request": None, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def admission(world: World, control_plane: ControlPlane, tmp_path: Path) -> Iterator[type[Webhook]]:
    """The webhook, asked about the ConfigMaps of the world's namespace whose name begins with ``mutated``."""
    ca = certificates.authority()
    pair = certificates.issue(ca, "webhook", server=True)
    (tmp_path / "pair.pem").write_bytes(pair.certificate_pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    webhook: dict[str, Any] = {
        "name": "mutated.windlass.example",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_address[1]}/",
            "caBundle": base64.b64encode(ca.certificate_pem).decode(),
        },
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.name}},
        "matchConditions": [{"name": "mutated", "expression": "object.metadata.name.startsWith('mutated')"}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    body = {"kind": "MutatingWebhookConfiguration", "metadata": {"name": world.name}, "webhooks": [webhook]}
    control_plane.request("POST", CONFIGURATIONS, {"apiVersion": "admissionregistration.k8s.io/v1", **body})
    Webhook.asked = 0
    try:
        yield Webhook
    finally:
        control_plane.request("DELETE", f"{CONFIGURATIONS}/{world.name}")
        server.shutdown()
        server.server_close()


def test_what_a_webhook_changes_is_no_fight(world: World, admission: type[Webhook]) -> None:
    def called() -> bool:
        """The API server heeds a new configuration only after a moment."""
        name = f"mutated-{time.monotonic_ns()}"
        assert world.push({"manifests/probe.yaml": config_map(name, "git")}).phase == "Synced"
        return world.value(name) == "overruled"

    until(called)
    run = world.push({"manifests/probe.yaml": None, "manifests/mutated.yaml": config_map("mutated", "git")})
    assert (run.phase, run.errors) == ("Synced", [])
    data = (world.cluster.get(f"/api/v1/namespaces/{world.name}/configmaps/mutated") or {})["data"]
    assert data == {"value": "overruled", "injected": "by the webhook"}
    time.sleep(2)
    asked = admission.asked
    time.sleep(3)
    assert admission.asked == asked, "an overruled value was written again and again"
    world.push({"manifests/a.yaml": config_map("a", "2")})
    assert (world.value("a"), admission.asked) == ("2", asked)
