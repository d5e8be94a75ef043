"""A range of versions followed, whole: the highest tag within it is what the cluster says, whether or not a webhook comes."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World, config_map
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


class Versions(World):
    """A world whose application follows ``>=1.2 <2``."""

    def start(self) -> None:
        self.redis.start()
        self.git.__enter__()
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {self.name}\n"
        self.work.commit({"manifests/namespace.yaml": namespace})
        self.windlass.start_service()
        self.release("v1.2.0", "one")
        self.windlass.start_worker()
        self.applied(self.work.head)

    def release(self, tag: str, value: str, *, annotated: bool = False) -> str:
        """Commit, tag and push the tag alone; the commit."""
        commit = self.work.commit({"manifests/a.yaml": config_map("a", value)})
        self.work.git("tag", *(["-a", "-m", "a release"] if annotated else []), tag)
        self.work.push(ref=f"refs/tags/{tag}")
        return commit

    def tell(self, ref: str, commit: str) -> dict[str, str]:
        """The webhook of a pushed tag; what it answers of each source, by ref."""
        body = json.dumps({"repository": self.url, "updates": [{"ref": ref, "after": commit}]}).encode()
        request = urllib.request.Request(f"{self.windlass.url}/webhooks/{self.name}", data=body)
        signature = hmac.new(self.windlass.secret.encode(), body, hashlib.sha256).hexdigest()
        request.add_header("X-Windlass-Signature", f"sha256={signature}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {row["ref"]: row["outcome"] for row in json.loads(answer.read()).get("sources", [])}


@pytest.fixture
def make(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[Versions]:
    folder = parts_folder / unique
    folder.mkdir()
    made = Versions(folder, unique, kubeconfig)
    follows = application(unique, repository=unique, namespace=unique)
    follows["spec"]["sources"] = [{"repository": unique, "semver": ">=1.2 <2", "path": "manifests"}]  # type: ignore[index]
    made.windlass.write(repository(unique, made.url, forge="generic"), cluster("local", kubeconfig), follows)
    try:
        yield made
    finally:
        made.stop()


def test_the_highest_version_within_the_range_is_applied_when_its_tag_is_pushed(make: Versions) -> None:
    make.start()
    commit = make.release("v1.10.0", "two", annotated=True)
    assert make.tell("refs/tags/v1.10.0", commit) == {"semver:>=1.2 <2": "queued"}
    make.applied(commit)
    assert make.value("a") == "two"
    for tag in ("v2.0.0", "v1.11.0-rc.1", "nightly"):
        assert make.tell(f"refs/tags/{tag}", make.release(tag, tag)) == {}, "not within the range"
    older = make.release("v1.9.0", "older")
    assert make.tell("refs/tags/v1.9.0", older) == {"semver:>=1.2 <2": "queued"}
    last = make.release("v1.10.1", "three")
    make.tell("refs/tags/v1.10.1", last)
    make.applied(last)
    assert make.value("a") == "three"
    assert older not in {run.revision for run in make.runs()}


def test_a_tag_whose_webhook_is_lost_is_found_by_the_poll(make: Versions) -> None:
    make.windlass.environment["WINDLASS_POLL"] = "1"
    make.start()
    commit = make.release("v1.3.0", "found")
    make.applied(commit, 60)
    assert make.value("a") == "found"
