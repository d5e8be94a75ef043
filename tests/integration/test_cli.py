"""The commands, as people type them: what they don't know, can't reach or can't read is one clear line and a status."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.parts.process import die_with_parent, free_port
from tests.parts.windlass import Windlass, application, cluster, repository
from windlass.cli import announced
from windlass.settings import Settings

pytestmark = pytest.mark.integration

NOWHERE = "http://127.0.0.1:1/shop.git"
FAILED = {"diff": 2}
"""The status of a command that failed, where it isn't 1: of `windlass diff` that says that something differs."""
ABOUT_ONE = ["status", "history", "sync", "approve", "diff", "delete"]


@pytest.fixture
def windlass(redis_url: str, tmp_path: Path) -> Iterator[Windlass]:
    """An installation whose forge and cluster are away; nothing runs yet."""
    installation = Windlass(tmp_path, redis_url)
    installation.write(
        repository("shop", NOWHERE),
        cluster("local", tmp_path / "no-kubeconfig"),
        application("shop", repository="shop", namespace="x"),
    )
    yield installation
    installation.stop()


def refused(windlass: Windlass, *arguments: str) -> str:
    """What a command says that fails, in one line without a traceback."""
    done = windlass.run(*arguments)
    assert done.returncode == FAILED.get(arguments[0], 1), (done.stdout, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", ABOUT_ONE)
def test_an_unknown_application(windlass: Windlass, command: str) -> None:
    assert f"no valid document of an application nope in {windlass.documents}" in refused(windlass, command, "nope")


@pytest.mark.parametrize("command", ABOUT_ONE)
def test_an_application_whose_document_is_wrong(windlass: Windlass, command: str) -> None:
    windlass.write(application("nope", repository="shop", namespace="Upper"), name="nope.yaml")
    done = windlass.run(command, "nope")
    assert done.returncode == FAILED.get(command, 1)
    assert "nope.yaml:" in done.stderr
    assert "spec.destination.namespace" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["status"], *([name, "shop"] for name in ABOUT_ONE)], ids=" ".join)
def test_redis_is_away(windlass: Windlass, arguments: list[str]) -> None:
    windlass.environment["REDIS_URL"] = "redis://me:pass-word@127.0.0.1:1/0"
    line = refused(windlass, *arguments)
    assert "no answer from the Redis at 127.0.0.1:1/0: " in line
    assert "pass-word" not in line


def test_a_worker_needs_a_redis_to_begin_with(windlass: Windlass) -> None:
    windlass.environment["REDIS_URL"] = "redis://me:pass-word@127.0.0.1:1/0"
    done = windlass.run("worker")
    assert done.returncode == 1
    assert "windlass: no answer from the Redis at 127.0.0.1:1/0: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "pass-word" not in done.stderr


@pytest.mark.parametrize("arguments", [["status"], *([name, "shop"] for name in ABOUT_ONE), ["worker"], ["service"]])
def test_no_redis_is_named(windlass: Windlass, arguments: list[str]) -> None:
    del windlass.environment["REDIS_URL"]
    assert "REDIS_URL is not set" in refused(windlass, *arguments)


def test_documents_that_cannot_be_read(windlass: Windlass, tmp_path: Path) -> None:
    windlass.environment["WINDLASS_DOCUMENTS"] = str(tmp_path / "none")
    for arguments in (["status"], ["status", "shop"], ["sync", "shop"]):
        done = windlass.run(*arguments)
        assert done.returncode == 1
        assert f"{tmp_path / 'none'}: can't be read: No such file or directory" in done.stderr
        assert "Traceback" not in done.stderr


def test_status_shows_wrong_documents_beside_the_others(windlass: Windlass) -> None:
    windlass.write(application("other", repository="none"), name="other.yaml")
    done = windlass.run("status")
    assert done.returncode == 0
    assert "shop" in done.stdout
    assert "error: other.yaml:" in done.stderr


def test_an_application_that_has_not_run(windlass: Windlass) -> None:
    done = windlass.run("history", "shop")
    assert (done.returncode, done.stderr) == (0, "shop has not run yet\n")
    assert "Unknown" in windlass.run("status", "shop").stdout


def test_a_cluster_that_cannot_be_reached(windlass: Windlass, tmp_path: Path) -> None:
    assert "no-kubeconfig" in refused(windlass, "delete", "shop", "--yes")
    away = cluster("away", "") | {"spec": {"server": "https://127.0.0.1:1", "token": {"env": "WEBHOOK_SECRET"}}}
    windlass.write(away, name="b.yaml")
    assert "127.0.0.1:1" in refused(windlass, "delete", "shop", "--cluster", "away", "--yes")
    assert "there is no valid Cluster nope" in refused(windlass, "delete", "shop", "--cluster", "nope")


def test_sync_without_a_worker_says_so(windlass: Windlass) -> None:
    assert "no worker is running" in refused(windlass, "sync", "shop", "--timeout", "0.2")


def test_sync_tells_the_sources_own_error(windlass: Windlass) -> None:
    windlass.start_worker()
    line = refused(windlass, "sync", "shop", "--timeout", "60")
    assert line.startswith("source shop-")
    assert "127.0.0.1:1" in line


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_is_none(windlass: Windlass, port: str) -> None:
    done = windlass.run("dashboard", "--port", port)
    assert done.returncode == 2
    assert "--port" in done.stderr


@pytest.mark.parametrize("arguments", [["dashboard", "--port"], ["service"]], ids=["dashboard", "service"])
def test_a_port_that_somebody_else_has(windlass: Windlass, arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", windlass.port)):
        done = windlass.run(*arguments, *([str(windlass.port)] if len(arguments) > 1 else []))
    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1:{windlass.port}: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


class TestUp:
    """`windlass up` with a Redis of its own, which the commands of another terminal find."""

    @pytest.fixture
    def up(self, windlass: Windlass) -> Iterator[subprocess.Popen[bytes]]:
        del windlass.environment["REDIS_URL"]
        process = windlass.spawn("up")
        deadline = time.monotonic() + 60
        while windlass.run("status").returncode and time.monotonic() < deadline:
            assert process.poll() is None, windlass.log("up")
        yield process
        process.terminate()
        process.wait(60)

    def test_the_others_find_it_and_afterwards_say_that_there_is_none(
        self, windlass: Windlass, up: subprocess.Popen[bytes]
    ) -> None:
        file = Path(windlass.environment["WINDLASS_DATA"], "redis-of-up")
        assert file.stat().st_mode & 0o777 == 0o600
        assert windlass.run("status", "shop").returncode == 0
        assert "no-kubeconfig" in refused(windlass, "diff", "shop")
        assert "shop-" in refused(windlass, "sync", "shop", "--timeout", "60")
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
        assert not file.exists()
        assert "REDIS_URL is not set" in refused(windlass, "status")

    def test_only_its_owner_can_use_its_redis(self, windlass: Windlass, up: subprocess.Popen[bytes]) -> None:
        url = Path(windlass.environment["WINDLASS_DATA"], "redis-of-up").read_text().strip()
        password = url.split(":")[2].split("@")[0]
        assert len(password) == 64
        commands = [" ".join(process.cmdline()) for process in psutil.Process(up.pid).children(recursive=True)]
        assert any("redis" in command or "valkey" in command for command in commands)
        assert not any(password in command for command in commands)
        assert password not in windlass.log("up")
        windlass.environment["REDIS_URL"] = url.replace(password, "guess")
        assert "invalid" in refused(windlass, "status")


class TestAnnounced:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings.from_env({"WINDLASS_DATA": str(tmp_path / "data")})

    def test_for_as_long_as_it_is_there(self, settings: Settings) -> None:
        assert announced.read(settings) is None
        with announced.announced(settings, "redis://first"):
            assert announced.read(settings) == "redis://first"
            with announced.announced(settings, "redis://second"):
                assert announced.read(settings) == "redis://second"
        assert announced.read(settings) is None

    def test_an_earlier_one_that_ends_leaves_the_later_ones(self, settings: Settings) -> None:
        first = announced.announced(settings, "redis://first")
        first.__enter__()
        with announced.announced(settings, "redis://second"):
            first.__exit__(None, None, None)
            assert announced.read(settings) == "redis://second"

    def test_what_somebody_else_could_have_written_is_not_believed(self, settings: Settings) -> None:
        with announced.announced(settings, "redis://mine") as file:
            file.chmod(0o660)
            assert announced.read(settings) is None

    def test_a_stale_one_is_said_to_be_one(self, windlass: Windlass) -> None:
        del windlass.environment["REDIS_URL"]
        settings = Settings.from_env(windlass.environment)
        with announced.announced(settings, f"redis://:x@127.0.0.1:{free_port()}/0") as file:
            line = refused(windlass, "status")
        assert "no answer from the Redis" in line
        assert str(file) in line


def test_it_is_text_in_a_terminal(windlass: Windlass) -> None:
    """`windlass service`, in a pseudo-terminal and with its output in a file."""
    terminal, side = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "windlass.cli", "service"],
        env=windlass.environment,
        stdin=subprocess.DEVNULL,
        stdout=side,
        stderr=side,
        preexec_fn=die_with_parent,
    )
    os.close(side)
    said = b""
    while b"service.started" not in said:
        said += os.read(terminal, 4096)
    process.terminate()
    process.wait(30)
    os.close(terminal)
    assert b'{"' not in said
    windlass.start_service()
    assert windlass.log("service").startswith("{")
