"""A Redis with a replica, and Sentinels that watch both: for fail-overs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import redis

from tests.parts.process import Part, answers, free_port
from tests.parts.waiting import until
from windlass.cli.up import redis_server

MASTER = "mymaster"
PASSWORD, SENTINEL_PASSWORD = "pw-of-redis", "pw-of-sentinels"
SENTINELS = 3


class SentinelRedis:
    """Two servers and three Sentinels on free loopback ports; any two of these make a fail-over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports, self.sentinel_ports = [free_port() for _ in range(2)], [free_port() for _ in range(SENTINELS)]
        self._servers: dict[int, Part] = {}
        self._sentinels: list[Part] = []

    @property
    def url(self) -> str:
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://:{PASSWORD}@{nodes}/{MASTER}/0?sentinel_password={SENTINEL_PASSWORD}"

    @property
    def master(self) -> int:
        """The port of the server that the Sentinels call the master."""
        with redis.Redis(port=self.sentinel_ports[0], password=SENTINEL_PASSWORD) as sentinel:
            return int(sentinel.sentinel_get_master_addr_by_name(MASTER)[1])

    def start(self) -> SentinelRedis:
        for port in self.ports:
            of = [] if port == self.ports[0] else ["--replicaof", "127.0.0.1", str(self.ports[0])]
            self._servers[port] = self._run(
                f"redis-{port}", port, "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
                "--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0", *of,
            )  # fmt: skip
        for port in self.sentinel_ports:
            configuration = self._folder / f"sentinel-{port}.conf"
            configuration.write_text(
                f"port {port}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {self.ports[0]} 2\nsentinel auth-pass {MASTER} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 3000\n"
                f'dir "{self._folder}"\n'
            )
            part = Part(f"sentinel-{port}", [redis_server(), configuration, "--sentinel"], self._log(port))
            part.wait_ready(answers(port))
            self._sentinels.append(part)
        until(self._agreed, show=lambda: self._sentinels[0].tail())
        return self

    def _run(self, name: str, port: int, *options: str) -> Part:
        command = [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._folder), *options]
        part = Part(name, command, self._log(port))
        part.wait_ready(answers(port))
        return part

    def _log(self, port: int) -> Path:
        return self._folder / f"redis-{port}.log"

    def _agreed(self) -> bool:
        """Does every Sentinel know the replica and the other Sentinels, and has the replica all that the master has?"""
        for port in self.sentinel_ports:
            with redis.Redis(port=port, password=SENTINEL_PASSWORD) as sentinel:
                known = sentinel.sentinel_master(MASTER)
                if int(known["num-slaves"]) != 1 or int(known["num-other-sentinels"]) != SENTINELS - 1:
                    return False
        with redis.Redis(port=self.ports[1], password=PASSWORD) as replica:
            return bool(replica.info("replication").get("master_link_status") == "up")

    def kill_master(self) -> int:
        """kill -9 of the master; returns, once the Sentinels have made the replica the master, its port."""
        before = self.master
        self._servers.pop(before).kill()
        until(lambda: self._master_after(before), show=lambda: self._sentinels[0].tail())
        return self.master

    def demote_master(self) -> int:
        """A fail-over with nobody dead: the master becomes a replica that still answers. Returns the new one's port."""
        before = self.master
        with redis.Redis(port=self.sentinel_ports[0], password=SENTINEL_PASSWORD) as sentinel:
            sentinel.execute_command("SENTINEL FAILOVER", MASTER)
        until(lambda: self._master_after(before) and self._is_replica(before), show=lambda: self._sentinels[0].tail())
        return self.master

    def _master_after(self, before: int) -> bool:
        with contextlib.suppress(redis.RedisError):
            return self.master != before
        return False

    def _is_replica(self, port: int) -> bool:
        with redis.Redis(port=port, password=PASSWORD) as server:
            return bool(server.info("replication")["role"] == "slave")

    def stop(self) -> None:
        for part in (*self._sentinels, *self._servers.values()):
            part.stop()
