"""`windlass check DIR`: are the documents valid? Every error with its file, line and field."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
def check(directory: Path) -> None:
    """Validate the documents in DIRECTORY; exits with 1 if one of them is wrong."""
    from windlass.documents.directory import DocumentDirectory

    catalog = DocumentDirectory(directory).load()
    for error in catalog.errors:
        click.echo(f"error: {error}")
    for warning in catalog.warnings:
        click.echo(f"warning: {warning}")
    if not os.environ.get("WINDLASS_KEEP_KEY_FILE"):
        click.echo("note: WINDLASS_KEEP_KEY_FILE is not set: no rendered sets are kept, so nothing can be rolled back")
    counts = (
        (len(catalog.repositories), "repository", "repositories"),
        (len(catalog.clusters), "cluster", "clusters"),
        (len(catalog.applications), "application", "applications"),
        (len(catalog.errors), "error", "errors"),
    )
    click.echo(", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts))
    sys.exit(1 if catalog.errors else 0)
