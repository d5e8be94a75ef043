"""A store of its own for every test, and a repository with a small shop on Git's own HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.parts.git import WorkTree
from tests.parts.git_http import GitHttp
from workers.aiogit import GitRepository, Remote

MAIN = "refs/heads/main"

Opener = Callable[..., Coroutine[Any, Any, GitRepository]]


class Shop(NamedTuple):
    """A repository as its developers see it."""

    name: str
    url: str
    tree: WorkTree
    server: GitHttp

    @property
    def folder(self) -> Path:
        """The bare repository on the server."""
        return self.server.root / f"{self.name}.git"

    def push(self, files: dict[str, str | bytes | None], message: str = "change") -> str:
        return self.tree.commit_and_push(files, message)


@pytest.fixture
def shop(git_http: GitHttp, tmp_path: Path) -> Shop:
    url = git_http.create("shop")
    return Shop("shop", url, git_http.work_tree("shop", tmp_path / "work"), git_http)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens repositories, and closes them at the end: ``await opened(url, folder="store", limits=...)``."""
    repositories: list[GitRepository] = []

    async def open_one(remote: Remote | str, folder: str = "store", **options: Any) -> GitRepository:
        made = remote if isinstance(remote, Remote) else Remote(remote)
        repository = GitRepository(tmp_path / f"{folder}.git", made, **options)
        await repository.open()
        repositories.append(repository)
        return repository

    yield open_one
    for repository in repositories:
        await repository.close()


@pytest.fixture
async def repository(opened: Opener, shop: Shop) -> GitRepository:
    return await opened(shop.url)
