"""A Redis of our own: nothing on disk, never evicting, killed and restarted on its port by the fault tests."""

from __future__ import annotations

from pathlib import Path

from tests.parts.process import Part, answers, free_port
from windlass.cli.up import redis_server


class RedisServer:
    """A server on a free loopback port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._part: Part | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        self._part = Part(
            "redis",
            [redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--maxmemory-policy", "noeviction", "--dir", str(self._folder)],
            self._folder / "redis.log",
        )  # fmt: skip
        self._part.wait_ready(answers(self.port))
        return self

    def kill(self) -> None:
        """kill -9: everything that it held is lost."""
        assert self._part is not None
        self._part.kill()

    def stop(self) -> None:
        if self._part is not None:
            self._part.stop()

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
