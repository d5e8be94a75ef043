"""A push is brought here by one request, whole and pinned; what is here already is not asked for again."""

import asyncio

import pytest

from tests.integration.aiogit.conftest import MAIN
from tests.parts.git import git
from workers.aiogit import Change
from workers.aiogit.errors import CommitMissingError, PathError, RefNotFoundError, RefusedRepositoryError
from workers.aiogit.model import Limits

pytestmark = pytest.mark.integration


async def fetch(repository, ref=MAIN, name="shop-main", **options):
    tip = await repository.tip(ref)
    assert tip is not None
    return await repository.fetch(ref, tip, name=name, **options)


async def test_the_tip_is_read_from_the_server(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    assert await repository.tip(MAIN) == commit
    assert await repository.tip("refs/heads/other") is None
    assert await repository.tip("refs/heads/mai") is None
    assert await repository.tip(commit) == commit


async def test_an_empty_repository_has_no_tip(repository):
    assert await repository.tip(MAIN) is None


async def test_a_small_first_clone_and_every_push_go_the_fast_way(repository, shop):
    first = shop.push({"shop/a.yaml": "1", "shop/b.yaml": "2", "other.txt": "x"})
    assert (await fetch(repository)).way == "v2"
    second = shop.push({"shop/a.yaml": "3"})
    fetched = await fetch(repository)
    assert (fetched.commit, fetched.way, fetched.reason) == (second, "v2", "")
    assert fetched.objects == 4  # a commit, two folders, a file
    assert 0 < fetched.bytes < 1000
    [change] = repository.diff(first, second, "shop")
    assert change.path == "shop/a.yaml"
    assert change.refused == ""
    assert repository.blob(change.old) == b"1"
    assert repository.blob(change.new) == b"3"


async def test_one_connection_serves_all_and_a_push_costs_two_requests(repository, shop):
    shop.push({"a.yaml": "1"})
    await fetch(repository)
    before = len(shop.server.requests)
    shop.push({"a.yaml": "2"})
    await fetch(repository)
    assert [method for method, _, _ in shop.server.requests[before:]] == ["POST", "POST"]


async def test_what_is_here_costs_no_byte(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    await fetch(repository)
    before = len(shop.server.requests)
    again = await repository.fetch(MAIN, commit, name="shop-main")
    other = await repository.fetch(MAIN, commit, name="other")
    assert [again.way, other.way] == ["present", "present"]
    assert len(shop.server.requests) == before


async def test_a_pinned_ancestor_is_here_too_and_a_stranger_is_not(repository, shop):
    first, second = shop.push({"a.yaml": "1"}), shop.push({"a.yaml": "2"})
    await fetch(repository)
    assert repository.has(first)
    assert repository.has(second)
    assert not repository.has("1" * 40)
    assert not repository.has("nonsense")
    assert repository.is_ancestor(first, second)
    assert repository.is_ancestor(first, first)
    assert not repository.is_ancestor(second, first)
    assert not repository.is_ancestor("1" * 40, second)


async def test_several_commits_in_one_push_come_at_once(repository, shop):
    shop.push({"a.yaml": "0"})
    await fetch(repository)
    for number in range(1, 6):
        shop.tree.commit({"a.yaml": str(number)})
    shop.tree.push()
    assert (await fetch(repository)).way == "v2"
    assert repository.blob(repository.diff(None, shop.tree.head, "")[0].new) == b"5"


async def test_a_rewritten_history_is_followed_and_the_old_one_stays_readable(repository, shop):
    base = shop.push({"a.yaml": "0"})
    left = shop.push({"a.yaml": "1", "b.yaml": "1"})
    await fetch(repository)
    shop.tree.git("reset", "-q", "--hard", base)
    right = shop.tree.commit({"a.yaml": "2"})
    shop.tree.push(force=True)
    assert (await fetch(repository)).commit == right
    assert not repository.is_ancestor(left, right)
    await repository.gc(force=True)
    assert repository.has(left)
    assert {(change.path, change.new is None) for change in repository.diff(left, right, "")} == {
        ("a.yaml", False),
        ("b.yaml", True),
    }
    repository.unpin("shop-main")
    assert not repository.has(left)
    assert not repository.has(right)


async def test_a_rewind_needs_no_byte(repository, shop):
    base, later = shop.push({"a.yaml": "0"}), shop.push({"a.yaml": "1"})
    await fetch(repository)
    shop.tree.git("reset", "-q", "--hard", base)
    shop.tree.push(force=True)
    assert (await fetch(repository)).way == "present"
    assert repository.has(later)


async def test_an_annotated_tag_leads_to_its_commit(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    shop.tree.git("tag", "-a", "v1", "-m", "one")
    shop.tree.git("tag", "-a", "v1-signed-off", "-m", "of a tag", "v1")
    shop.tree.push(ref="--tags")
    assert await repository.tip("refs/tags/v1") == commit
    assert await repository.tip("refs/tags/v1-signed-off") == commit
    assert (await fetch(repository, "refs/tags/v1")).commit == commit


async def test_a_pinned_commit_needs_no_ref(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    shop.push({"a.yaml": "2"})
    fetched = await repository.fetch(commit, commit, name="pinned")
    assert fetched.way == "v2"
    assert repository.has(commit)


async def test_a_commit_that_the_server_lacks_is_said_to_be_missing(repository, shop):
    shop.push({"a.yaml": "1"})
    with pytest.raises(CommitMissingError):
        await repository.fetch(MAIN, "1" * 40, name="shop-main")


async def test_what_is_no_ref_commit_or_path_is_refused_before_anything_is_asked(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    for ref in ("main", "--output=x", "refs/heads/a b"):
        with pytest.raises(RefNotFoundError):
            await repository.tip(ref)
    with pytest.raises(RefNotFoundError):
        await repository.fetch(MAIN, "--output=x", name="shop-main")
    with pytest.raises(PathError):
        await repository.fetch(MAIN, commit, name="shop-main", paths=["../.."])
    assert shop.server.requests == []


async def test_a_sha256_repository_is_refused_clearly(opened, shop):
    git("init", "-q", "--bare", "--object-format=sha256", str(shop.server.root / "new.git"))
    repository = await opened(f"{shop.server.url}/new.git", "new")
    with pytest.raises(RefusedRepositoryError, match="SHA-256"):
        await repository.tip(MAIN)


async def test_a_large_first_clone_streams_into_gits_own_unpacker(repository, shop):
    commit = shop.push({f"shop/{number}.yaml": f"n: {number}" for number in range(1500)})
    fetched = await fetch(repository)
    assert fetched.way == "git"
    assert fetched.reason == "1503 objects"
    assert len(repository.diff(None, commit, "shop")) == 1500
    shop.push({"shop/7.yaml": "changed"})
    assert (await fetch(repository)).way == "v2"


async def test_a_pack_of_many_bytes_does_too(opened, shop):
    shop.push({"a.yaml": "0"})
    repository = await opened(shop.url, limits=Limits(inline_bytes=1000, inline_inflated=100_000))
    await fetch(repository)
    shop.push({"noise.bin": bytes(range(256)) * 40 + shop.tree.head.encode() * 50})
    assert (await fetch(repository)).way == "v2"
    shop.push({"zeros.bin": bytes(200_000)})
    fetched = await fetch(repository)
    assert (fetched.way, fetched.reason) == ("git", "a pack that inflates too much")
    assert repository.has(shop.tree.head)


async def test_two_fetches_at_once_of_the_same_commit_ask_once(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    ways = await asyncio.gather(*(repository.fetch(MAIN, commit, name=f"source-{number}") for number in range(5)))
    assert sorted(fetched.way for fetched in ways) == ["present"] * 4 + ["v2"]


async def test_a_connection_that_died_meanwhile_is_made_anew(repository, shop):
    shop.push({"a.yaml": "1"})
    await fetch(repository)
    for connections in repository._session.connector._conns.values():
        for protocol, _ in connections:
            protocol.transport.abort()
    shop.push({"a.yaml": "2"})
    assert (await fetch(repository)).way == "v2"


async def test_a_store_survives_a_restart_and_a_broken_one_is_made_anew(opened, repository, shop):
    commit = shop.push({"a.yaml": "1"})
    await fetch(repository)
    await repository.close()
    again = await opened(shop.url)
    assert again.has(commit)
    await again.close()
    (again.directory / "HEAD").write_text("broken")
    (again.directory / "config").write_text("[core")
    anew = await opened(shop.url)
    assert not anew.has(commit)
    assert (await fetch(anew)).way == "v2"


async def test_two_processes_may_share_a_store(opened, repository, shop):
    shop.push({"a.yaml": "0"})
    other = await opened(shop.url)
    assert other.directory == repository.directory
    for number in range(3):
        commit = shop.push({"a.yaml": str(number)})
        await asyncio.gather(fetch(repository, name="one"), fetch(other, name="two"))
        assert repository.has(commit)
        assert other.has(commit)


async def test_the_paths_need_not_exist(repository, shop):
    commit = shop.push({"a.yaml": "1"})
    await fetch(repository, paths=["shop", "a.yaml", ""])
    assert repository.tree_id(commit, "shop") is None
    with pytest.raises(PathError):
        repository.diff(None, commit, "shop")
    assert repository.diff(None, commit, "") == [
        Change("a.yaml", None, git("rev-parse", "HEAD:a.yaml", cwd=shop.tree.path))
    ]
