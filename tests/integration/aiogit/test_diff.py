"""What changed is told file by file; what is no plain file is refused by name, and nothing of it is read (threats B1
to B3)."""

import os
import time

import pygit2
import pytest

from tests.integration.aiogit.conftest import MAIN
from workers.aiogit import Limits
from workers.aiogit.errors import GitError, LimitExceededError, PathError

pytestmark = pytest.mark.integration


async def fetched(repository, shop):
    await repository.fetch(MAIN, shop.tree.head, name="shop-main")
    return shop.tree.head


def told(changes):
    return {change.path: ("+" if change.new else "") + ("-" if change.old else "") for change in changes}


async def test_added_changed_removed_and_moved_files(repository, shop):
    old = shop.push({"shop/a.yaml": "1", "shop/deep/b.yaml": "2", "shop/c.yaml": "3", "other/d.yaml": "4"})
    shop.push({"shop/a.yaml": "1+", "shop/deep/b.yaml": None, "shop/moved/b.yaml": "2", "other/d.yaml": "4+"})
    new = await fetched(repository, shop)
    assert told(repository.diff(old, new, "shop")) == {
        "shop/a.yaml": "+-",
        "shop/deep/b.yaml": "-",
        "shop/moved/b.yaml": "+",
    }
    assert told(repository.diff(old, new, "")).keys() == {
        "shop/a.yaml", "shop/deep/b.yaml", "shop/moved/b.yaml", "other/d.yaml",
    }  # fmt: skip
    assert told(repository.diff(None, new, "/shop/./")) == {
        "shop/a.yaml": "+", "shop/c.yaml": "+", "shop/moved/b.yaml": "+",
    }  # fmt: skip


async def test_a_folder_that_nothing_touched_keeps_its_id(repository, shop):
    old = shop.push({"shop/a.yaml": "1", "other/d.yaml": "4"})
    shop.push({"other/d.yaml": "5"})
    new = await fetched(repository, shop)
    assert repository.tree_id(old, "shop") is not None
    assert repository.tree_id(old, "shop") == repository.tree_id(new, "shop")
    assert repository.tree_id(old, "") != repository.tree_id(new, "")
    assert repository.diff(old, new, "shop") == []


async def test_a_file_becomes_a_folder_and_back(repository, shop):
    first = shop.push({"shop/a.yaml": "1"})
    second = shop.push({"shop/a.yaml": None, "shop/a.yaml/b.yaml": "2"})
    shop.push({"shop/a.yaml/b.yaml": None})
    (shop.tree.path / "shop/a.yaml").rmdir()
    shop.push({"shop/a.yaml": "3"})
    third = await fetched(repository, shop)
    assert told(repository.diff(first, second, "shop")) == {"shop/a.yaml": "-", "shop/a.yaml/b.yaml": "+"}
    assert told(repository.diff(second, third, "shop")) == {"shop/a.yaml": "+", "shop/a.yaml/b.yaml": "-"}


async def test_a_files_mode_alone_is_no_change(repository, shop):
    old = shop.push({"shop/a.yaml": "1"})
    (shop.tree.path / "shop/a.yaml").chmod(0o755)
    shop.push({})
    assert repository.diff(old, await fetched(repository, shop), "shop") == []


async def test_a_missing_folder_is_an_error_and_not_an_empty_one(repository, shop):
    shop.push({"a.yaml": "1"})
    new = await fetched(repository, shop)
    for path in ("shop", "a.yaml", "../shop", ".."):
        with pytest.raises(PathError):
            repository.diff(None, new, path)
    with pytest.raises(GitError):
        repository.diff(None, "1" * 40, "")


async def test_symbolic_links_are_refused_wherever_they_lead(repository, shop):
    shop.push({"shop/a.yaml": "1", "real/b.yaml": "2"})
    os.symlink("/proc/self/environ", shop.tree.path / "shop/secrets.yaml")
    os.symlink("../real", shop.tree.path / "shop/folder")
    os.symlink("loop", shop.tree.path / "shop/loop")
    os.symlink("real", shop.tree.path / "linked")
    shop.push({})
    new = await fetched(repository, shop)
    found = repository.diff(None, new, "shop")
    assert {change.path: change.refused for change in found if change.refused} == {
        "shop/secrets.yaml": "is a symbolic link",
        "shop/folder": "is a symbolic link",
        "shop/loop": "is a symbolic link",
    }
    assert all(change.new is None for change in found if change.refused)
    assert repository.tree_id(new, "linked") is None
    with pytest.raises(PathError, match="symbolic link"):
        repository.diff(None, new, "linked")


async def test_a_folder_that_becomes_a_link_loses_its_files_and_is_refused(repository, shop):
    old = shop.push({"shop/sub/a.yaml": "1", "x": "1"})
    (shop.tree.path / "shop/sub/a.yaml").unlink()
    (shop.tree.path / "shop/sub").rmdir()
    os.symlink("/etc", shop.tree.path / "shop/sub")
    shop.push({})
    found = repository.diff(old, await fetched(repository, shop), "shop")
    assert {(change.path, change.refused) for change in found} == {
        ("shop/sub", "is a symbolic link"),
        ("shop/sub/a.yaml", ""),
    }


async def push_tree(shop, entries):
    """Push a commit whose root folder has exactly these raw entries, however wrong."""
    bare = pygit2.Repository(str(shop.folder))
    blob = bare.create_blob(b"kind: Trap")
    raw = b"".join(b"%s %s\0%s" % (mode, name, oid or blob.raw) for mode, name, oid in entries)
    tree = bare.odb.write(pygit2.enums.ObjectType.TREE, raw)
    who = pygit2.Signature("A Developer", "developer@shop.example")
    text = f"tree {tree}\nauthor {who.name} <{who.email}> 1 +0000\ncommitter {who.name} <{who.email}> 1 +0000\n\ntrap\n"
    commit = bare.odb.write(pygit2.enums.ObjectType.COMMIT, text.encode())
    bare.references.create(MAIN, commit, force=True)
    return str(commit)


async def test_names_that_no_file_may_have_are_refused_entries_and_not_crashes(repository, shop, tmp_path):
    module = b"\x07" * 20
    commit = await push_tree(
        shop,
        [
            (b"100644", b"..", None),
            (b"100644", b".GIT", None),
            (b"100644", b".git", None),
            (b"100644", b"../../escape.yaml", None),
            (b"100644", b"bad\x1b[31m.yaml", None),
            (b"100644", b"\xff\xfe.yaml", None),
            (b"100644", b"good.yaml", None),
            (b"160000", b"module\r", module),
            (b"100600", b"odd.yaml", None),
        ],
    )
    fetched = await repository.fetch(MAIN, commit, name="shop-main")
    assert fetched.way == "v2"
    found = {change.path: change.refused for change in repository.diff(None, commit, "")}
    assert found.pop("good.yaml") == ""
    assert len(found) == 8
    assert all(found.values())
    assert all(path.isprintable() for path in found)
    assert not list(tmp_path.rglob("escape.yaml"))


async def test_a_name_twice_in_a_folder_is_refused(repository, shop):
    other = pygit2.Repository(str(shop.folder)).create_blob(b"other").raw
    commit = await push_tree(shop, [(b"100644", b"a.yaml", None), (b"100644", b"a.yaml", other)])
    await repository.fetch(MAIN, commit, name="shop-main")
    assert [change.refused for change in repository.diff(None, commit, "")] == ["occurs twice in its folder"]


async def test_hooks_and_configuration_in_a_repository_are_only_files(repository, shop, tmp_path):
    """A repository that looks like a Git folder inside; no program of it runs."""
    sentinel = tmp_path / "ran"
    hook = f"#!/bin/sh\ntouch {sentinel}\n"
    shop.push(
        {
            "hooks/post-checkout": hook,
            "hooks/reference-transaction": hook,
            "config": f"[core]\n\tfsmonitor = touch {sentinel}\n\tsshCommand = touch {sentinel}\n",
            ".gitattributes": "* filter=evil\n",
            ".gitmodules": "[submodule]\n",
            **{f"many/{number}": "x" for number in range(1200)},
        }
    )
    commit = await fetched(repository, shop)
    await repository.gc(force=True)
    assert len(repository.diff(None, commit, "")) == 1205
    assert not sentinel.exists()
    assert not (repository.directory / "index").exists()
    assert not [hook for hook in (repository.directory / "hooks").glob("*") if hook.suffix != ".sample"]


async def test_a_large_file_lies_there_but_is_not_read(opened, shop):
    repository = await opened(shop.url, limits=Limits(blob_bytes=1000))
    shop.push({"large.yaml": "x" * 1001, "small.yaml": "x" * 1000})
    commit = await fetched(repository, shop)
    blobs = {change.path: change.new for change in repository.diff(None, commit, "")}
    assert len(repository.blob(blobs["small.yaml"])) == 1000
    with pytest.raises(LimitExceededError):
        repository.blob(blobs["large.yaml"])
    with pytest.raises(GitError):
        repository.blob("1" * 40)


async def test_folders_within_folders_without_end_stop_at_a_limit(opened, shop):
    """Twenty levels, each ten times the same folder: 10^20 files in 21 objects."""
    bare = pygit2.Repository(str(shop.folder))
    inner = bare.create_blob(b"x").raw
    mode = b"100644"
    for _ in range(20):
        raw = b"".join(b"%s %d\0%s" % (mode, number, inner) for number in range(10))
        inner, mode = bare.odb.write(pygit2.enums.ObjectType.TREE, raw).raw, b"40000"
    commit = await push_tree(shop, [(b"40000", b"bomb", inner)])
    repository = await opened(shop.url, limits=Limits(tree_entries=5000))
    await repository.fetch(MAIN, commit, name="shop-main")
    with pytest.raises(LimitExceededError):
        repository.diff(None, commit, "")


async def test_folders_too_deep_stop_at_a_limit(opened, shop):
    shop.push({"/".join(["d"] * 70) + "/a.yaml": "1"})
    repository = await opened(shop.url)
    with pytest.raises(LimitExceededError, match="nested"):
        repository.diff(None, await fetched(repository, shop), "")


async def test_one_change_among_ten_thousand_is_found_in_about_a_millisecond(repository, shop):
    old = shop.push({f"shop/manifest-{number:05}.yaml": f"n: {number}" for number in range(10_000)})
    await repository.fetch(MAIN, old, name="shop-main")
    new = shop.push({"shop/manifest-07000.yaml": "changed"})
    await repository.fetch(MAIN, new, name="shop-main")
    started = time.perf_counter()
    assert len(repository.diff(old, new, "shop")) == 1
    assert time.perf_counter() - started < 0.02
