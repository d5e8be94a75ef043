"""A world of its own for each end-to-end test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World


@pytest.fixture
def world(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[World]:
    folder = parts_folder / unique
    folder.mkdir()
    made = World(folder, unique, kubeconfig)
    try:
        made.start()
        yield made
    finally:
        made.stop()
