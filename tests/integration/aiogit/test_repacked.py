"""Against servers that have repacked: what an answer leaves out is here, or it is noticed and fetched."""

import asyncio
import random

import pytest

from tests.integration.aiogit.conftest import MAIN
from tests.integration.aiogit.hostile import HostileServer, always, packfile
from tests.parts.git import git
from tests.unit.aiogit import packing
from workers.aiogit.errors import GitError
from workers.aiogit.packs import COMMIT, TREE

pytestmark = pytest.mark.integration


async def fetch(repository):
    return await repository.fetch(MAIN, await repository.tip(MAIN), name="shop-main")


def repack(shop):
    git("repack", "-a", "-d", "-f", "-q", "--depth=50", "--window=50", cwd=shop.folder)


def text(seed, lines=60):
    numbers = random.Random(seed)
    return "".join(f"line {number}: {numbers.random()}\n" for number in range(lines))


async def test_reverts_to_long_gone_contents_are_whole(repository, shop):
    """The server leaves the old file out, because our history reaches it: so it must be here."""
    shop.push({f"shop/{number}.yaml": text(number) for number in range(40)})
    await fetch(repository)
    for number in range(10):
        shop.push({f"shop/{number}.yaml": text(number) + "changed\n"})
        await fetch(repository)
    repack(shop)
    for _ in range(5):
        shop.tree.git("revert", "--no-edit", "HEAD~2")
        shop.tree.push()
        fetched = await fetch(repository)
        assert fetched.way == "v2"
        same_as_the_work_tree(repository, shop)


async def test_a_merge_of_an_old_branch_is_whole(repository, shop):
    shop.push({f"shop/{number}.yaml": text(number) for number in range(20)})
    await fetch(repository)
    shop.tree.git("checkout", "-q", "-b", "feature")
    shop.tree.commit({"feature/a.yaml": text(100)})
    shop.tree.commit({"feature/a.yaml": text(101), "shop/3.yaml": text(102)})
    shop.tree.git("checkout", "-q", "main")
    for number in range(4, 9):
        shop.push({f"shop/{number}.yaml": text(200 + number)})
        await fetch(repository)
    repack(shop)
    shop.tree.git("merge", "-q", "--no-edit", "feature")
    shop.tree.push()
    assert (await fetch(repository)).way == "v2"
    same_as_the_work_tree(repository, shop)


async def test_a_long_random_history_is_the_same_here_and_there(repository, shop):
    numbers = random.Random(7)
    shop.push({f"shop/{number}.yaml": text(number, 10) for number in range(30)})
    for step in range(25):
        action = numbers.choice(["change", "change", "revert", "delete", "rewrite", "repack"])
        if action == "revert" and int(shop.tree.git("rev-list", "--count", "HEAD")) > 3:
            shop.tree.git("revert", "--no-edit", "--no-commit", "HEAD")
            shop.tree.commit({}, "revert")
        elif action == "rewrite":
            shop.tree.git("commit", "-q", "--amend", "--allow-empty", "-m", f"again {step}")
        elif action == "repack":
            repack(shop)
        else:
            shop.tree.commit({f"shop/{numbers.randrange(30)}.yaml": text(step, 10), f"new/{step}.yaml": text(step, 3)})
        shop.tree.push(force=True)
        assert (await fetch(repository)).way in ("v2", "present")
        same_as_the_work_tree(repository, shop)


async def test_an_answer_that_lacks_something_is_fetched_anew(opened, repository, shop):
    """A store that lost a file which its history reaches (as a shallow one would lack it): noticed, and healed."""
    shop.push({"shop/a.yaml": text(1), "shop/b.yaml": "b"})
    await fetch(repository)
    lost = shop.tree.git("rev-parse", "HEAD:shop/a.yaml")
    shop.push({"shop/a.yaml": text(2)})
    await fetch(repository)
    (repository.directory / "objects" / lost[:2] / lost[2:]).unlink()
    repository.store.reopen()
    repack(shop)
    shop.tree.git("revert", "--no-edit", "HEAD")
    shop.tree.push()
    fetched = await fetch(repository)
    assert fetched.way == "git"
    assert lost in fetched.reason
    same_as_the_work_tree(repository, shop)


async def test_a_store_that_rotted_under_a_pin_is_healed_by_the_next_fetch(repository, shop):
    commit = shop.push({"shop/a.yaml": text(1)})
    await fetch(repository)
    blob = repository.diff(None, commit, "shop")[0].new
    tree = repository.tree_id(commit, "shop")
    for oid in (blob, tree):
        path = repository.directory / "objects" / oid[:2] / oid[2:]
        path.chmod(0o644)
        path.write_bytes(b"")
    repository.store._trees.clear()
    repository.store.reopen()
    with pytest.raises(GitError):
        repository.diff(None, commit, "shop")
    assert (await fetch(repository)).way == "v2"
    same_as_the_work_tree(repository, shop)


async def test_asking_for_what_is_not_here_makes_no_store_suspect(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    await fetch(repository)
    for ask in (
        lambda: repository.diff(None, "1" * 40, ""),
        lambda: repository.diff("1" * 40, commit, ""),
        lambda: repository.tree_id("1" * 40, ""),
        lambda: repository.blob("1" * 40),
    ):
        with pytest.raises(GitError):
            ask()
    shop.push({"a.yaml": "2"})
    await fetch(repository)
    assert repository.has(commit)


async def test_objects_that_a_failed_fetch_left_prove_nothing(opened, shop):
    """First an answer whose commit lacks its folder; then one that builds on that commit."""
    shop.push({"a.yaml": "1"})
    async with HostileServer(shop.server.root) as hostile:
        repository = await opened(f"{hostile.url}/shop.git", "victim")
        missing = packing.oid("tree", packing.tree((0o100644, b"x", b"1" * 20)))
        first = packing.commit(missing)
        tree = packing.tree()
        second = packing.commit(packing.oid("tree", tree), packing.oid("commit", first))
        for commit, entries in (
            (first, [packing.entry(COMMIT, first)]),
            (second, [packing.entry(COMMIT, second), packing.entry(TREE, tree)]),
        ):
            hostile.answer_fetch = always(packfile(packing.pack(*entries)))
            tip = packing.oid("commit", commit).hex()
            with pytest.raises(GitError):
                await repository.fetch(MAIN, tip, name="shop-main")
            assert not repository.has(tip)


async def test_gc_keeps_what_is_pinned_and_drops_the_rest(repository, shop):
    base = shop.push({"shop/a.yaml": text(1)})
    await fetch(repository)
    shop.tree.git("commit", "-q", "--amend", "-m", "rewritten")
    shop.tree.commit({"shop/gone.yaml": text(2)})
    shop.tree.push(force=True)
    await fetch(repository)
    gone = shop.tree.git("rev-parse", "HEAD:shop/gone.yaml")
    shop.tree.git("reset", "-q", "--hard", base)
    shop.tree.push(force=True)
    await fetch(repository)
    assert await repository.gc(force=True)
    assert repository.blob(gone)  # kept for a week
    repository.unpin("shop-main")
    await fetch(repository)
    await repository.gc(force=True)
    with pytest.raises(GitError):
        repository.blob(gone)
    same_as_the_work_tree(repository, shop)
    assert not list((repository.directory / "objects").glob("??/*"))


async def test_gc_is_done_when_it_is_due_and_only_then(repository, shop):
    shop.push({"a.yaml": "1"})
    await fetch(repository)
    assert not await repository.gc()
    sample = repository.directory / "objects" / "17"
    sample.mkdir(exist_ok=True)
    for number in range(17):
        (sample / f"{number:038x}").write_bytes(b"")
    assert await repository.gc()
    same_as_the_work_tree(repository, shop)


async def test_gc_and_fetches_take_turns_also_across_processes(opened, repository, shop):
    """Two stores' handles on one folder: one fetches and reads, the other collects, many times."""
    shop.push({f"shop/{number}.yaml": text(number, 5) for number in range(50)})
    await fetch(repository)
    other = await opened(shop.url)

    async def collect():
        for _ in range(12):
            await other.gc(force=True)
            await asyncio.sleep(0.01)

    collecting = asyncio.create_task(collect())
    pushes = 0
    while not collecting.done():
        old = shop.tree.head
        await asyncio.to_thread(shop.push, {f"shop/{pushes % 50}.yaml": text(1000 + pushes, 5)})
        await fetch(repository)
        pushes += 1
        [change] = repository.diff(old, shop.tree.head, "shop")
        assert repository.blob(change.new) == text(999 + pushes, 5).encode()
        same_as_the_work_tree(repository, shop)
    await collecting
    assert pushes > 2


async def test_pins_are_made_only_for_what_is_here(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    with pytest.raises(GitError):
        repository.pin("applied", commit)
    await fetch(repository)
    repository.pin("applied", commit)
    repository.unpin("shop-main")
    await repository.gc(force=True)
    assert repository.has(commit)
    for name in ("../x", "a/b", "", "x.lock", "-x"):
        with pytest.raises(ValueError, match="pin"):
            repository.pin(name, commit)


def same_as_the_work_tree(repository, shop):
    """Every file that Git shows there is here, byte by byte."""
    expected = {
        str(path.relative_to(shop.tree.path)): path.read_bytes()
        for path in shop.tree.path.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(shop.tree.path).parts
    }
    found = {change.path: repository.blob(change.new) for change in repository.diff(None, shop.tree.head, "")}
    assert found == expected
    git("fsck", "--connectivity-only", shop.tree.head, cwd=repository.directory)
