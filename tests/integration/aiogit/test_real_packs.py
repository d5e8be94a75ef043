"""The pack reader against packs as git itself makes them: deep chains, thin, by offset and by id."""

import random
import subprocess

import pytest

from tests.parts.git import git
from workers.aiogit.packs import BLOB, NAMES, PackObject, read_pack

pytestmark = pytest.mark.integration


def pack_of(folder, revisions, *options):
    return subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q", *options],
        cwd=folder,
        input="\n".join(revisions).encode(),
        capture_output=True,
        check=True,
    ).stdout


def object_in(folder, oid):
    kind = subprocess.run(["git", "cat-file", "-t", oid], cwd=folder, capture_output=True, check=True).stdout.strip()
    data = subprocess.run(["git", "cat-file", kind.decode(), oid], cwd=folder, capture_output=True, check=True).stdout
    return PackObject({name: number for number, name in NAMES.items()}[kind], data)


@pytest.mark.parametrize("options", [[], ["--delta-base-offset"], ["--depth=50", "--window=50", "--no-reuse-delta"]])
@pytest.mark.parametrize("thin", [False, True])
def test_every_object_is_the_one_that_git_says(tmp_path, shop, options, thin):
    numbers = random.Random(len(options) + thin)
    body = ["x" * 40 + str(numbers.random()) for _ in range(200)]
    for step in range(12):
        body[numbers.randrange(200)] = f"changed {step}"
        shop.push({"a.yaml": "\n".join(body), f"{step}.bin": numbers.randbytes(3000), "empty": b""})
    shop.tree.git("tag", "-a", "v1", "-m", "one")
    revisions = ["main", "v1", *(["^main~3"] if thin else [])]
    pack = pack_of(shop.tree.path, revisions, *options, *(["--thin"] if thin else []))

    asked = []

    def store(oid):
        asked.append(oid)
        return object_in(shop.tree.path, oid.hex())

    found = read_pack(pack, store if thin else (lambda _: None), max_inflated=64 << 20)
    expected = git("rev-list", "--objects", *revisions, cwd=shop.tree.path).splitlines()
    assert {oid.hex() for oid in found} == {line.split()[0] for line in expected}
    for oid, item in found.items():
        assert item == object_in(shop.tree.path, oid.hex())
    assert bool(asked) == thin
    assert any(item.kind == BLOB for item in found.values())
