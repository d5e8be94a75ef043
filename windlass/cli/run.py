"""`windlass up`, `service`, `worker`, `dashboard`: what runs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from windlass.cli.shared import load_settings, no_answer
from windlass.errors import WindlassError


@click.command()
@click.option("--documents", type=click.Path(path_type=Path, exists=True, file_okay=False), help="WINDLASS_DOCUMENTS.")
def up(documents: Path | None) -> None:
    """Run everything in this terminal: service, one worker, the dashboard, and a Redis if REDIS_URL is not set."""
    from windlass.cli.up import run_all

    if documents is not None:
        os.environ["WINDLASS_DOCUMENTS"] = str(documents)
    sys.exit(asyncio.run(run_all(load_settings())))


@click.command()
def service() -> None:
    """Receive webhooks (WINDLASS_HOST:WINDLASS_PORT) and queue what they ask for."""
    from service.app import serve
    from windlass import logs, tracing

    settings = load_settings()
    _need_redis(settings.redis_url)
    logs.configure(settings.log_level, settings.log_format)
    tracing.configure("service")
    asyncio.run(serve(settings))


@click.command()
@click.option(
    "--fresh-redis", is_flag=True, hidden=True, help="This Redis was started for us alone: nobody wrote before."
)
def worker(fresh_redis: bool) -> None:
    """Reconcile: fetch, render, diff, apply and prune what the queue asks for."""
    from redis.exceptions import ConnectionError as RedisConnectionError

    from windlass import logs, tracing
    from workers.main import run

    settings = load_settings()
    url = _need_redis(settings.redis_url)
    logs.configure(settings.log_level, settings.log_format)
    tracing.configure("worker")
    try:
        run(settings, fresh_redis=fresh_redis)
    except RedisConnectionError as error:  # there is none to begin with: later a worker waits for it
        raise WindlassError(no_answer(url, error)) from None


@click.command()
def watcher() -> None:
    """Watch the clusters for drift, and take no jobs: beside workers that run with WINDLASS_WATCH=false."""
    from windlass import logs, tracing
    from workers.main import watch

    settings = load_settings()
    _need_redis(settings.redis_url)
    logs.configure(settings.log_level, settings.log_format)
    tracing.configure("watcher")
    watch(settings)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Anything but loopback needs a password.")
@click.option("--port", default=9181, show_default=True, type=click.IntRange(0, 65535))
@click.option("--prefix", default="", help="The path below which it is served, as /queues.")
def dashboard(host: str, port: int, prefix: str) -> None:
    """Serve rq-dashboard for the queue, for those who know WINDLASS_DASHBOARD_USERNAME and _PASSWORD."""
    import waitress

    from windlass.listening import listener
    from windlass.queue.dashboard import make_dashboard_app

    settings = load_settings()
    if settings.dashboard_login is None and host not in ("127.0.0.1", "::1", "localhost"):
        raise WindlassError(
            f"--host {host}: others could look; set WINDLASS_DASHBOARD_USERNAME and WINDLASS_DASHBOARD_PASSWORD"
        )
    if prefix and not (prefix.startswith("/") and prefix.strip("/")):
        raise WindlassError(f"--prefix {prefix}: expected a path, as /queues")
    app = make_dashboard_app(_need_redis(settings.redis_url), login=settings.dashboard_login, prefix=prefix.rstrip("/"))
    waitress.serve(app, sockets=[listener(host, port)], threads=4, ident="")


def _need_redis(url: str | None) -> str:
    if url is None:
        raise WindlassError("REDIS_URL is not set (`windlass up` starts a Redis of its own)")
    return url
