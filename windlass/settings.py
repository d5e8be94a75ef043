"""Settings from the environment. `TABLE` is what the README shows, and all that is read."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from windlass.errors import WindlassError


class Variable(NamedTuple):
    name: str
    default: str
    meaning: str


TABLE = (
    Variable("REDIS_URL", "", "the Redis of service and workers; `windlass up` starts one if it is not set"),
    Variable("WINDLASS_DOCUMENTS", "documents", "the directory of Repository, Cluster and Application documents"),
    Variable(
        "WINDLASS_DATA",
        "~/.local/share/windlass",
        "a worker's own directory: Git stores, and the key if it has no other",
    ),
    Variable("WINDLASS_HOST", "127.0.0.1", "where the service listens"),
    Variable("WINDLASS_PORT", "8480", "the service's port"),
    Variable("WINDLASS_BODY_LIMIT", "4194304", "bytes that a webhook's body may have; more is answered 413"),
    Variable("WINDLASS_CONCURRENCY", "16", "jobs, and applications of one job, that a worker runs at once"),
    Variable("WINDLASS_QUEUE", "windlass", "the name of the RQ queue"),
    Variable("WINDLASS_KEY", "", "the key of the hashes of Secrets: at least 32 characters, the same for all workers"),
    Variable("WINDLASS_KEY_FILE", "", "a file that holds it; without either, a key is made below WINDLASS_DATA"),
    Variable("WINDLASS_LOG", "info", "debug, info, warning or error"),
    Variable("WINDLASS_LOG_FORMAT", "json", "json, or console for people"),
    Variable("WINDLASS_LEASE_SECONDS", "6", "how long a dead worker's lease is waited for; 3 to 60"),
    Variable("WINDLASS_DRAIN_SECONDS", "25", "how long running jobs may end after SIGTERM before they are handed back"),
    Variable("WINDLASS_URL", "", "a page for people, linked from commit statuses"),
)
DEFAULTS = {variable.name: variable.default for variable in TABLE}
SHORTEST_KEY = 32


class Settings(msgspec.Struct, frozen=True):
    """What the environment says; see `TABLE`."""

    redis_url: str | None
    documents: Path
    data: Path
    host: str
    port: int
    body_limit: int
    concurrency: int
    queue: str
    key: str
    key_file: str
    log_level: str
    log_format: str
    lease_seconds: float
    drain_seconds: float
    url: str | None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of ``environ``.

        :raises WindlassError: names the variable, and what was expected.
        """

        def text(name: str) -> str:
            return environ.get(name) or DEFAULTS[name]

        def number(name: str, low: float, high: float) -> float:
            try:
                value = float(text(name))
            except ValueError:
                value = float("nan")
            if not low <= value <= high:
                raise WindlassError(f"{name}={text(name)}: expected a number from {low:g} to {high:g}")
            return value

        def choice(name: str, *allowed: str) -> str:
            if text(name).lower() not in allowed:
                raise WindlassError(f"{name}={text(name)}: expected one of {', '.join(allowed)}")
            return text(name).lower()

        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text("WINDLASS_QUEUE")):
            raise WindlassError("WINDLASS_QUEUE: expected at most 64 letters, digits, hyphens and underscores")
        return cls(
            redis_url=text("REDIS_URL") or None,
            documents=Path(text("WINDLASS_DOCUMENTS")).expanduser(),
            data=Path(text("WINDLASS_DATA")).expanduser(),
            host=text("WINDLASS_HOST"),
            port=int(number("WINDLASS_PORT", 0, 65535)),
            body_limit=int(number("WINDLASS_BODY_LIMIT", 1024, 1 << 30)),
            concurrency=int(number("WINDLASS_CONCURRENCY", 1, 1000)),
            queue=text("WINDLASS_QUEUE"),
            key=text("WINDLASS_KEY"),
            key_file=text("WINDLASS_KEY_FILE"),
            log_level=choice("WINDLASS_LOG", "debug", "info", "warning", "error"),
            log_format=choice("WINDLASS_LOG_FORMAT", "json", "console"),
            lease_seconds=number("WINDLASS_LEASE_SECONDS", 3, 60),
            drain_seconds=number("WINDLASS_DRAIN_SECONDS", 0, 3600),
            url=text("WINDLASS_URL") or None,
        )

    def secret_key(self) -> bytes:
        """The key of the hashes of Secrets; made and kept, readable by its owner only, if none is set.

        :raises WindlassError: it is too short to keep a hash from being guessed, or its file can't be read.
        """
        if self.key:
            return _long_enough(self.key.encode(), "WINDLASS_KEY")
        path = Path(self.key_file).expanduser() if self.key_file else self.data / "key"
        try:
            if not self.key_file and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(secrets.token_hex(32))
            return _long_enough(path.read_bytes().strip(), str(path))
        except OSError as error:
            raise WindlassError(f"{path}: the key can't be read or made: {error.strerror}") from None


def _long_enough(key: bytes, where: str) -> bytes:
    if len(key) < SHORTEST_KEY:
        raise WindlassError(f"{where}: expected a key of at least {SHORTEST_KEY} characters")
    return key
