"""What the README says can be typed: its documents are valid, and it names every command."""

from __future__ import annotations

import re
from pathlib import Path

from windlass.cli import COMMANDS
from windlass.documents.parse import parse_documents

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_its_documents_are_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    found = parse_documents(block.encode(), "README.md")
    assert found.errors == []
    assert [type(document).__name__ for document, _ in found.documents] == ["Repository", "Cluster", "Application"]


def test_it_names_every_command() -> None:
    table = README[README.index("| command |") : README.index("## Settings")]
    first = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    named = {command.split()[0] for command in re.findall(r"`(?:windlass )?([^`]+)`", first)}
    assert named == set(COMMANDS)
