"""One real registry for the module, and access to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.registry.catalog import catalog, registry
from tests.parts.registry import Registry
from windlass.secrets import Secrets
from workers.registry.access import Access
from workers.registry.api import RegistryApi


@pytest.fixture(scope="session")
def image_registry(parts_folder: Path) -> Iterator[Registry]:
    """One that is open to everybody; each test has a name of its own in it."""
    with Registry(parts_folder / "registry") as server:
        yield server


@pytest.fixture
async def api(image_registry: Registry) -> AsyncIterator[RegistryApi]:
    made = RegistryApi(
        Access(catalog(registry(image_registry.host, image_registry.url)).registries["ours"].spec, Secrets())
    )
    yield made
    await made.close()
