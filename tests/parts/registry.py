"""An image registry of our own: Debian's `docker-registry` (CNCF Distribution), and images pushed to it without a builder."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tests.parts.process import Part, answers, free_port

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


USER, PASSWORD = "ci", "the word of ci"
_HTPASSWD = f"{USER}:$2b$04$wDbspRAudo5I.OOLZdpM6eSTFNyO64nhxnfNAaMLTXe/FsFxkDWrS\n"


def with_password(folder: Path) -> dict[str, Any]:
    """The section ``auth`` of a registry that USER may use with PASSWORD, and nobody else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    return {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}


def auth_file(folder: Path, host: str, password: str = PASSWORD) -> Path:
    """A file as `docker login` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    return folder / "config.json"


def _endpoint(url: str, authorization: str) -> dict[str, Any]:
    headers = {"Authorization": [authorization]}
    return {"name": "windlass", "url": url, "headers": headers, "timeout": "5s", "threshold": 5, "backoff": "200ms"}


class Registry:
    """A registry on a free loopback port. ``auth``: its configuration's own section, none for one that is open to everybody;
    ``tells``: the address that its notifications go to, and the Authorization that they carry."""

    def __init__(
        self, folder: Path, *, auth: Mapping[str, Any] | None = None, tells: tuple[str, str] | None = None
    ) -> None:
        self.folder, self.port, self._auth, self._tells = folder, free_port(), auth, tells
        self.headers: dict[str, str] = {}  # with which images are pushed
        self._part: Part | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def log(self) -> str:
        return (self.folder / "registry.log").read_text()

    def start(self) -> Registry:
        config = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "images")}, "delete": {"enabled": True}},
            "http": {"addr": self.host, "secret": "a secret of the tests"},
            **({"auth": dict(self._auth)} if self._auth else {}),
            **({"notifications": {"endpoints": [_endpoint(*self._tells)]}} if self._tells else {}),
        }
        (self.folder / "config.yml").write_text(yaml.safe_dump(config))
        command = ["docker-registry", "serve", str(self.folder / "config.yml")]
        self._part = Part("docker-registry", command, self.folder / "registry.log")
        self._part.wait_ready(answers(self.port))
        return self

    def stop(self) -> None:
        if self._part is not None:
            self._part.stop()

    def __enter__(self) -> Registry:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def login(self, username: str, password: str) -> None:
        """Push with these from now on."""
        self.headers["Authorization"] = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"

    def push(
        self, name: str, tag: str, *, created: datetime | None = None, labels: Mapping[str, str] | None = None
    ) -> str:
        """Push an image without layers; its digest."""
        made = {"created": (created or datetime.now(UTC)).isoformat()}
        config = json.dumps(
            {**made, "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
             "config": {"Labels": dict(labels or {}), "Env": [f"TAG={tag}"]}}
        ).encode()  # fmt: skip
        described = {"mediaType": OCI_CONFIG, "digest": self.blob(name, config), "size": len(config)}
        return self.manifest(
            name, tag, {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": []}
        )

    def blob(self, name: str, content: bytes) -> str:
        """Upload a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self._call("POST", f"{self.url}/v2/{name}/blobs/uploads/", b"")["Location"]
        self._call("PUT", f"{location}&digest={digest}", content, "application/octet-stream")
        return digest

    def manifest(self, name: str, tag: str, manifest: Mapping[str, Any]) -> str:
        """Put a manifest; its digest."""
        content = json.dumps(manifest).encode()
        self._call("PUT", f"{self.url}/v2/{name}/manifests/{tag}", content, manifest["mediaType"])
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def requests(self, method: str = "") -> list[str]:
        """What it was asked, as its log has it: METHOD PATH STATUS."""
        found = []
        for line in self.log.splitlines():
            if '"' in line and ' HTTP/1.1" ' in line and not line.startswith("time="):
                asked, _, rest = line.partition('"')[2].partition(' HTTP/1.1" ')
                found.append(f"{asked} {rest.split(' ')[0]}")
        return [line for line in found if line.startswith(method)]

    def _call(self, method: str, url: str, body: bytes, kind: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind, **self.headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.headers
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {url}: {error.code} {error.read()[:500]!r}") from None
