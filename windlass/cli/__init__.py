"""The command line: the one place that knows both sides. Each command imports what it starts inside its function."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import windlass

COMMANDS = {
    "up": "windlass.cli.run",
    "service": "windlass.cli.run",
    "worker": "windlass.cli.run",
    "watcher": "windlass.cli.run",
    "dashboard": "windlass.cli.run",
    "check": "windlass.cli.check",
    "import": "windlass.cli.convert",
    "crds": "windlass.cli.crds",
    "status": "windlass.cli.inspect",
    "history": "windlass.cli.inspect",
    "diff": "windlass.cli.diff",
    "sync": "windlass.cli.act",
    "approve": "windlass.cli.act",
    "plan": "windlass.cli.plan",
    "logs": "windlass.cli.pipeline",
    "rollback": "windlass.cli.back",
    "build": "windlass.cli.build",
    "notifications": "windlass.cli.notifications",
    "deploy": "windlass.cli.push",
    "ship": "windlass.cli.build",
    "delete": "windlass.cli.act",
}


class _Lazy(click.Group):
    """Imports a command's module when it is asked for: `windlass status` must not wait for the worker's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        command: Any = getattr(module, {"import": "convert"}.get(cmd_name, cmd_name))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(windlass.__version__, prog_name="windlass")
def cli() -> None:
    """Event-driven GitOps: a push becomes an API write in milliseconds, and the cost follows the diff."""


def main() -> None:
    """The `windlass` command: errors that we raise on purpose are one line, not a traceback."""
    from windlass.errors import WindlassError

    try:
        cli()
    except WindlassError as error:
        click.echo(f"windlass: {error}", err=True)
        sys.exit(1)
