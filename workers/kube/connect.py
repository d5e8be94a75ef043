"""From a Cluster document to a connection: addresses, TLS and tokens, and their refresh.

What must hold: nothing of a key or token is logged, or left in a file; a token is fresh when it is used, and is read
anew once when the server refuses it (rotation).
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import orjson

from windlass.documents.types import Cluster
from windlass.errors import TransientError
from workers.kube.attempt import Attempt
from workers.kube.transport import Authorize, KubeClient

if TYPE_CHECKING:
    from windlass.secrets import Secrets

READER = Path(__file__).with_name("kubeconfig.py")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and its cluster's authority."""
READ_SECONDS = 60.0
"""For reading a kubeconfig, whose exec plugin may ask a cloud for a token."""
PATIENCE_SECONDS = 5.0
"""How long a request waits for a new token; it is asked for in any case, and is there for a later request."""
FILE_TOKEN_SECONDS = 60.0
"""A token in a file is read again after this time; the kubelet rotates it long before it expires."""
EXPIRY_MARGIN_SECONDS = 60.0
YOUNG_SECONDS = 5.0
"""A token that was asked for so shortly ago is not asked for again, whatever the server says of it."""
VARIABLES = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
    r"|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|KUBERNETES_SERVICE_(HOST|PORT)"
    r"|(AWS|AZURE|GOOGLE|CLOUDSDK|OCI|ALIBABA_CLOUD|IBMCLOUD)_\w+"
)
"""What a plugin may know of our environment; a kubeconfig's ``exec.env`` gives it more. Not Redis' address, not our
keys, nor other repositories' and clusters' tokens."""


class ConnectError(TransientError):
    """The document's way to the cluster can't be read: a file, a context, a plugin, a secret."""


class Connection(msgspec.Struct, frozen=True):
    """How to reach an API server. Certificates and key are PEM text; ``expires`` is epoch seconds."""

    server: str
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    verify: bool = True
    server_name: str | None = None
    proxy: str | None = None
    authorization: str | None = None
    token_file: str | None = None
    expires: float | None = None

    def __repr__(self) -> str:
        return f"Connection({self.server!r})"


async def connect(cluster: Cluster, secrets: Secrets) -> KubeClient:
    """A client for the cluster of the document. Nothing is sent yet.

    :raises ConnectError: the configuration can't be read.
    """
    return await client_of(await read_connection(cluster), cluster, secrets)


async def client_of(connection: Connection, cluster: Cluster, secrets: Secrets) -> KubeClient:
    """A client for ``connection``, whose tokens are refreshed as the document says.

    :raises ConnectError: a certificate or key isn't one.
    """
    https = connection.server.startswith("https:")
    return KubeClient(
        connection.server,
        context=await asyncio.to_thread(_context, connection, cluster.name) if https else None,
        authorize=_authorization(cluster, connection, secrets),
        server_name=connection.server_name,
        proxy=connection.proxy,
        max_concurrent_requests=cluster.spec.max_concurrent_requests,
    )


async def read_connection(cluster: Cluster) -> Connection:
    """What the document says of the way to the cluster, and the files that it names.

    :raises ConnectError: one of them can't be read.
    """
    spec = cluster.spec
    if spec.server is None:
        return await _read(cluster)
    try:
        ca = await asyncio.to_thread(Path(spec.ca_file).read_text) if spec.ca_file else None
    except OSError as error:
        raise ConnectError(f"cluster {cluster.name}: caFile: {error.strerror}: {spec.ca_file}") from error
    return Connection(spec.server, ca=ca)


async def _read(cluster: Cluster) -> Connection:
    """Ask `workers.kube.kubeconfig`, in a process of its own."""
    spec = cluster.spec
    arguments = ["--in-cluster", str(SERVICE_ACCOUNT)]
    if spec.kubeconfig is not None:
        arguments = [spec.kubeconfig, spec.context or ""]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(READER),
        *arguments,
        env={name: value for name, value in os.environ.items() if VARIABLES.fullmatch(name)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # so that a plugin that hangs ends with it
    )
    try:
        out, reason = await asyncio.wait_for(process.communicate(), READ_SECONDS)
    except TimeoutError as error:
        raise ConnectError(f"cluster {cluster.name}: no credentials within {READ_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        where = f"kubeconfig {spec.kubeconfig}" if spec.kubeconfig else "in-cluster configuration"
        raise ConnectError(f"cluster {cluster.name}: {where}: {' '.join(reason.decode(errors='replace').split())}")
    return msgspec.convert(orjson.loads(out), Connection)


def _context(connection: Connection, name: str) -> ssl.SSLContext:
    """TLS with the cluster's own authority where it has one.

    Strict X.509 checks (Python 3.13's default) are left out: authorities of many clusters lack a key usage extension.
    """
    try:
        context = ssl.create_default_context(cadata=connection.ca)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not connection.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if connection.certificate:
            _load_client_certificate(context, connection)
    except ssl.SSLError as error:
        raise ConnectError(f"cluster {name}: a certificate or key can't be read: {error.reason}") from error
    return context


def _load_client_certificate(context: ssl.SSLContext, connection: Connection) -> None:
    """Python's ssl reads it from files only: they live for this one call, in a folder that only we can read."""
    with tempfile.TemporaryDirectory(prefix="windlass-") as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        certificate.write_text(connection.certificate or "")
        key.write_text(connection.key or "")
        context.load_cert_chain(certificate, key if connection.key else None)


def _authorization(cluster: Cluster, connection: Connection, secrets: Secrets) -> Authorize | None:
    token = cluster.spec.token
    if cluster.spec.server is not None and token is not None:
        return _Fresh(FILE_TOKEN_SECONDS, lambda: _bearer(secrets.resolve(token))).header
    if connection.token_file:
        path = Path(connection.token_file)
        return _Fresh(FILE_TOKEN_SECONDS, lambda: _bearer(_token_in(path, cluster.name))).header
    if connection.authorization is not None:
        return _Renewed(cluster, connection).header
    return None


def _token_in(path: Path, cluster: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConnectError(f"cluster {cluster}: the token can't be read: {error.strerror}: {path}") from error


def _bearer(token: bytes) -> str:
    try:
        return f"Bearer {token.decode().strip()}"
    except UnicodeDecodeError:
        raise ConnectError("the token is not UTF-8") from None


class _Fresh:
    """A header that is read again when it is ``seconds`` old, or was refused."""

    def __init__(self, seconds: float, read: Callable[[], str]) -> None:
        self._seconds, self._read = seconds, read
        self._header, self._read_at = "", float("-inf")

    async def header(self, fresh: bool) -> str | None:
        now = time.monotonic()
        if fresh or now - self._read_at > self._seconds:
            self._header, self._read_at = self._read(), now
        return self._header


class _Renewed:
    """A header that is in the kubeconfig, or that a program or a provider gives for a time: it is all read again when the
    token is about to expire or was refused, once for all who wait."""

    def __init__(self, cluster: Cluster, connection: Connection) -> None:
        self._cluster, self._connection, self._read_at = cluster, connection, float("-inf")
        self._renewal = self._begin()

    async def header(self, fresh: bool) -> str | None:
        left = self._connection.expires - time.time() if self._connection.expires is not None else float("inf")
        if (fresh or left < EXPIRY_MARGIN_SECONDS) and time.monotonic() - self._read_at > YOUNG_SECONDS:
            try:
                self._learn(await self._renewal.result())
            except TransientError:
                if fresh or left <= 0:
                    raise  # until then the token at hand will do
        return self._connection.authorization

    def _learn(self, found: Connection) -> None:
        if found is not self._connection:
            self._connection, self._read_at, self._renewal = found, time.monotonic(), self._begin()

    def _begin(self) -> Attempt[Connection]:
        what = f"cluster {self._cluster.name}: the kubeconfig's credentials"
        return Attempt(what, lambda: _read(self._cluster), patience=PATIENCE_SECONDS)
