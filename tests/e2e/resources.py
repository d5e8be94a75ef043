"""A whole system that follows custom resources: a team's namespace, Windlass' own, and processes that read both."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis as redis_client

from tests.e2e.world import config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.git_http import GitHttp
from tests.parts.redis_server import RedisServer
from tests.parts.resources import place, resource
from tests.parts.windlass import Windlass, cluster
from windlass.state import ApplicationState, read_state

RBAC = "/apis/rbac.authorization.k8s.io/v1"
KEY = "a key that all processes of the test share"
SECRET = "what the team's forge signs with"


class Team:
    """One repository, Windlass on a control plane, and the namespace of a team that writes resources."""

    def __init__(self, folder: Path, name: str, plane: ControlPlane) -> None:
        self.plane, self.name, self.own = plane, name, f"{name}-own"
        self.redis = RedisServer(folder)
        self.git = GitHttp(folder / "git")
        self.url = self.git.create(name)
        self.work = self.git.work_tree(name, folder / "work")
        self.windlass = Windlass(
            folder / "windlass",
            self.redis.url,
            WINDLASS_KEY=KEY,
            WINDLASS_RESOURCES=f"{name},{self.own}",
            WINDLASS_RESOURCES_NAMESPACE=self.own,
            WINDLASS_RESOURCES_KUBECONFIG=str(plane.kubeconfig),
        )
        self.windlass.write(cluster("local", plane.kubeconfig, namespace=self.own))

    def known_as(self, name: str) -> str:
        """What Windlass calls the team's application."""
        return f"{self.name}--{name}"

    def start(self) -> None:
        for namespace in (self.name, self.own):
            self.plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        self.give_account()
        self.redis.start()
        self.git.__enter__()
        self.work.commit_and_push({"manifests/a.yaml": config_map("a", "1")})

    def stop(self) -> None:
        self.windlass.stop()
        self.git.__exit__()
        self.redis.stop()
        for kind in ("Application", "Repository"):
            for namespace in (self.name, self.own):
                found: Any = self.plane.request("GET", place(namespace, kind))
                for item in found["items"]:
                    self.let_go(kind, item["metadata"]["name"], namespace)
        for namespace in (self.name, self.own):
            if self.get(f"/api/v1/namespaces/{namespace}") is not None:
                self.plane.request("DELETE", f"/api/v1/namespaces/{namespace}")

    def let_go(self, kind: str, name: str, namespace: str) -> None:
        """No test leaves a namespace that can't end."""
        self.merge(kind, name, {"metadata": {"finalizers": []}}, namespace=namespace)

    def give_account(self) -> None:
        """A ServiceAccount of the team's that may do everything in its namespace, and nothing elsewhere."""
        self.plane.request(
            "POST", f"/api/v1/namespaces/{self.name}/serviceaccounts", {"metadata": {"name": "deployer"}}
        )
        group = {"apiVersion": "rbac.authorization.k8s.io/v1"}
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        path = f"{RBAC}/namespaces/{self.name}"
        self.plane.request("POST", f"{path}/roles", {**group, "metadata": {"name": "deployer"}, "rules": rules})
        binding = {
            **group,
            "metadata": {"name": "deployer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": self.name}],
        }
        self.plane.request("POST", f"{path}/rolebindings", binding)

    # -- resources ------------------------------------------------------------------------------------------------

    def create(self, kind: str, name: str, spec: dict[str, Any], *, namespace: str = "", **metadata: Any) -> Any:
        path = f"{place(namespace or self.name, kind)}?fieldValidation=Strict"
        return self.plane.request("POST", path, resource(kind, name, spec, **metadata))

    def create_secret(self, value: str = SECRET) -> None:
        body = {"metadata": {"name": "git"}, "stringData": {"webhook": value}}
        self.plane.request("POST", f"/api/v1/namespaces/{self.name}/secrets", body)

    def create_repository(self) -> None:
        secret = {"secret": {"name": "git", "key": "webhook"}}
        self.create("Repository", "web", {"url": self.url, "forge": "generic", "webhook": {"secrets": [secret]}})

    def create_application(
        self, name: str = "shop", *, path: str = "manifests", namespace: str = "", **spec: Any
    ) -> None:
        content = {
            "sources": [{"repository": "web", "branch": "main", "path": path}],
            "destination": {"cluster": "local", "serviceAccount": "deployer"},
            **spec,
        }
        self.create("Application", name, content, namespace=namespace)

    def merge(self, kind: str, name: str, patch: dict[str, Any], *, namespace: str = "") -> Any:
        path = place(namespace or self.name, kind, name)
        return self.plane.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        self.plane.request("DELETE", place(namespace or self.name, kind, name))

    def get(self, path: str) -> Any:
        """An object; None if there is none."""
        try:
            return self.plane.request("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def found(self, kind: str, name: str, *, namespace: str = "") -> Any:
        return self.get(place(namespace or self.name, kind, name))

    def status(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        found = self.found(kind, name, namespace=namespace)
        return (found or {}).get("status") or {}

    def condition(self, kind: str, name: str, which: str = "Ready", *, namespace: str = "") -> dict[str, Any]:
        """A condition that is about the resource as it is now; {} before somebody has said it."""
        found = self.found(kind, name, namespace=namespace) or {}
        known = (found.get("status") or {}).get("conditions") or ()
        generation = (found.get("metadata") or {}).get("generation")
        return next((one for one in known if one["type"] == which and one["observedGeneration"] == generation), {})

    def value(self, name: str, *, namespace: str = "") -> str | None:
        found = self.get(f"/api/v1/namespaces/{namespace or self.name}/configmaps/{name}")
        return found["data"]["value"] if found else None

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, true: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """What is true at last."""
        deadline = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < deadline, f"{what}:\n{self.windlass.log()[-6000:]}"
            time.sleep(0.1)
        return found

    def wait_ready(self, kind: str = "Application", name: str = "shop", *, ready: str = "True") -> dict[str, Any]:
        said = self.wait(
            lambda: (one := self.condition(kind, name)).get("status") == ready and one, f"{kind} {name} was not {ready}"
        )
        assert isinstance(said, dict)
        return said

    def push(self, files: dict[str, str | bytes | None], *, secret: str = SECRET) -> int:
        """Commit, push, and tell Windlass as the forge would; the answer's status."""
        commit = self.work.commit_and_push(files)
        body = json.dumps({"repository": self.url, "updates": [{"ref": "refs/heads/main", "after": commit}]}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(f"{self.windlass.url}/webhooks/{self.name}--web", data=body)
        request.add_header("X-Windlass-Signature", f"sha256={signature}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def state(self, name: str) -> ApplicationState:
        async def read() -> ApplicationState:
            async with redis_client.asyncio.Redis.from_url(self.redis.url) as connection:
                return await read_state(connection, name)

        return asyncio.run(read())
