"""Where the fast way does not lead, a slower one does, and the result says which and why."""

import asyncio
import os
import time

import pytest

from tests.integration.aiogit.conftest import MAIN
from tests.integration.aiogit.hostile import HostileServer
from tests.parts.git import git
from workers.aiogit import Limits, Remote
from workers.aiogit.errors import AuthenticationError, CommitMissingError, GitError, GitTimeoutError
from workers.aiogit.fallback import LibgitFetcher
from workers.aiogit.gitcli import GitCli

pytestmark = pytest.mark.integration


@pytest.fixture
async def old_server(shop):
    """A server that speaks only the protocol of before 2018."""
    async with HostileServer(shop.server.root) as server:
        server.version_2 = False
        yield server


@pytest.fixture
def without_git(monkeypatch):
    monkeypatch.setattr(GitCli, "available", False)


async def fetch(repository, ref=MAIN, name="shop-main"):
    return await repository.fetch(ref, await repository.tip(ref), name=name)


async def test_a_server_without_protocol_2_is_read_by_gits_own_client(opened, old_server, shop):
    old, repository = shop.push({"a.yaml": "1"}), await opened(f"{old_server.url}/shop.git", "old")
    assert await repository.tip("refs/heads/none") is None
    fetched = await fetch(repository)
    assert (fetched.commit, fetched.way, fetched.reason) == (old, "git", "no protocol version 2")
    new = shop.push({"a.yaml": "2"})
    assert (await fetch(repository)).way == "git"
    assert len(repository.diff(old, new, "")) == 1


async def test_a_server_that_gives_only_tips_is_asked_by_ref(opened, old_server, shop):
    old = shop.push({"a.yaml": "1"})
    repository = await opened(f"{old_server.url}/shop.git", "old")
    git("config", "uploadpack.allowAnySHA1InWant", "false", cwd=shop.folder)
    shop.push({"a.yaml": "2"})
    fetched = await repository.fetch(MAIN, old, name="shop-main")
    assert fetched.way == "git"
    assert repository.has(old)


async def test_without_git_libgit2_does_it(opened, old_server, shop, without_git):
    old, repository = shop.push({"a.yaml": "1"}), await opened(f"{old_server.url}/shop.git", "old")
    assert await repository.tip(MAIN) == old
    assert await repository.tip("refs/heads/none") is None
    fetched = await fetch(repository)
    assert (fetched.way, fetched.reason) == ("pygit2", "no protocol version 2")
    new = shop.push({"a.yaml": "2"})
    assert (await fetch(repository)).way == "pygit2"
    assert len(repository.diff(old, new, "")) == 1
    assert not list(repository.store._repository.references.iterator())[1:]  # the pin alone


async def test_without_git_a_large_clone_goes_by_libgit2(repository, shop, without_git):
    shop.push({f"shop/{number}.yaml": str(number) for number in range(1100)})
    fetched = await fetch(repository)
    assert fetched.way == "pygit2"
    assert "1103 objects" in fetched.reason


async def test_libgit2_shows_the_password_to_the_one_server_only(opened, shop, without_git, old_server):
    shop.push({f"shop/{number}.yaml": str(number) for number in range(1100)})
    shop.server.password = "hunter2"
    right = await opened(Remote(shop.url, username="ci", password="hunter2"), "right")
    assert (await fetch(right)).way == "pygit2"
    wrong = await opened(Remote(shop.url, username="ci", password="wrong"), "wrong")
    with pytest.raises((AuthenticationError, GitError)):
        await asyncio.to_thread(heads_by_libgit2, wrong)
    shop.server.redirect = old_server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(GitError):
        await asyncio.to_thread(heads_by_libgit2, right)
    assert old_server.requests == []


def heads_by_libgit2(repository):
    return LibgitFetcher(repository.store, repository.address, repository.remote, repository.limits)._heads()


async def test_gits_own_client_authenticates_from_the_environment(opened, shop):
    commit = shop.push({"a.yaml": "1"})
    shop.server.password = "hunter2"
    right = await opened(Remote(shop.url, username="ci", password="hunter2"), "right")
    await right._cli.fetch(MAIN, commit, refetch=False)
    wrong = await opened(Remote(shop.url, username="ci", password="secret-canary"), "wrong")
    with pytest.raises(AuthenticationError) as raised:
        await wrong._cli.fetch(MAIN, commit, refetch=False)
    assert "canary" not in str(raised.value)


async def test_no_secret_is_in_a_process_arguments(opened, shop, tmp_path, monkeypatch):
    """A `git` that writes its arguments down."""
    record = tmp_path / "arguments"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {record}\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    repository = await opened(Remote(shop.url, username="ci", password="secret-canary"))
    with pytest.raises(GitError):
        await repository._cli.fetch(MAIN, "1" * 40, refetch=False)
    arguments = record.read_text()
    assert "fetch" in arguments
    assert "canary" not in arguments
    assert " -- http://" in arguments


async def test_a_git_that_hangs_is_killed_with_all_it_started(opened, shop, tmp_path, monkeypatch):
    """It ignores SIGTERM and has a child that would outlive it."""
    pids = tmp_path / "pids"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 300 &\necho $$ $! > {pids}\nwait\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    repository = await opened(shop.url, limits=Limits(clone_seconds=0.5))
    started = time.monotonic()
    with pytest.raises(GitTimeoutError):
        await repository._cli.fetch(MAIN, "1" * 40, refetch=False)
    assert time.monotonic() - started < 3
    await asyncio.sleep(0.1)
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]


async def test_a_cancelled_fetch_leaves_no_process(opened, shop, tmp_path, monkeypatch):
    pids = tmp_path / "pids"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\nsleep 300 &\necho $$ $! > {pids}\nwait\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    repository = await opened(shop.url)
    task = asyncio.create_task(repository._cli.fetch(MAIN, "1" * 40, refetch=False))
    while not pids.exists() or not pids.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]


async def test_the_machines_git_configuration_is_not_obeyed(opened, shop, tmp_path, monkeypatch):
    sentinel = tmp_path / "ran"
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    hook = home / "hooks" / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {sentinel}\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n[credential]\n\thelper = "!touch {sentinel}"\n'
        f'[url "http://127.0.0.1:1/"]\n\tinsteadOf = {shop.server.url}/\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    commit = shop_push(shop, monkeypatch)
    repository = await opened(shop.url)
    await repository._cli.fetch(MAIN, commit, refetch=False)
    assert await repository.tip(MAIN) == commit
    await repository.gc(force=True)
    assert not sentinel.exists()


def shop_push(shop, monkeypatch):
    with monkeypatch.context() as outside:
        outside.delenv("GIT_DIR")
        return shop.push({"a.yaml": "1"})


async def test_a_commit_that_no_longer_exists_is_missing_by_every_way(opened, old_server, shop):
    shop.push({"a.yaml": "1"})
    repository = await opened(f"{old_server.url}/shop.git", "old")
    with pytest.raises(CommitMissingError):
        await repository.fetch(MAIN, "1" * 40, name="shop-main")


async def test_a_repository_that_does_not_exist_is_an_error(opened, shop):
    repository = await opened(f"{shop.server.url}/none.git", "none")
    with pytest.raises(GitError):
        await repository.tip(MAIN)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
