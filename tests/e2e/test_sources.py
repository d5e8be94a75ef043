"""Several sources in one application, whole: objects of two repositories, kept equal to both."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.e2e.test_order import HOOK, job
from tests.e2e.world import World, config_map
from tests.parts.git import WorkTree
from tests.parts.waiting import until
from tests.parts.windlass import cluster, repository
from windlass.documents.types import source_id

pytestmark = pytest.mark.e2e


class TwoRepositories(World):
    """The application follows two folders of one repository, and a second repository."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path) -> None:
        super().__init__(folder, name, kubeconfig)
        self.second = f"{name}-second"
        self.second_url = self.git.create(self.second)
        self.second_work: WorkTree = self.git.work_tree(self.second, folder / "second")
        self.second_work.commit_and_push({"values/b.yaml": config_map("b", "1")})
        sources = [
            {"repository": name, "branch": "main", "path": "manifests"},
            {"repository": name, "branch": "main", "path": "more"},
            {"repository": self.second, "branch": "main", "path": "values"},
        ]
        self.windlass.write(
            repository(name, self.url, forge="generic"),
            repository(self.second, self.second_url, forge="generic"),
            cluster("local", kubeconfig),
            {
                "apiVersion": "windlass.dev/v1alpha1",
                "kind": "Application",
                "metadata": {"name": name},
                "spec": {"sources": sources, "destination": {"cluster": "local", "namespace": name}},
            },
        )

    def start(self) -> None:
        self.work.commit({"more/m.yaml": config_map("m", "1")})
        super().start()

    def push_second(self, files: dict[str, str | bytes | None]) -> None:
        commit = self.second_work.commit_and_push(files)
        body = json.dumps({"repository": self.second_url, "updates": [{"ref": "refs/heads/main", "after": commit}]})
        signature = hmac.new(self.windlass.secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(f"{self.windlass.url}/webhooks/{self.second}", data=body.encode())
        request.add_header("X-Windlass-Signature", f"sha256={signature}")
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture
def two(parts_folder: Path, kubeconfig: Path, unique: str) -> Iterator[TwoRepositories]:
    folder = parts_folder / unique
    folder.mkdir()
    one = TwoRepositories(folder, unique, kubeconfig)
    try:
        one.start()
        yield one
    finally:
        one.stop()


def test_the_objects_of_all_sources_are_one_application(two: TwoRepositories) -> None:
    until(lambda: (two.value("a"), two.value("m"), two.value("b")) == ("1", "1", "1"))


def test_hooks_run_for_a_push_to_any_source(two: TwoRepositories) -> None:
    commit = two.work.commit_and_push({"manifests/before.yaml": job("before", **{HOOK.replace("/", "__"): "PreSync"})})
    two.deliver(commit)
    two.applied_completely(commit, 60)
    path = f"/apis/batch/v1/namespaces/{two.name}/jobs/before"
    uid = (two.cluster.get(path) or {})["metadata"]["uid"]
    two.push_second({"values/b.yaml": config_map("b", "2")})
    until(lambda: two.value("b") == "2", show=lambda: two.windlass.log("worker")[-3000:])
    assert (two.cluster.get(path) or {})["metadata"]["uid"] != uid


def test_a_push_to_any_source_changes_only_what_it_names(two: TwoRepositories) -> None:
    until(lambda: two.value("b") == "1")
    two.push_second({"values/b.yaml": config_map("b", "2"), "values/c.yaml": config_map("c", "1")})
    until(lambda: (two.value("b"), two.value("c")) == ("2", "1"))
    assert two.value("a") == "1"
    run = two.push({"more/m.yaml": config_map("m", "2")})
    assert (run.applied, run.pruned, run.errors) == (1, 0, [])
    assert (two.value("m"), two.value("b")) == ("2", "2")


def test_what_leaves_one_source_is_pruned_and_the_others_objects_stay(two: TwoRepositories) -> None:
    until(lambda: two.value("b") == "1")
    two.push_second({"values/b.yaml": None, "values/d.yaml": config_map("d", "1")})
    until(lambda: (two.value("b"), two.value("d")) == (None, "1"))
    assert (two.value("a"), two.value("m")) == ("1", "1")


def test_an_object_that_moves_from_one_source_to_another_is_never_deleted(two: TwoRepositories) -> None:
    path = f"/api/v1/namespaces/{two.name}/configmaps/m"
    until(lambda: two.value("m") == "1")
    before = two.cluster.get(path)
    run = two.push({"more/m.yaml": None, "manifests/m.yaml": config_map("m", "1"), "more/x.yaml": config_map("x", "1")})
    assert (run.applied, run.pruned, run.errors) == (1, 0, [])
    after = two.cluster.get(path)
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_an_object_that_two_sources_define_is_an_error_that_names_both_files(two: TwoRepositories) -> None:
    until(lambda: two.value("b") == "1")
    run = two.push({"more/b.yaml": config_map("b", "mine")})
    (error,) = run.errors
    assert "values/b.yaml" in error
    assert "more/b.yaml" in error
    assert two.value("b") == "1"


def test_no_commit_is_taken_from_redis_that_the_other_source_does_not_have(two: TwoRepositories) -> None:
    """Who writes Redis, and may push any branch (or open a pull request), chooses nothing that is applied."""
    until(lambda: two.value("b") == "1")
    second = two.second_work
    evil = second.commit({"values/b.yaml": config_map("b", "evil")})
    second.push(ref="HEAD:refs/heads/anybodys")
    with redis.Redis.from_url(two.redis.url) as memory:
        memory.hset(f"windlass:source:{source_id(two.second, 'refs/heads/main')}", "processed", evil)
    two.deliver(two.work.commit_and_push({"manifests/a.yaml": config_map("a", "2")}))
    until(lambda: two.value("a") == "2" or two.windlass.last_run(two.name).errors, show=two.windlass.log)
    assert two.value("b") == "1"
    until(lambda: two.value("a") == "2", show=two.windlass.log)  # once that source's own job has looked
    assert two.value("b") == "1"
