"""Checkouts of Git repositories: the folders that a person names, and those that `--fetch` brings.

What must hold: nothing outside of a checkout is read, links are not followed, and what Git is asked for is an address of the
kinds that documents may hold, never an option or a helper.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from windlass.documents import syntax
from windlass.errors import PermanentError
from windlass.forges.address import repository_address

LARGEST = 10 << 20
SECONDS = 120.0
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": os.devnull,
    "GIT_CONFIG_KEY_1": "core.symlinks",
    "GIT_CONFIG_VALUE_1": "false",
}


class Folder:
    """A checkout's files."""

    def __init__(self, folder: Path, branch: str | None) -> None:
        self._folder, self._branch = folder, branch
        self._files: tuple[str, ...] | None = None

    @property
    def branch(self) -> str | None:
        return self._branch

    @property
    def files(self) -> tuple[str, ...]:
        if self._files is None:
            self._files = tuple(sorted(self._walk(self._folder)))
        return self._files

    def read(self, path: str) -> bytes:
        """
        :raises PermanentError: the file is too large, or can't be read.
        """
        file = self._folder / path
        try:
            if file.stat().st_size > LARGEST:
                raise PermanentError(f"{path}: more than {LARGEST} bytes")
            return file.read_bytes()
        except OSError as error:
            raise PermanentError(f"{path}: can't be read: {error.strerror}") from None

    def _walk(self, folder: Path) -> list[str]:
        found: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_file(follow_symlinks=False):
                    found.append(path.relative_to(self._folder).as_posix())
                elif entry.is_dir(follow_symlinks=False) and entry.name.lower() != ".git":
                    found += self._walk(path)
        return found


class Checkouts:
    """The checkouts that are known. ``scratch``: where others are fetched to; None: they aren't."""

    def __init__(self, scratch: Path | None = None) -> None:
        self._scratch = scratch
        self._named: dict[object, Folder] = {}
        self._fetched: dict[tuple[str, str], Folder | None] = {}
        self.failed: list[str] = []

    def add(self, said: str) -> None:
        """FOLDER, the checkout of its `origin`; or URL=FOLDER.

        :raises PermanentError: there is no such folder, or it has no origin.
        """
        url, equals, path = said.rpartition("=")
        folder = Path(path)
        if not folder.is_dir():
            raise PermanentError(f"--checkout {said}: there is no such folder")
        if not equals:
            url = git("remote", "get-url", "origin", folder=folder) or ""
            if not url:
                raise PermanentError(f"--checkout {said}: has no origin: say URL={said}")
        branch = git("symbolic-ref", "--quiet", "--short", "HEAD", folder=folder)
        self._named[_key(url)] = Folder(folder, branch or None)

    def tree(self, url: str, revision: str) -> Folder | None:
        """The checkout of ``url``, whatever revision it is at; else, if that is allowed, one that is fetched now."""
        if (known := self._named.get(_key(url))) is not None:
            return known
        if self._scratch is None or not syntax.valid_url(url):
            return None
        if (url, revision) not in self._fetched:
            self._fetched[url, revision] = self._fetch(url, revision)
        return self._fetched[url, revision]

    def _fetch(self, url: str, revision: str) -> Folder | None:
        assert self._scratch is not None
        folder = self._scratch / str(len(self._fetched))
        wanted = "" if revision == "HEAD" else revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        if wanted and not syntax.valid_ref(wanted):
            return None
        folder.mkdir()
        if syntax.valid_commit(wanted):
            steps = [
                ("init", "-q"),
                ("fetch", "-q", "--depth=1", "--no-tags", "--", url, wanted),
                ("checkout", "-q", "FETCH_HEAD"),
            ]
        else:
            branch = (f"--branch={wanted}",) if wanted else ()
            steps = [("clone", "-q", "--depth=1", "--no-recurse-submodules", *branch, "--", url, ".")]
        if any(git(*step, folder=folder) is None for step in steps):
            self.failed.append(f"{url} at {wanted or 'HEAD'} can't be fetched")
            return None
        return Folder(folder, git("symbolic-ref", "--quiet", "--short", "HEAD", folder=folder) or None)


def git(*arguments: str, folder: Path) -> str | None:
    """What Git answers; None: it failed."""
    try:
        ran = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


def _key(url: str) -> object:
    return repository_address(url) or url
