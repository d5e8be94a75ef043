"""A real forge: Gitea on sqlite, with an administrator and a token; and the few calls made to it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.parts import build
from tests.parts.process import Part, free_port

ADMIN, PASSWORD = "windlass", "pull-not-push-1"
UNPRIVILEGED = "nobody"

CONFIGURATION = """
APP_NAME = Windlass parts
RUN_USER = {user}
RUN_MODE = prod
WORK_PATH = {work}

[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = true
OFFLINE_MODE = true
STATIC_ROOT_PATH = {static}
APP_DATA_PATH = {work}/data

[database]
DB_TYPE = sqlite3
PATH = {work}/gitea.db

[repository]
ROOT = {work}/repositories

[security]
INSTALL_LOCK = true
SECRET_KEY = windlass-parts-secret-key
INTERNAL_TOKEN = eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJuYmYiOjE3MDAwMDAwMDB9.windlass-parts-only-internal-token
PASSWORD_HASH_ALGO = pbkdf2$1000$32

[service]
DISABLE_REGISTRATION = true

[queue]
TYPE = channel

[webhook]
ALLOWED_HOST_LIST = loopback

[log]
LEVEL = Warn
MODE = console

[cron]
ENABLED = false

[actions]
ENABLED = false
"""


class ForgeRepository(NamedTuple):
    """A repository on the forge; ``push_url`` carries the administrator's password."""

    name: str
    clone_url: str
    push_url: str


class Gitea:
    """One forge on a free loopback port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.token = ""
        self._part: Part | None = None
        self._user = UNPRIVILEGED if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # Gitea refuses root

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Gitea:
        program = build.binary("gitea")
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(build.data("gitea"), self.folder / "static")
        runnable = self.folder / "gitea"
        shutil.copy(program, runnable)  # the cache may lie where that user can't go
        (self.folder / "app.ini").write_text(
            CONFIGURATION.format(user=self._user, work=self.folder, port=self.port, static=self.folder / "static")
        )
        self._give_away()
        command, environment, user = self._program()
        self.serve()
        self._command(command, environment, user, "admin", "user", "create", "--admin", "--username", ADMIN,
                      "--password", PASSWORD, "--email", "windlass@shop.example",
                      "--must-change-password=false")  # fmt: skip
        made = self._command(command, environment, user, "admin", "user", "generate-access-token", "--username", ADMIN,
                             "--token-name", "parts", "--scopes", "all", "--raw")  # fmt: skip
        self.token = made.strip().splitlines()[-1]
        return self

    def _program(self) -> tuple[list[Path], dict[str, str], str | None]:
        """Its command, environment and user."""
        environment = {"HOME": str(self.folder), "USER": self._user, "GITEA_WORK_DIR": str(self.folder)}
        command = [self.folder / "gitea", Path("--config"), self.folder / "app.ini"]
        return command, environment, self._user if os.geteuid() == 0 else None

    def serve(self) -> None:
        """Serve, for the first time or again."""
        command, environment, user = self._program()
        log = self.folder / "gitea.log"
        self._part = Part("gitea", [*command, "web"], log, environment=environment, user=user, cwd=self.folder)
        self._part.wait_ready(self._answers)

    def kill(self) -> None:
        """kill -9; `serve` goes on with all that it had."""
        assert self._part is not None
        self._part.kill()

    def _give_away(self) -> None:
        if os.geteuid() != 0:
            return
        user = pwd.getpwnam(self._user)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
        for parent in self.folder.parents:  # tests' temporary folders are the user's own; that user must pass through
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o011)

    def _command(self, command: list[Path], environment: dict[str, str], user: str | None, *arguments: str) -> str:
        process = subprocess.run(
            [*map(str, command), *arguments],
            env={**os.environ, **environment},
            user=user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(f"gitea {' '.join(arguments[:3])}: {process.stderr[-2000:]}{process.stdout[-2000:]}")
        return process.stdout

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/version", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    def stop(self) -> None:
        if self._part is not None:
            self._part.stop()

    def __enter__(self) -> Gitea:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call of the forge's API.

        :raises urllib.error.HTTPError: it was refused.
        """
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=data, method=method)
        request.add_header("Authorization", f"token {self.token}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def create_repository(self, name: str, *, private: bool = False) -> ForgeRepository:
        self.api("POST", "/user/repos", {"name": name, "private": private, "default_branch": "main"})
        clone = f"{self.url}/{ADMIN}/{name}.git"
        return ForgeRepository(name, clone, clone.replace("://", f"://{ADMIN}:{PASSWORD}@"))

    def create_webhook(
        self,
        repository: str,
        url: str,
        secret: str,
        *,
        events: Sequence[str] = ("push", "pull_request"),
        branches: str = "*",
    ) -> None:
        configuration = {"url": url, "content_type": "json", "secret": secret}
        body = {
            "type": "gitea",
            "active": True,
            "events": [*events],
            "branch_filter": branches,
            "config": configuration,
        }
        self.api("POST", f"/repos/{ADMIN}/{repository}/hooks", body)

    def create_pull_request(self, repository: str, head: str, title: str) -> int:
        body = {"head": head, "base": "main", "title": title}
        return int(self.api("POST", f"/repos/{ADMIN}/{repository}/pulls", body)["number"])

    def merge(self, repository: str, number: int) -> None:
        self.api("POST", f"/repos/{ADMIN}/{repository}/pulls/{number}/merge", {"Do": "merge"})

    def statuses(self, repository: str, commit: str) -> list[dict[str, Any]]:
        """The commit's statuses, newest first. (The forge sorts them by the second.)"""
        found: list[dict[str, Any]] = self.api("GET", f"/repos/{ADMIN}/{repository}/statuses/{commit}")
        return sorted(found, key=lambda status: int(status["id"]), reverse=True)
