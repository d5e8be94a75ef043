"""The cluster that has the custom resources, as far as every process asks it: for the Secrets that they name, one by one.

A thin client, since the service has no other: the pod's own account, or a kubeconfig that holds its credentials (no plugins).
What must hold: a Secret's values stay in memory, and only the keys that a document names; neither a token nor a value is in a
message; a redirect, which would carry the token elsewhere, is not followed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import orjson
import yaml

from windlass.errors import TransientError, WindlassError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0
"""A token in a file is read again after this time."""
SECONDS = 10.0
CONNECTIONS = 8


class Access(NamedTuple):
    """How to ask: ``token_file`` is read anew, ``token`` is not; certificate and key are PEM."""

    server: str
    ca: str = ""
    token: str = ""
    token_file: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True


def in_cluster() -> Access:
    """As a pod's ServiceAccount (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).

    :raises WindlassError: this is no pod, or it has no token.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        ca = (SERVICE_ACCOUNT / "ca.crt").read_text()
    except OSError as error:
        raise WindlassError(f"custom resources: {SERVICE_ACCOUNT}/ca.crt: {error.strerror}") from None
    if not host:
        raise WindlassError("custom resources: not in a cluster, and WINDLASS_RESOURCES_KUBECONFIG is not set")
    host = f"[{host}]" if ":" in host else host
    return Access(f"https://{host}:{port}", ca, token_file=str(SERVICE_ACCOUNT / "token"))


def from_kubeconfig(path: Path) -> Access:
    """The current context's access; its credentials are a token or a certificate.

    :raises WindlassError: it can't be read, or says it in another way.
    """
    try:
        content = yaml.safe_load(path.read_text())
        contexts = {one["name"]: one["context"] for one in content["contexts"]}
        context = contexts[content["current-context"]]
        cluster = {one["name"]: one["cluster"] for one in content["clusters"]}[context["cluster"]]
        user = {one["name"]: one["user"] for one in content["users"]}[context["user"]]
        found = Access(
            str(cluster["server"]).rstrip("/"),
            _pem(path, cluster, "certificate-authority"),
            str(user.get("token") or ""),
            str(path.parent / user["tokenFile"]) if user.get("tokenFile") else "",
            _pem(path, user, "client-certificate"),
            _pem(path, user, "client-key"),
            not cluster.get("insecure-skip-tls-verify"),
        )
    except OSError as error:
        raise WindlassError(f"{path}: {error.filename}: {error.strerror}") from None
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise WindlassError(f"{path}: not a kubeconfig: {type(error).__name__}") from None
    if not (found.token or found.token_file or found.certificate):
        raise WindlassError(f"{path}: expected a user with a token or a client certificate; plugins are not run here")
    return found


def _pem(path: Path, holder: dict[str, Any], field: str) -> str:
    """A certificate or key, in the file itself or in one beside it."""
    if data := holder.get(f"{field}-data"):
        try:
            return base64.b64decode(data).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise WindlassError(f"{path}: {field}-data: expected base64") from None
    return (path.parent / holder[field]).read_text() if holder.get(field) else ""


class Home:
    """Asks the API server of the cluster that has the custom resources."""

    def __init__(self, kubeconfig: str) -> None:
        """``kubeconfig``: its path; "" for the cluster that this process runs in. It is read with the first question."""
        self._kubeconfig = kubeconfig
        self._open: tuple[Access, aiohttp.ClientSession] | None = None
        self._token, self._read_at = "", float("-inf")

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret.

        :raises WindlassError: there is none (yet), it may not be read, nobody answers, or nobody knows whom to ask.
        """
        what = f"the Secret {namespace}/{name}"
        try:
            access, session = await self._connected()
            url = f"{access.server}/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}"
            async with session.get(url, headers=self._headers(access), allow_redirects=False) as answer:
                body, status = await answer.read(), answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"{what} can't be read: {type(error).__name__}") from None
        if status == 404:
            raise TransientError(f"{what} does not exist")
        if status != 200:
            raise TransientError(f"{what} can't be read: the API server answered {status}")
        try:
            data = orjson.loads(body).get("data") or {}
            return {key: base64.b64decode(value) for key, value in data.items()}
        except (ValueError, AttributeError, TypeError):
            raise TransientError(f"{what} can't be read: the answer is none of an API server") from None

    async def close(self) -> None:
        if self._open is not None:
            await self._open[1].close()

    async def _connected(self) -> tuple[Access, aiohttp.ClientSession]:
        if self._open is None:
            access, context = await asyncio.to_thread(_way, self._kubeconfig)
            if self._open is None:
                session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context),
                    timeout=aiohttp.ClientTimeout(total=SECONDS),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": "windlass", "Accept": "application/json"},
                )
                self._open = access, session
        return self._open

    def _headers(self, access: Access) -> dict[str, str]:
        if access.token_file and time.monotonic() - self._read_at > TOKEN_SECONDS:
            self._token, self._read_at = Path(access.token_file).read_text().strip(), time.monotonic()
        token = self._token or access.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def _way(kubeconfig: str) -> tuple[Access, ssl.SSLContext]:
    """
    :raises WindlassError: the configuration says no way that this client can go.
    """
    access = from_kubeconfig(Path(kubeconfig).expanduser()) if kubeconfig else in_cluster()
    try:
        return access, _context(access)
    except ssl.SSLError as error:
        raise WindlassError(f"custom resources: a certificate or key can't be read: {error.reason}") from None


def _context(access: Access) -> ssl.SSLContext:
    """As `workers.kube.connect` makes it: strict X.509 checks refuse the authorities of many clusters."""
    context = ssl.create_default_context(cadata=access.ca or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate:
        with tempfile.TemporaryDirectory(prefix="windlass-") as folder:  # ssl reads them from files only
            certificate, key = Path(folder, "certificate"), Path(folder, "key")
            certificate.write_text(access.certificate)
            key.write_text(access.key)
            context.load_cert_chain(certificate, key)
    return context
