"""A renderer with the real programs, and commits in a real store: of exactly the files that a test gives."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pygit2
import pytest

from tests.parts.build import binary
from windlass.documents.types import Source
from windlass.secrets import Secrets
from workers.aiogit import GitRepository, Remote
from workers.render.commit_tree import CommitTree
from workers.render.helm import Target
from workers.render.renderer import Output, Renderer

LINK = "link:"
"""Begins the content of what is a symbolic link."""
TARGET = Target("shop", "shop-prod", "v1.36.3", ("apps/v1", "monitoring.coreos.com/v1/ServiceMonitor"))

Committer = Callable[[Mapping[str, str | bytes]], CommitTree]


@pytest.fixture
async def commit(tmp_path: Path) -> AsyncIterator[Committer]:
    """Writes a commit, and hands out its tree as the reconciler sees it."""
    repository = GitRepository(tmp_path / "store.git", Remote("https://git.example/shop.git"))
    await repository.open()
    raw = pygit2.Repository(str(tmp_path / "store.git"))
    who = pygit2.Signature("A Developer", "developer@shop.example", 0, 0)

    def write(files: Mapping[str, str | bytes]) -> CommitTree:
        index = pygit2.Index()
        for path, content in files.items():
            link = isinstance(content, str) and content.startswith(LINK)
            mode = pygit2.enums.FileMode.LINK if link else pygit2.enums.FileMode.BLOB
            text = content.removeprefix(LINK) if isinstance(content, str) else content
            data = textwrap.dedent(text).encode() if isinstance(text, str) else text
            index.add(pygit2.IndexEntry(path, raw.create_blob(data), mode))
        made = raw.create_commit(None, who, who, "change", index.write_tree(raw), [])
        return CommitTree(repository, str(made))

    yield write
    await repository.close()


def programs() -> dict[str, str]:
    return {name: str(binary(name)) for name in ("helm", "kustomize")}


@pytest.fixture
async def renderer(tmp_path: Path) -> AsyncIterator[Renderer]:
    made = Renderer(Secrets(), programs=programs())
    await made.open()
    yield made
    made.close()


def source(path: str, **options: object) -> Source:
    return Source(repository="shop", branch="main", path=path, **options)  # type: ignore[arg-type]


def named(output: Output) -> list[str]:
    """The objects of an output, in its order."""
    return [f"{manifest.kind}/{manifest.name}" for manifest in output.manifests]
