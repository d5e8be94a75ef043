"""A work tree to commit and push from, with Git's own command line and nothing of the user's configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "A Developer",
    "GIT_AUTHOR_EMAIL": "developer@shop.example",
    "GIT_COMMITTER_NAME": "A Developer",
    "GIT_COMMITTER_EMAIL": "developer@shop.example",
}


def git(*arguments: str, cwd: Path | None = None, user: str | None = None) -> str:
    """A git command's output.

    :raises RuntimeError: with what git said.
    """
    process = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
        user=user,
    )
    if process.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {process.stderr[-1000:]}")
    return process.stdout.strip()


class WorkTree:
    """A clone that commits and pushes to ``main`` of ``remote``."""

    def __init__(self, path: Path, remote: str, *, branch: str = "main") -> None:
        self.path, self.remote, self.branch = path, remote, branch
        path.mkdir(parents=True, exist_ok=True)
        git("init", "-q", "-b", branch, cwd=path)
        git("remote", "add", "origin", remote, cwd=path)

    @property
    def head(self) -> str:
        return git("rev-parse", "HEAD", cwd=self.path)

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        """Write (or, where None, delete) files and commit them; returns the commit's id."""
        for name, content in files.items():
            file = self.path / name
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        git("add", "-A", cwd=self.path)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.path)
        return self.head

    def push(self, *, force: bool = False, ref: str | None = None) -> None:
        git("push", "-q", *(["--force"] if force else []), "origin", ref or self.branch, cwd=self.path)

    def commit_and_push(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        commit = self.commit(files, message)
        self.push()
        return commit

    def git(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.path)
