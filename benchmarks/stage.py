"""What every measure stands on: a control plane, Git (a forge, or plain HTTP), Redis, and Windlass as people start it.

`make bench` names in WINDLASS_PYTHON the interpreter that has what is deployed, and none of the tests' packages.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.parts.control_plane import ControlPlane
from tests.parts.git import WorkTree
from tests.parts.git_http import GitHttpProcess
from tests.parts.gitea import ForgeRepository, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.windlass import Windlass


class Stage:
    """The parts of one measure."""

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path,
        plane: ControlPlane | None,
        redis: RedisServer,
        forge: Gitea | None,
        git: GitHttpProcess,
    ) -> None:
        self.folder, self.kubeconfig = folder, kubeconfig
        self._plane, self._redis, self._forge, self._git = plane, redis, forge, git
        self._trees: dict[str, WorkTree] = {}

    @property
    def forge(self) -> Gitea:
        assert self._forge is not None, "this measure has no forge"
        return self._forge

    def audited(self, agent: str, verbs: tuple[str, ...] = ()) -> list[dict[str, object]]:
        """The requests of ``agent`` so far, by the API server's audit log; watches, which never end, aside."""
        assert self._plane is not None, "only a control plane of our own tells of its requests"
        found = self._plane.audited(user_agent=agent, verbs=verbs)
        return [event for event in found if event["verb"] != "watch"]

    def create_repository(self, name: str, files: dict[str, str]) -> tuple[ForgeRepository, WorkTree]:
        """A public repository on the forge, with one commit."""
        remote = self.forge.create_repository(name)
        tree = WorkTree(self.folder / f"work-{name}", remote.push_url)
        tree.commit_and_push(files, "first")
        return remote, tree

    def bare_repository(self, name: str, files: dict[str, str]) -> str:
        """A repository behind Git's own HTTP backend, with one commit; returns its URL."""
        url = self._git.create(name)
        self._trees[name] = self._git.work_tree(name, self.folder / f"work-{name}")
        self._trees[name].commit_and_push(files, "first")
        return url

    def open_work_tree(self, name: str) -> WorkTree:
        return self._trees[name]

    def windlass(self, name: str, **environment: str) -> Windlass:
        """An installation with nothing started and an empty Redis."""
        self._redis.stop()
        self._redis.start()
        folder = self.folder / name
        folder.mkdir()
        windlass = Windlass(folder, self._redis.url, **environment)
        windlass.python = os.environ.get("WINDLASS_PYTHON", windlass.python)
        return windlass


@contextlib.contextmanager
def stage(name: str, *, forge: bool) -> Iterator[Stage]:
    """Start what a measure needs; KUBECONFIG names a cluster to measure on instead of our own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
        folder.chmod(0o755)
        if given := os.environ.get("KUBECONFIG"):
            plane, kubeconfig = None, Path(given)
        else:
            plane = stack.enter_context(ControlPlane(folder / "control-plane"))
            kubeconfig = plane.kubeconfig
        yield Stage(
            folder,
            kubeconfig,
            plane,
            stack.enter_context(RedisServer(folder)),
            stack.enter_context(Gitea(folder / "gitea")) if forge else None,
            stack.enter_context(GitHttpProcess(folder / "git")),
        )
