"""From a commit to an image in a real registry, by a real builder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.git import WorkTree
from tests.parts.registry import Registry

pytestmark = pytest.mark.integration

DOCKERFILE = 'FROM scratch\nARG VERSION=none\nLABEL version=$VERSION\nCOPY hello /hello\nENTRYPOINT ["/hello"]\n'


@pytest.fixture(scope="module")
def registry(parts_folder: Path) -> Iterator[Registry]:
    with Registry(parts_folder / "registry-of-builds") as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> WorkTree:
    made = WorkTree(tmp_path / "work", "https://someone:password@git.example/shop/web.git")
    made.commit({"Dockerfile": DOCKERFILE, "hello": "hello\n", "secret/key": "not in the image"}, "The web server")
    return made


class Outcome:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def result(self) -> dict[str, Any]:
        assert self.status == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found


def build(work: WorkTree, image: str, *more: str, tmp: Path) -> Outcome:
    """`windlass build`, with storage of its own."""
    storage = tmp / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp}/graph"\nrunroot = "{tmp}/run"\n')
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(storage),
        "BUILDAH_ISOLATION": "chroot",
        "STORAGE_DRIVER": "vfs",
    }
    command = [
        sys.executable,
        "-m",
        "windlass.cli",
        "build",
        "--insecure",
        "--path",
        str(work.path),
        "--image",
        image,
    ]
    done = subprocess.run([*command, "-o", "json", *more], env=environment, text=True, capture_output=True, timeout=120)
    return Outcome(done)


def config(registry: Registry, name: str, tag: str) -> dict[str, Any]:
    """The image's configuration, as the registry has it."""

    def get(path: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{registry.url}/v2/{name}/{path}")
        request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {"digest": answer.headers["Docker-Content-Digest"], **json.loads(answer.read())}

    manifest = get(f"manifests/{tag}")
    return {"manifest": manifest["digest"], **get(f"blobs/{manifest['config']['digest']}")}


def test_a_commit_is_built_tagged_labelled_and_published(
    work: WorkTree, registry: Registry, unique: str, tmp_path: Path
) -> None:
    work.git("tag", "v1.2.0")
    image = f"{registry.host}/{unique}/web"
    (work.path / "hello").write_text("not committed\n")
    found = build(work, image, "--tag", "1.2.0", "--build-arg", "VERSION=1.2.0", tmp=tmp_path).result
    assert (found["tag"], found["tags"]) == ("1.2.0", ["1.2.0", "v1.2.0", work.head])
    for tag in found["tags"]:
        assert config(registry, f"{unique}/web", tag)["manifest"] == found["digest"]
    labels = config(registry, f"{unique}/web", "1.2.0")["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == work.head
    assert labels["org.opencontainers.image.source"] == "https://git.example/shop/web.git"
    assert labels["version"] == "1.2.0"


def test_the_same_commit_is_the_same_image_on_any_day(
    work: WorkTree, registry: Registry, unique: str, tmp_path: Path
) -> None:
    digests = set()
    for number in range(2):
        storage = tmp_path / str(number)
        storage.mkdir()
        digests.add(build(work, f"{registry.host}/{unique}/web", tmp=storage).result["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({"Dockerfile": "FROM scratch\nCOPY missing /x\n"}, (), "buildah build failed"),
        ({}, ("--file", "Other"), "Other: no such file in "),
        ({}, ("--file", "../Dockerfile"), "leaves the repository"),
        ({}, ("--revision", "nowhere"), "nowhere: no commit of"),
        ({}, ("--tag", "a/b"), "'a/b' is no tag"),
        ({}, ("--image", "registry.example/web:1"), "expected an image without tag"),
        ({}, ("--timeout", "0.01"), "did not finish within 0.01 s"),
    ],
)
def test_what_can_not_be_is_said_in_a_line(
    work: WorkTree, tmp_path: Path, files: dict[str, str], options: tuple[str, ...], said: str
) -> None:
    if files:
        work.commit(files, "Broken")
    done = build(work, "registry.example/shop/web", "--no-push", *options, tmp=tmp_path)
    assert done.status == 1
    assert said in done.err.splitlines()[-1]


def test_a_link_that_leaves_the_tree_is_not_followed(work: WorkTree, tmp_path: Path) -> None:
    (work.path / "out").symlink_to("/etc/passwd")
    work.commit({"Dockerfile": "FROM scratch\nCOPY out /x\n"}, "A link")
    done = build(work, "registry.example/shop/web", "--no-push", tmp=tmp_path)
    assert done.status == 1
    assert "can't be written to a folder" in done.err
    assert "password" not in done.err


def test_credentials_that_are_refused_are_not_shown(
    work: WorkTree, parts_folder: Path, unique: str, tmp_path: Path
) -> None:
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text("ci:$2y$05$7wL1DdB5bK1tTzUZ9rKcTuk3v0DqXo0mYJ1rG4QZ3qZyKXh5zq8Pm\n")
    with Registry(parts_folder / unique, auth={"htpasswd": {"realm": "shop", "path": str(htpasswd)}}) as closed:
        auth = tmp_path / "auth.json"
        auth.write_text(json.dumps({"auths": {closed.host: {"auth": "Y2k6bm90LXRoZS1wYXNzd29yZA=="}}}))
        os.environ["REGISTRY_AUTH_FILE"] = str(auth)
        try:
            done = build(work, f"{closed.host}/{unique}/web", tmp=tmp_path)
        finally:
            del os.environ["REGISTRY_AUTH_FILE"]
    assert done.status == 1
    assert "buildah push failed" in done.err
    assert "unauthorized" in done.err.lower() or "authentication required" in done.err
    assert "not-the-password" not in done.err
