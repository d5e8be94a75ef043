"""What `windlass deploy` can't mean, and what of a folder becomes a commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.parts.git import WorkTree
from windlass.cli import cli
from windlass.cli.folder import Asked, folder
from windlass.errors import PermanentError
from windlass.settings import Settings
from workers import folder as folders
from workers.folder import opened, take

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "exactly one of --application and --path"),
        (("--path", ".", "--application", "web"), "exactly one of --application and --path"),
        (("--path", ".", "--force"), "--force goes with --application"),
        (("--application", "web"), "--application needs --image"),
        (("--application", "web", "--image", "web:1", "--context", "x"), "--context goes with --path"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...], said: str) -> None:
    refused = CliRunner().invoke(cli, ["deploy", *options])
    assert (refused.exit_code, said in refused.output) == (2, True), refused.output


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "No Label"}, "say one with --name"),
        ({"path": Path("/")}, "say one with --name"),
        ({"cluster": "elsewhere"}, "there is no valid Cluster elsewhere"),
        ({"timeout": "soon"}, "--timeout soon: expected a duration"),
        ({"namespace": "a/b"}, "--namespace a/b: expected the name"),
        ({"path": Path("nowhere"), "name": "web"}, "nowhere is no folder"),
    ],
)
async def test_what_an_option_cannot_mean_is_refused(
    changed: dict[str, object], said: str, tmp_path: Path, redis_url: str
) -> None:
    settings = Settings.from_env({"REDIS_URL": redis_url, "WINDLASS_DATA": str(tmp_path / "data")})
    asked = Asked(tmp_path, None, None, None, "default", None)._replace(**changed)
    with pytest.raises(PermanentError, match=said):
        async with folder(settings, asked):
            raise AssertionError("it can't be opened")


async def tree(place: Path, store: Path) -> tuple[str, str, list[str]]:
    """The commit, the folder's path in it, and the files of the commit, by git."""
    repository = await opened(store)
    taken = take(repository, place)
    await repository.close()
    command = ["git", "-C", str(store), "ls-tree", "-r", "--full-tree", taken.commit]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    subprocess.run(["git", "-C", str(store), "fsck", "--strict"], check=True, capture_output=True)
    return taken.commit, taken.path, [f"{line[:6]} {line.partition(chr(9))[2]}" for line in listed.splitlines()]


async def test_a_folder_is_the_commit_that_git_would_make_of_it(tmp_path: Path) -> None:
    place = tmp_path / "shop"
    for name in ("a.yaml", "a/b.yaml", "a-b.yaml", "sub/deep/c.yaml", ".git/config", "sub/.hidden"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    (place / "run.sh").write_text("#!/bin/sh")
    (place / "run.sh").chmod(0o755)
    (place / "link.yaml").symlink_to("/etc/passwd")
    (place / "linked").symlink_to("/etc")
    commit, path, files = await tree(place, tmp_path / "store.git")
    assert path == ""
    assert files == [
        "100644 a-b.yaml", "100644 a.yaml", "100644 a/b.yaml", "120000 link.yaml", "120000 linked", "100755 run.sh",
        "100644 sub/.hidden", "100644 sub/deep/c.yaml",
    ]  # fmt: skip
    os.utime(place / "a.yaml", (0, 0))
    assert (await tree(place, tmp_path / "other.git"))[0] == commit, "the same files are the same commit"
    (place / "a.yaml").write_text("changed")
    assert (await tree(place, tmp_path / "other.git"))[0] != commit


async def test_a_kustomization_has_its_work_tree_with_it_but_for_what_git_ignores(tmp_path: Path) -> None:
    work = WorkTree(tmp_path / "work", str(tmp_path / "nowhere.git"))
    for name in ("base/web.yaml", "prod/kustomization.yaml", "prod/secret.env", "node_modules/x.yaml"):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text(name)
    (tmp_path / "work" / ".gitignore").write_text("node_modules\nsecret.env\n")
    assert work
    _, path, files = await tree(tmp_path / "work" / "prod", tmp_path / "store.git")
    assert path == "prod"
    assert [file[7:] for file in files] == [
        ".gitignore", "base/web.yaml", "prod/kustomization.yaml", "prod/secret.env",
    ]  # fmt: skip


async def test_a_folder_that_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    for number in range(3):
        (tmp_path / "shop" / f"{number}.yaml").write_text("x" * 100)
    repository = await opened(tmp_path / "store.git")
    for limit, value, said in (("MOST_FILES", 2, "more than 2 files"), ("MOST_BYTES", 250, "more than 0 MiB")):
        with monkeypatch.context() as patched:
            patched.setattr(folders, limit, value)
            with pytest.raises(PermanentError, match=said):
                take(repository, tmp_path / "shop")
    await repository.close()
