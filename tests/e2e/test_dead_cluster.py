"""One slow or dead cluster holds up no other: not of another source, and not of the same one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.world import World, config_map
from tests.parts.process import free_port
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


class Gate:
    """A port that leads to an API server; shut, it takes connections and bytes, and nothing ever comes back."""

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        self._host, self._port = str(address.hostname), address.port
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._open, self._over = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)

    def __enter__(self) -> Gate:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)

    def shut(self) -> None:
        self._loop.call_soon_threadsafe(self._open.clear)

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        await self._over.wait()
        server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0.1)  # their sockets are closed by the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
            try:
                await asyncio.gather(self._pass(reader, server_writer), self._pass(server_reader, writer))
            finally:
                server_writer.transport.abort()
        except asyncio.CancelledError:
            return  # the gate is taken away
        finally:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


def kubeconfig_of(folder: Path, kubeconfig: Path, server: str) -> Path:
    """The same user and authority, at another address."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = server
    path = folder / f"kubeconfig-{urlsplit(server).port}"
    path.write_text(yaml.safe_dump(document))
    return path


class Several(World):
    """One repository whose applications are in several clusters; the folder of each is named like the application."""

    def place(self, **clusters: Path) -> None:
        """An application ``NAME-CLUSTER`` in each cluster, beside the world's own."""
        self.windlass.write(
            repository(self.name, self.url, forge="generic"),
            cluster("local", self.kubeconfig),
            application(self.name, repository=self.name, path="manifests", namespace=self.name),
            *(cluster(name, path) for name, path in clusters.items()),
            *(
                application(f"{self.name}-{name}", repository=self.name, path=name, cluster=name, namespace=self.name)
                for name in clusters
            ),
        )

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.windlass.log("worker")[-5000:]
            time.sleep(0.05)


@pytest.fixture
def world(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[Several]:
    folder = parts_folder / unique
    folder.mkdir()
    made = Several(folder, unique, kubeconfig)
    made.windlass.environment["WINDLASS_CONCURRENCY"] = "2"
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a socket that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_dead_clusters_of_the_same_source_hold_up_neither_pushes_nor_prunes(
    world: Several, tmp_path: Path, silent: str
) -> None:
    """With more of them than run at once."""
    refused = f"https://127.0.0.1:{free_port()}"
    dead = {f"silent{n}": kubeconfig_of(tmp_path, world.kubeconfig, silent) for n in range(3)}
    dead |= {f"refused{n}": kubeconfig_of(tmp_path, world.kubeconfig, refused) for n in range(2)}
    world.place(**dead)
    for number in range(5):
        files = {f"{name}/a.yaml": config_map("dead", str(number)) for name in dead}
        run = world.push({**files, "manifests/a.yaml": config_map("a", f"v{number}")})
        assert (run.phase, run.applied) == ("Synced", 1)
        assert world.value("a") == f"v{number}"
    assert world.push({"manifests/b.yaml": config_map("b", "1")}).applied == 1
    assert world.push({"manifests/b.yaml": None}).pruned == 1
    for name in dead:
        world.until(lambda name=name: world.windlass.last_run(f"{world.name}-{name}").revision == world.work.head)  # type: ignore[misc]
        run = world.windlass.last_run(f"{world.name}-{name}")
        assert run.phase == "Retrying"
        assert "the API server can't be reached" in run.errors[0]


def test_a_cluster_that_falls_silent_is_followed_again_when_it_answers_while_others_go_on(
    world: Several, tmp_path: Path
) -> None:
    server = yaml.safe_load(world.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    with Gate(server) as gate:
        gate.open()
        world.place(gated=kubeconfig_of(tmp_path, world.kubeconfig, f"https://127.0.0.1:{gate.port}"))
        world.push({"gated/a.yaml": config_map("gated", "0"), "manifests/a.yaml": config_map("a", "0")})
        world.until(lambda: world.value("gated") == "0")
        gate.shut()
        for number in range(1, 5):
            files = {"gated/a.yaml": config_map("gated", f"v{number}")}
            run = world.push({**files, "manifests/a.yaml": config_map("a", f"v{number}")})
            assert (run.phase, world.value("a"), world.value("gated")) == ("Synced", f"v{number}", "0")
        world.until(lambda: world.windlass.last_run(f"{world.name}-gated").revision == world.work.head)
        gate.open()
        world.until(lambda: world.value("gated") == "v4", 90)
        world.until(lambda: world.windlass.revision(f"{world.name}-gated") == world.work.head)
