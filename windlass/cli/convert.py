"""`windlass import`: what Argo CD and Flux are told, as Windlass' documents, and what of it was lost."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from windlass.errors import PermanentError

if TYPE_CHECKING:
    from windlass.importing.checkouts import Checkouts
    from windlass.importing.convert import Imported

SUFFIXES = (".yaml", ".yml", ".json")


@click.command("import")
@click.argument("what", metavar="FILE|FOLDER|-")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Write the documents into this folder.")
@click.option("--checkout", multiple=True, metavar="[URL=]FOLDER", help="A checkout of a Git repository, to look into.")
@click.option("--fetch", is_flag=True, help="Fetch the Git repositories of which there is no checkout, to look into.")
@click.option("--kubeconfig", help="How Windlass reaches the clusters, if it runs outside of them.")
@click.option("--repository", metavar="URL", help="The Git repository to tie charts of Helm repositories to.")
@click.option("--strict", is_flag=True, help="Exit with 1 if anything is lost.")
def convert(
    what: str,
    to: Path | None,
    checkout: tuple[str, ...],
    fetch: bool,
    kubeconfig: str | None,
    repository: str | None,
    strict: bool,
) -> None:
    """Turn objects of Argo CD and Flux into Windlass' documents: those in a FILE, below a FOLDER, or on standard input.

    Documents go to standard output, or into a folder; what was lost, and what is worth knowing, to standard error. Nothing
    of Argo CD's or Flux's installation is asked or changed. Exits with 1 if nothing was imported.
    """
    from windlass.importing.checkouts import Checkouts
    from windlass.importing.convert import convert as converted

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="windlass-import-"))) if fetch else None
        trees = Checkouts(scratch)
        for said in checkout:
            trees.add(said)
        imported = converted(_files(what), trees=trees, kubeconfig=kubeconfig, repository=repository)
        _say(imported, trees)
    if imported.applications:
        _write(imported, to)
    sys.exit(1 if not imported.applications or (strict and imported.lost) else 0)


def _files(what: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents; links are not followed, as in a checkout that somebody else made.

    :raises PermanentError: it can't be read.
    """
    if what == "-":
        yield "standard input", sys.stdin.buffer.read()
        return
    root = Path(what)
    try:
        if not root.is_dir():
            yield what, root.read_bytes()
            return
        for path in sorted(root.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix in SUFFIXES and not hidden and path.is_file() and not path.is_symlink():
                yield path.relative_to(root).as_posix(), path.read_bytes()
    except OSError as error:
        raise PermanentError(f"{error.filename}: can't be read: {error.strerror}") from None


def _say(imported: Imported, trees: Checkouts) -> None:
    for failed in trees.failed:
        click.echo(f"note: {failed}", err=True)
    for finding in imported.findings:
        click.echo(str(finding), err=True)
    made = [document["kind"] for document in imported.documents]
    counts = ", ".join(f"{made.count(kind)} {kind}" for kind in ("Repository", "Cluster", "Application"))
    click.echo(f"imported {counts}; {imported.lost} lost; {imported.others} other objects left alone", err=True)


def _write(imported: Imported, to: Path | None) -> None:
    """
    :raises PermanentError: a file is there already.
    """
    from windlass.importing.convert import dump

    if to is None:
        click.echo(dump(imported.documents).decode(), nl=False)
        return
    files = {f"{one['kind'].lower()}-{one['metadata']['name']}.yaml": one for one in imported.documents}
    to.mkdir(parents=True, exist_ok=True)
    there = next((name for name in files if (to / name).exists()), None)
    if there is not None:
        raise PermanentError(f"{to / there} is there already: nothing was written")
    for name, document in files.items():
        (to / name).write_bytes(dump([document]))
