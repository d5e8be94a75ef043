"""`windlass ship`: one commit of the code, built, published, and delivered either way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_deploy import WEB
from tests.e2e.test_promotion import document
from tests.e2e.world import World
from tests.parts import builder
from tests.parts.git import WorkTree
from tests.parts.registry import Registry
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e

TOKEN = "a token of CI, of some length"


@pytest.fixture(scope="module")
def registry(parts_folder: Path) -> Iterator[Registry]:
    with Registry(parts_folder / "registry-of-ship") as made:
        yield made


@pytest.fixture
def code(tmp_path: Path) -> WorkTree:
    made = WorkTree(tmp_path / "code", "https://git.example/shop/code.git")
    made.commit({"Dockerfile": "FROM scratch\nCOPY site /site\n", "site": "Ahoy\n"})
    return made


def ship(world: World, registry: Registry, code: WorkTree, *more: str) -> Any:
    wished = ("--image", f"{registry.host}/shop/web", "--path", str(code.path), "--tag", "1.1.0", "--insecure")
    return world.windlass.run("ship", *wished, *more)


def prepare(world: World, registry: Registry, code: WorkTree, **sync: Any) -> None:
    world.push({"manifests/web.yaml": WEB.replace("registry.example", registry.host)})
    before = {name: world.windlass.log(name).count(f"documents.{word}") for name, word in READ.items()}
    world.windlass.environment |= builder.environment(code.path.parent / "builder")
    ci = {"type": "ci", "images": [f"{registry.host}/shop/*"], "secrets": [{"file": str(code.path.parent / "token")}]}
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name, sync=sync),
        document("Registry", "ci", ci),
        document(
            "Promotion",
            "web",
            {
                "image": f"{registry.host}/shop/web",
                "mode": "commit",
                "pin": "digest",
                "target": {"repository": world.name, "branch": "main", "path": "manifests"},
            },
        ),
    )
    until(lambda: all(world.windlass.log(n).count(f"documents.{w}") > before[n] for n, w in READ.items()))


READ = {"worker": "loaded", "service": "used"}


def image(world: World) -> str:
    found = world.cluster.get(f"/apis/apps/v1/namespaces/{world.name}/deployments/web")
    assert found is not None
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def test_gitops_ends_in_git_and_then_in_the_cluster(world: World, registry: Registry, code: WorkTree) -> None:
    (code.path.parent / "token").write_text(TOKEN)
    prepare(world, registry, code)
    world.windlass.environment |= {"WINDLASS_SERVICE": world.windlass.url, "WINDLASS_IMAGE_TOKEN": "wrong"}
    refused = ship(world, registry, code, "--gitops")
    assert (refused.returncode, "401" in refused.stderr.splitlines()[-1]) == (1, True)
    assert "wrong" not in refused.stderr
    world.windlass.environment["WINDLASS_IMAGE_TOKEN"] = TOKEN
    done = ship(world, registry, code, "--gitops")
    assert done.returncode == 0, done.stderr
    assert "web: queued" in done.stdout
    pinned = f"{registry.host}/shop/web:1.1.0@sha256:"
    until(lambda: image(world).startswith(pinned), show=lambda: world.windlass.log("worker")[-4000:])
    world.work.git("fetch", "-q", "origin", "main")
    assert "web:1.1.0@sha256:" in world.work.git("show", "FETCH_HEAD:manifests/web.yaml")


def test_push_ends_in_the_cluster_and_git_keeps_what_it_had(world: World, registry: Registry, code: WorkTree) -> None:
    (code.path.parent / "token").write_text(TOKEN)
    prepare(world, registry, code, automatic=False)
    done = ship(world, registry, code, "--push", "--application", world.name)
    assert done.returncode == 0, done.stderr
    assert image(world).startswith(f"{registry.host}/shop/web:1.1.0@sha256:")
    world.work.git("fetch", "-q", "origin", "main")
    assert "web:1.0.0" in world.work.git("show", "FETCH_HEAD:manifests/web.yaml")


def test_one_word_says_the_way(world: World, registry: Registry, code: WorkTree) -> None:
    assert "say --push or --gitops" in ship(world, registry, code).stderr
    assert "say which --application" in ship(world, registry, code, "--push").stderr
