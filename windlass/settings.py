"""Settings from the environment. `TABLE` is what the README shows, and all that is read."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from windlass.documents.accounts import EXPECTED, valid_account
from windlass.documents.syntax import valid_label
from windlass.errors import WindlassError
from windlass.redis_address import AddressError, completed, sentinels


class Variable(NamedTuple):
    name: str
    default: str
    meaning: str


TABLE = (
    Variable(
        "REDIS_URL",
        "",
        "the Redis of service and workers; `windlass up` starts one if it is not set, and tells the other commands where",
    ),
    Variable("REDIS_PASSWORD", "", "its password, of any characters, where REDIS_URL names none"),
    Variable("REDIS_CA_FILE", "", "the certificates of its authority, for `rediss://` and `rediss+sentinel://`"),
    Variable("WINDLASS_DOCUMENTS", "documents", "the directory of Repository, Cluster and Application documents"),
    Variable(
        "WINDLASS_DATA",
        "~/.local/share/windlass",
        "a worker's own directory: Git stores, and the key if it has no other",
    ),
    Variable("WINDLASS_HOST", "127.0.0.1", "where the service listens"),
    Variable("WINDLASS_PORT", "8480", "the service's port"),
    Variable("WINDLASS_METRICS_PORT", "", "where a process answers /metrics and /healthz; not at all if not set"),
    Variable("WINDLASS_BODY_LIMIT", "4194304", "bytes that a webhook's body may have; more is answered 413"),
    Variable("WINDLASS_CONCURRENCY", "16", "jobs, and applications of one job and cluster, that a worker runs at once"),
    Variable("WINDLASS_QUEUE", "windlass", "the name of the RQ queue"),
    Variable(
        "WINDLASS_KEY",
        "",
        "the installation's key, the same for all its processes, of at least 32 characters: "
        "of the hashes of Secrets, and of what is signed in Redis",
    ),
    Variable("WINDLASS_KEY_FILE", "", "a file that holds it; without either, a key is made below WINDLASS_DATA"),
    Variable(
        "WINDLASS_DEFAULT_SERVICE_ACCOUNT",
        "",
        "the ServiceAccount of applications that name none: name (in the destination's namespace) or namespace:name; "
        "not set, they act as Windlass itself",
    ),
    Variable("WINDLASS_LOG", "info", "debug, info, warning or error"),
    Variable("WINDLASS_LOG_FORMAT", "auto", "json, console for people, or auto: console in a terminal, else json"),
    Variable("WINDLASS_LEASE_SECONDS", "6", "how long a dead worker's lease is waited for; 3 to 60"),
    Variable("WINDLASS_DRAIN_SECONDS", "25", "how long running jobs may end after SIGTERM before they are handed back"),
    Variable(
        "WINDLASS_POLL", "180", "seconds between two looks at a repository whose webhooks don't arrive; 1 to 86400"
    ),
    Variable(
        "WINDLASS_INSTALLATION",
        "",
        "a name that no other installation has that writes to the same clusters: two of them then never share an application",
    ),
    Variable("WINDLASS_URL", "", "a page for people, linked from commit statuses"),
    Variable("WINDLASS_DASHBOARD_USERNAME", "", "who may look at the dashboard; with"),
    Variable("WINDLASS_DASHBOARD_PASSWORD", "", "this password; neither: everybody who reaches it, on loopback only"),
    Variable(
        "WINDLASS_KEEP_KEY_FILE",
        "",
        "a file of keys, one a line, of at least 32 characters each: the rendered sets of healthy revisions are kept, sealed by "
        "the first; not set, nothing is kept, and nothing can be rolled back",
    ),
    Variable("WINDLASS_WATCH", "true", "may this worker watch the clusters for drift? One of those that may does"),
    Variable(
        "WINDLASS_CHARTS",
        "",
        "beginnings of the addresses that charts may be pulled from, with spaces between (`https://…`, `oci://…`)",
    ),
    Variable(
        "WINDLASS_RESOURCES",
        "off",
        "follow custom resources too: off, cluster (those of every namespace), or namespaces with commas between",
    ),
    Variable(
        "WINDLASS_RESOURCES_NAMESPACE",
        "windlass",
        "Windlass' own namespace: resources there count as files do, those of other namespaces within their namespace",
    ),
    Variable(
        "WINDLASS_RESOURCES_KUBECONFIG",
        "",
        "the cluster that has the resources and their Secrets; not set, the one that the process runs in",
    ),
    Variable("WINDLASS_CHECKS", "", "a folder of programs that promotions' checks may run; none may if not set"),
)
DEFAULTS = {variable.name: variable.default for variable in TABLE}
SHORTEST_KEY = 32
SYSTEM_DATA = Path("/var/lib/windlass")


class Login(NamedTuple):
    """Who may look, and how they prove it."""

    username: str
    password: str


class Settings(msgspec.Struct, frozen=True):
    """What the environment says; see `TABLE`. Its representation holds no secret."""

    redis_url: str | None
    documents: Path
    data: Path
    host: str
    port: int
    metrics_port: int | None
    body_limit: int
    concurrency: int
    queue: str
    key: str
    key_file: str
    default_service_account: str
    log_level: str
    log_format: str
    lease_seconds: float
    drain_seconds: float
    poll_seconds: float
    installation: str
    url: str | None
    watch: bool
    charts: tuple[str, ...]
    checks: Path | None
    dashboard_login: Login | None
    keep_key_file: str
    resources: tuple[str, ...]  # namespaces; "" for every one; none: custom resources are not followed
    resources_namespace: str
    resources_kubeconfig: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of ``environ``.

        :raises WindlassError: names the variable, and what was expected.
        """

        read = _Reader(environ)
        return cls(
            redis_url=read.redis("REDIS_URL"),
            documents=read.path("WINDLASS_DOCUMENTS"),
            data=read.path("WINDLASS_DATA"),
            host=read.text("WINDLASS_HOST"),
            port=int(read.number("WINDLASS_PORT", 0, 65535, whole=True)),
            metrics_port=read.port("WINDLASS_METRICS_PORT"),
            body_limit=int(read.number("WINDLASS_BODY_LIMIT", 1024, 1 << 30, whole=True)),
            concurrency=int(read.number("WINDLASS_CONCURRENCY", 1, 1000, whole=True)),
            queue=read.matching("WINDLASS_QUEUE", r"[A-Za-z0-9_-]{1,64}", "letters, digits, hyphens and underscores"),
            key=read.text("WINDLASS_KEY"),
            key_file=read.text("WINDLASS_KEY_FILE"),
            default_service_account=read.account("WINDLASS_DEFAULT_SERVICE_ACCOUNT"),
            log_level=read.choice("WINDLASS_LOG", "debug", "info", "warning", "error"),
            log_format=read.choice("WINDLASS_LOG_FORMAT", "auto", "json", "console"),
            lease_seconds=read.number("WINDLASS_LEASE_SECONDS", 3, 60),
            drain_seconds=read.number("WINDLASS_DRAIN_SECONDS", 0, 3600),
            poll_seconds=read.number("WINDLASS_POLL", 1, 86400),
            installation=read.matching(
                "WINDLASS_INSTALLATION",
                r"[A-Za-z0-9./_-]{0,64}",
                "letters, digits, dots, slashes, hyphens and underscores",
            ),
            url=read.address("WINDLASS_URL", "http", "https"),
            watch=read.choice("WINDLASS_WATCH", "true", "false") == "true",
            charts=tuple(read.text("WINDLASS_CHARTS").split()),
            checks=read.path("WINDLASS_CHECKS").absolute() if read.text("WINDLASS_CHECKS") else None,
            keep_key_file=read.text("WINDLASS_KEEP_KEY_FILE"),
            resources=read.namespaces("WINDLASS_RESOURCES"),
            resources_namespace=read.label("WINDLASS_RESOURCES_NAMESPACE"),
            resources_kubeconfig=read.text("WINDLASS_RESOURCES_KUBECONFIG"),
            dashboard_login=read.login("WINDLASS_DASHBOARD_USERNAME", "WINDLASS_DASHBOARD_PASSWORD"),
        )

    def __repr__(self) -> str:
        return f"Settings(documents={str(self.documents)!r}, data={str(self.data)!r}, queue={self.queue!r}, ...)"

    def secret_key(self) -> bytes:
        """The key of the hashes of Secrets; made and kept, readable by its owner only, if none is set.

        :raises WindlassError: it is too short to keep a hash from being guessed, or its file can't be read.
        """
        if self.key:
            return _long_enough(self.key.encode(), "WINDLASS_KEY")
        path = Path(self.key_file).expanduser() if self.key_file else self.data / "key"
        try:
            if not self.key_file and not path.exists():
                _make_key(path)
            return _long_enough(path.read_bytes().strip(), str(path))
        except OSError as error:
            raise WindlassError(f"{path}: the key can't be read or made: {error.strerror}") from None

    def shared_key(self) -> bytes:
        """The key by which the processes of this installation know each other's word in Redis: WINDLASS_KEY's, else the
        first of kept sets'. One that a process makes for itself is nobody else's.

        :raises WindlassError: there is none, it is too short, or its file can't be read.
        """
        if self.key or self.key_file:
            return self.secret_key()
        if keys := self.keep_keys():
            return keys[0]
        raise WindlassError(
            "WINDLASS_RESOURCES: what the watcher reads goes through Redis, and must be signed: set WINDLASS_KEY or "
            "WINDLASS_KEY_FILE, the same for all processes"
        )

    def keep_keys(self) -> list[bytes]:
        """The keys of kept sets, the one that seals first; none: nothing is kept.

        :raises WindlassError: one is too short, or their file can't be read.
        """
        if not self.keep_key_file:
            return []
        path = Path(self.keep_key_file).expanduser()
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise WindlassError(f"{path}: the keys of kept sets can't be read: {error.strerror}") from None
        keys = [line.strip() for line in lines if line.strip()]
        return [_long_enough(key, str(path)) for key in keys]


class _Reader:
    """Values of variables. Errors name the variable; they repeat no value that may hold a password."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        return self._environ.get(name) or DEFAULTS[name]

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float:
        try:
            value = float(self.text(name))
        except ValueError:
            value = float("nan")
        if not low <= value <= high or (whole and not value.is_integer()):
            kind = "a whole number" if whole else "a number"
            raise WindlassError(f"{name}={self.text(name)}: expected {kind} from {low:g} to {high:g}")
        return value

    def port(self, name: str) -> int | None:
        return int(self.number(name, 0, 65535, whole=True)) if self.text(name) else None

    def login(self, username: str, password: str) -> Login | None:
        if not self.text(username) and not self.text(password):
            return None
        if not self.text(username) or not self.text(password):
            raise WindlassError(f"{username} and {password}: expected both, or neither")
        return Login(self.text(username), self.text(password))

    def choice(self, name: str, *allowed: str) -> str:
        if self.text(name).lower() not in allowed:
            raise WindlassError(f"{name}={self.text(name)}: expected one of {', '.join(allowed)}")
        return self.text(name).lower()

    def matching(self, name: str, pattern: str, meaning: str) -> str:
        if not re.fullmatch(pattern, self.text(name)):
            raise WindlassError(f"{name}: expected at most 64 {meaning}")
        return self.text(name)

    def label(self, name: str) -> str:
        if not valid_label(self.text(name)):
            raise WindlassError(f"{name}={self.text(name)}: expected the name of a namespace")
        return self.text(name)

    def namespaces(self, name: str) -> tuple[str, ...]:
        text = self.text(name)
        if text in ("off", "cluster"):
            return () if text == "off" else ("",)
        found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        if not all(map(valid_label, found)):
            raise WindlassError(f"{name}={text}: expected off, cluster, or names of namespaces with commas between")
        return found

    def account(self, name: str) -> str:
        text = self.text(name)
        if text and not valid_account(text):
            raise WindlassError(f"{name}: {EXPECTED}")
        return text

    def address(self, name: str, *schemes: str) -> str | None:
        text = self.text(name)
        if text and not (text.isprintable() and text.startswith(tuple(f"{scheme}://" for scheme in schemes))):
            raise WindlassError(
                f"{name}: expected an address that begins with {' or '.join(f'{s}://' for s in schemes)}"
            )
        try:
            _ = urlsplit(text).port
        except ValueError:
            raise WindlassError(f"{name}: expected host:port, the port a number to 65535") from None
        return text or None

    def redis(self, name: str) -> str | None:
        text = self.text(name)
        try:
            _ = sentinels(text) if text else None
        except AddressError as error:
            raise WindlassError(f"{name}: {error}") from None
        return completed(text, password=self.text("REDIS_PASSWORD"), ca_file=self.text("REDIS_CA_FILE")) or None

    def path(self, name: str) -> Path:
        """A path; an account without a home (a container's) has its data where a system's services have it."""
        text, home = self.text(name), self._environ.get("HOME", "")
        if text == DEFAULTS["WINDLASS_DATA"] and home in ("", "/"):
            return SYSTEM_DATA
        if text.startswith("~/"):
            if not home:
                raise WindlassError(f"{name}={text}: there is no HOME")
            return Path(home, text[2:])
        return Path(text)


def _make_key(path: Path) -> None:
    """Write a new key, whole from the first moment on; of several processes at once, one is heard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # readable by its owner only
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink()


def _long_enough(key: bytes, where: str) -> bytes:
    if len(key) < SHORTEST_KEY:
        raise WindlassError(f"{where}: expected a key of at least {SHORTEST_KEY} characters")
    return key
