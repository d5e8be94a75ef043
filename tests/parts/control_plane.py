"""A Kubernetes control plane: etcd, kube-apiserver, controller-manager; with nodes, also the scheduler and kwok's."""

from __future__ import annotations

import base64
import email.message
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.parts import build, certificates
from tests.parts.process import Part, answers, free_port

AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlane:
    """One control plane on free loopback ports; ``kubeconfig`` is an administrator's."""

    def __init__(self, folder: Path, *, nodes: int = 0) -> None:
        self.folder, self._nodes = folder, nodes
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self._etcd_port, self._peer_port = free_port(), free_port(), free_port()
        self.kubeconfig = folder / "kubeconfig"
        self.audit_log = folder / "audit.log"
        self._parts: dict[str, Part] = {}

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> ControlPlane:
        self._write_credentials()
        self._start_etcd()
        self.start_apiserver()
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.folder}/sa.key",
            f"--root-ca-file={self.folder}/ca.crt",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
        )
        if self._nodes:
            self._start_nodes()
        return self

    def start_apiserver(self) -> None:
        """Start the API server; on the same port as before, if it was stopped."""
        part = self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={self.folder}/server.crt",
            f"--tls-private-key-file={self.folder}/server.key",
            f"--client-ca-file={self.folder}/ca.crt",
            f"--service-account-key-file={self.folder}/sa.key",
            f"--service-account-signing-key-file={self.folder}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            f"--audit-policy-file={self.folder}/audit.yaml",
            f"--audit-log-path={self.audit_log}",
        )
        part.wait_ready(self._serves)

    def stop_apiserver(self) -> None:
        self._parts.pop("kube-apiserver").kill()

    def forget_history(self) -> None:
        """Compact etcd: whoever asks for changes since an earlier moment is told 410 by a server that has no cache of them."""
        revision = self._etcd("range", {"key": "AA=="})["header"]["revision"]
        self._etcd("compaction", {"revision": revision, "physical": True})

    def _etcd(self, path: str, body: dict[str, object]) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._etcd_port}/v3/kv/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def audited(self, *, user_agent: str = "", verbs: tuple[str, ...] = ()) -> list[dict[str, object]]:
        """The requests so far, from the API server's own audit log."""
        events = [json.loads(line) for line in self.audit_log.read_text().splitlines()]
        return [
            event
            for event in events
            if user_agent in event.get("userAgent", "") and (not verbs or event["verb"] in verbs)
        ]

    def stop(self) -> None:
        for part in reversed(list(self._parts.values())):
            part.stop()
        self._parts.clear()

    def __enter__(self) -> ControlPlane:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, name: str, *arguments: str) -> Part:
        part = Part(name, [build.binary(name), *arguments], self.folder / f"{name}.log")
        self._parts[name] = part
        return part

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        part = self._run(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )
        part.wait_ready(answers(self._etcd_port))

    def _start_nodes(self) -> None:
        self._run(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
        )
        stages = build.data("kwok") / "kustomize" / "stage"
        files = [*sorted((stages / "pod/fast").glob("pod-*.yaml")), *sorted((stages / "node/fast").glob("node-*.yaml"))]
        files += sorted((stages / "node/heartbeat").glob("node-*.yaml"))
        self._run(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--server-address=127.0.0.1:0",
            *(f"--config={file}" for file in files),
        )
        for number in range(self._nodes):
            self._create_node(f"node-{number}")

    def _create_node(self, name: str) -> None:
        capacity = {"cpu": "32", "memory": "256Gi", "pods": "500"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"type": "kwok"}},
            "status": {"allocatable": capacity, "capacity": capacity},
        }
        self.request("POST", "/api/v1/nodes", node)

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> dict[str, object]:
        """One call as the administrator.

        :raises urllib.error.HTTPError: the server refused it.
        """
        return self._call(method, path, body, content_type)[0]

    def warnings(self, path: str, body: object) -> list[str]:
        """What the API server would say of an object, were it created: a dry run.

        :raises urllib.error.HTTPError: the server would refuse it.
        """
        return self._call("POST", f"{path}?dryRun=All", body, "application/json")[1].get_all("Warning") or []

    def table(self, path: str) -> dict[str, object]:
        """A list as kubectl shows it."""
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        return self._call("GET", path, None, "application/json", accept=table)[0]

    def _call(
        self, method: str, path: str, body: object, content_type: str, *, accept: str = "application/json"
    ) -> tuple[dict[str, object], email.message.Message]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.server}{path}", data=data, method=method)
        request.add_header("Content-Type", content_type)
        request.add_header("Accept", accept)
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return json.loads(answer.read()), answer.headers

    def _serves(self) -> bool:
        try:
            self.request("GET", "/api/v1/namespaces/default")
        except urllib.error.HTTPError:
            return False
        return True

    def _write_credentials(self) -> None:
        ca = certificates.authority()
        server = certificates.issue(ca, "kube-apiserver", server=True)
        admin = certificates.issue(ca, "admin", group="system:masters")
        files = {
            "ca.crt": ca.certificate_pem,
            "server.crt": server.certificate_pem,
            "server.key": server.key_pem,
            "admin.crt": admin.certificate_pem,
            "admin.key": admin.key_pem,
            "sa.key": certificates.rsa_key(),
            "audit.yaml": yaml.safe_dump(AUDIT).encode(),
            "kubeconfig": yaml.safe_dump(_kubeconfig(self.server, ca, admin)).encode(),
        }
        for name, content in files.items():
            path = self.folder / name
            path.write_bytes(content)
            path.chmod(0o600)


def _kubeconfig(server: str, ca: certificates.Pair, admin: certificates.Pair) -> dict[str, object]:
    def text(content: bytes) -> str:
        return base64.b64encode(content).decode()

    cluster = {"server": server, "certificate-authority-data": text(ca.certificate_pem)}
    user = {"client-certificate-data": text(admin.certificate_pem), "client-key-data": text(admin.key_pem)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "parts", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "parts", "context": {"cluster": "parts", "user": "admin"}}],
        "current-context": "parts",
    }
