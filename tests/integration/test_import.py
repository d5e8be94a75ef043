"""`windlass import`, as people type it: what it writes, where, what it says, and its status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.git import WorkTree
from tests.parts.git_http import GitHttp
from tests.unit.importing.support import argo
from windlass.documents.directory import DocumentDirectory

pytestmark = pytest.mark.integration

SET = """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: addons}
spec:
  generators: [{git: {repoURL: ADDRESS, revision: REVISION, directories: [{path: addons/*}]}}]
  template:
    metadata: {name: '{{path.basename}}'}
    spec:
      source: {repoURL: ADDRESS, targetRevision: REVISION, path: '{{path}}'}
      destination: {server: https://kubernetes.default.svc, namespace: addons}
      syncPolicy: {automated: {prune: true, selfHeal: true}}
"""

Import = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Import:
    """The command, in an empty folder; ``given`` is its standard input."""

    def imported(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "windlass.cli", "import", *arguments]
        return subprocess.run(
            command, input=given, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    return imported


@pytest.fixture
def addons(git_http: GitHttp, tmp_path: Path) -> tuple[str, WorkTree]:
    """A repository with two folders on `main`, a third one on `next`."""
    url, work = git_http.create("addons"), git_http.work_tree("addons", tmp_path / "work")
    work.commit_and_push({f"addons/{name}/a.yaml": "" for name in ("cache", "queue")})
    return url, work


def test_documents_go_to_standard_output_and_what_was_lost_to_standard_error(run: Import, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(argo(spec="syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}"))
    done = run("app.yaml")
    assert done.returncode == 0
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/all.yaml").write_text(done.stdout)
    assert DocumentDirectory(tmp_path / "documents").load().errors == ()
    lost = [line for line in done.stderr.splitlines() if line.startswith("lost: ")]
    assert len(lost) == 1
    assert lost[0].startswith("lost: app.yaml:12: Application guestbook: spec.syncPolicy.syncOptions[0]: ")
    assert (
        done.stderr.splitlines()[-1]
        == "imported 1 Repository, 1 Cluster, 1 Application; 1 lost; 0 other objects left alone"
    )


def test_strict_fails_if_anything_is_lost_and_writes_it_all_the_same(run: Import) -> None:
    assert run("-", "--strict", given=argo()).returncode == 0
    lossy = run("-", "--strict", given=argo(source="path: a\nfuture: 1"))
    assert lossy.returncode == 1
    assert "kind: Application" in lossy.stdout


@pytest.mark.parametrize("given", ["", "a: [", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"])
def test_nothing_imported_is_a_failure(run: Import, given: str) -> None:
    done = run("-", given=given)
    assert (done.returncode, done.stdout) == (1, "")
    assert "imported 0 Repository, 0 Cluster, 0 Application" in done.stderr


def test_a_folder_is_written_once_and_nothing_in_it_is_overwritten(run: Import, tmp_path: Path) -> None:
    (tmp_path / "given/deep").mkdir(parents=True)
    (tmp_path / "given/deep/app.yaml").write_text(argo())
    (tmp_path / "given/.hidden").mkdir()
    (tmp_path / "given/.hidden/app.yaml").write_text(argo(name="hidden"))
    (tmp_path / "given/link.yaml").symlink_to("/etc/hostname")
    assert run("given", "--to", "made").returncode == 0
    names = ["application-guestbook.yaml", "cluster-in-cluster.yaml", "repository-apps.yaml"]
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == names
    (tmp_path / "made/cluster-in-cluster.yaml").write_text("mine")
    again = run("given", "--to", "made")
    assert again.returncode == 1
    assert "is there already: nothing was written" in again.stderr
    assert (tmp_path / "made/cluster-in-cluster.yaml").read_text() == "mine"


def test_a_checkout_or_a_fetch_resolves_a_git_generator(run: Import, addons: tuple[str, WorkTree]) -> None:
    url, work = addons
    given = SET.replace("ADDRESS", url).replace("REVISION", "main")
    without = run("-", given=given)
    assert without.returncode == 1
    assert "give a --checkout of it, or --fetch" in without.stderr
    named, fetched = run("-", "--checkout", f"{url}={work.path}", given=given), run("-", "--fetch", given=given)
    assert named.returncode == fetched.returncode == 0
    assert named.stdout == fetched.stdout
    assert [f"name: {name}\n" in fetched.stdout for name in ("cache", "queue")] == [True, True]


def test_a_fetch_takes_head_a_tag_or_a_commit(run: Import, addons: tuple[str, WorkTree]) -> None:
    url, work = addons
    first = work.head
    work.commit_and_push({"addons/later/a.yaml": ""})
    for revision, later, ref in (("HEAD", True, "branch: main"), (first, False, f"commit: {first}")):
        done = run("-", "--fetch", given=SET.replace("ADDRESS", url).replace("REVISION", f"'{revision}'"))
        assert done.returncode == 0, done.stderr
        assert ("name: later\n" in done.stdout) is later
        assert ref in done.stdout
        assert "taken to be main" not in done.stderr


@pytest.mark.parametrize("url", ["ext::sh -c touch% hacked", "--upload-pack=touch hacked", "file:///etc"])
def test_only_addresses_of_servers_are_fetched(run: Import, tmp_path: Path, url: str) -> None:
    done = run("-", "--fetch", given=SET.replace("ADDRESS", f"'{url}'").replace("REVISION", "main"))
    assert done.returncode == 1
    assert not (tmp_path / "hacked").exists()
    assert "can't be fetched" not in done.stderr  # nobody tried


def test_a_server_that_is_away_is_said(run: Import) -> None:
    done = run("-", "--fetch", given=SET.replace("ADDRESS", "http://127.0.0.1:1/x.git").replace("REVISION", "main"))
    assert done.returncode == 1
    assert "http://127.0.0.1:1/x.git at main can't be fetched" in done.stderr


@pytest.mark.parametrize("arguments", [["nowhere.yaml"], ["-", "--checkout", "nowhere"], ["-", "--checkout", "."]])
def test_what_can_not_be_read_is_one_line(run: Import, arguments: list[str]) -> None:
    done = run(*arguments, given="")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
