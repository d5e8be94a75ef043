"""`windlass crds`: the CustomResourceDefinitions of Windlass' documents, as the chart installs them."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--directory", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Write a file each, there."
)
def crds(directory: Path | None) -> None:
    """Print the CustomResourceDefinitions, for `kubectl apply --server-side -f -`."""
    from windlass.documents.crds import definitions, dumped

    for definition in definitions():
        text = dumped(definition)
        if directory is None:
            click.echo(f"---\n{text}", nl=False)
        else:
            (directory / f"{definition['spec']['names']['plural']}.yaml").write_text(text)
