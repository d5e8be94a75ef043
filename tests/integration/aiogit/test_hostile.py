"""A hostile or broken server costs bounded time, memory and disk, leaves nothing behind, and learns no secret (B5,
B6)."""

import asyncio
import base64
import hashlib
import os
import resource
import time

import pytest
from aiohttp import web

from tests.integration.aiogit.conftest import MAIN
from tests.integration.aiogit.hostile import ADVERTISEMENT, PROBE, HostileServer, always, endless, packfile, silent
from tests.unit.aiogit import packing
from workers.aiogit import Limits, Remote
from workers.aiogit.errors import (
    AuthenticationError,
    GitError,
    GitTimeoutError,
    LimitExceededError,
    RefusedUrlError,
)
from workers.aiogit.packs import BLOB, COMMIT, TREE
from workers.aiogit.pktline import Mark, encode, encode_all

pytestmark = pytest.mark.integration

SMALL = Limits(tip_seconds=2, fetch_seconds=2, clone_seconds=10, answer_bytes=100_000, pack_bytes=1 << 20)


@pytest.fixture
async def hostile(shop):
    shop.push({"a.yaml": "1"})
    async with HostileServer(shop.server.root) as server:
        yield server


@pytest.fixture
async def victim(opened, hostile):
    return await opened(f"{hostile.url}/shop.git", "victim", limits=SMALL)


def objects_of(repository):
    return [path for path in (repository.directory / "objects").rglob("*") if path.is_file()]


async def test_the_server_as_such_works(victim, shop):
    assert (await victim.fetch(MAIN, shop.tree.head, name="shop-main")).way == "v2"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("progress without an end", endless(encode("packfile\n"), encode(b"\x02" + b"counting..." * 1000))),
        ("silence", silent()),
        ("silence within the pack", silent(encode_all(["packfile\n", b"\x01PACK\0\0\0\2\0\0\0\1"]))),
        ("silence within a frame", silent(b"00")),
        ("lines without an end", endless(encode("acknowledgments\n"), encode(b"NAK " + b"x" * 60_000))),
        ("half a pack", always(packfile(packing.pack(packing.entry(BLOB, b"x")))[:-20])),
        ("no frames at all", always(b"<html>not git</html>")),
        ("another pack version", always(packfile(b"PACK\0\0\0\3\0\0\0\0" + bytes(20)))),
        ("no content", always(b"")),
        ("a page", always(b"hello", content_type="text/html")),
    ],
)
async def test_a_server_that_never_ends_or_talks_nonsense_is_left_in_time(victim, hostile, shop, name, answer):
    hostile.answer_fetch = answer
    started = time.monotonic()
    with pytest.raises(GitError):
        await victim.fetch(MAIN, shop.tree.head, name="shop-main")
    assert time.monotonic() - started < 6
    assert not victim.has(shop.tree.head)
    assert objects_of(victim) == []


async def test_others_go_on_while_a_server_hangs(victim, hostile, shop, opened):
    hostile.answer_fetch = silent()
    hung = asyncio.create_task(victim.fetch(MAIN, shop.tree.head, name="shop-main"))
    good = await opened(shop.url, "good")
    started = time.monotonic()
    await good.fetch(MAIN, shop.tree.head, name="shop-main")
    assert time.monotonic() - started < 1
    with pytest.raises(GitTimeoutError):
        await hung


async def test_a_pack_without_an_end_stops_at_the_limit(victim, hostile, shop):
    start = encode_all(["packfile\n", b"\x01PACK\0\0\0\2\0\1\0\0"])
    entry = packing.entry(BLOB, os.urandom(40_000))
    hostile.answer_fetch = endless(start, encode(b"\x01" + entry))
    with pytest.raises(LimitExceededError, match="over the limit of 1048576 bytes"):
        await victim.fetch(MAIN, shop.tree.head, name="shop-main")
    assert not [path for path in objects_of(victim) if path.stat().st_size > 2 << 20]


async def test_a_corrupt_pack_leaves_nothing_behind(victim, hostile, shop):
    blob = packing.entry(BLOB, b"kind: Trap")
    for pack in (packing.pack(blob)[:-1] + b"x", packing.pack(blob, count=2), packing.pack(blob[:-3] + b"xxx")):
        hostile.answer_fetch = always(packfile(pack))
        with pytest.raises(GitError):
            await victim.fetch(MAIN, shop.tree.head, name="shop-main")
    assert objects_of(victim) == []


async def test_a_pack_without_the_commit_that_was_wanted_is_not_believed(victim, hostile, shop):
    hostile.answer_fetch = always(packfile(packing.pack(packing.entry(BLOB, b"something else"))))
    with pytest.raises(GitError):
        await victim.fetch(MAIN, shop.tree.head, name="shop-main")
    assert not victim.has(shop.tree.head)


async def test_a_commit_without_its_files_is_fetched_again_by_git(victim, hostile, shop):
    """The first answer lacks the blob; Git's own client is told the same, and finds the same out."""
    blob = packing.oid("blob", b"kind: Shop")
    tree = packing.tree((0o100644, b"a.yaml", blob))
    commit = packing.commit(packing.oid("tree", tree))
    tip = packing.oid("commit", commit).hex()
    hostile.answer_fetch = always(packfile(packing.pack(packing.entry(COMMIT, commit), packing.entry(TREE, tree))))
    with pytest.raises(GitError):
        await victim.fetch(MAIN, tip, name="shop-main")
    assert not victim.has(tip)
    whole = packing.pack(packing.entry(COMMIT, commit), packing.entry(TREE, tree), packing.entry(BLOB, b"kind: Shop"))
    hostile.answer_fetch = always(packfile(whole))
    assert (await victim.fetch(MAIN, tip, name="shop-main")).way == "v2"


async def test_a_delta_bomb_is_bounded_in_memory(opened, hostile, shop):
    """Thirty entries of a few bytes that would double to 64 GiB."""
    entries, size = [packing.entry(BLOB, bytes(1 << 16))], 1 << 16
    while size < 1 << 36:
        copies = [packing.copy(0, min(size, 0xFFFFFF))] * 2
        size = min(size, 0xFFFFFF) * 2 if size <= 0xFFFFFF else size * 2
        base_size = size // 2
        delta = packing.delta(base_size, size, *copies)
        entries.append(packing.entry(6, delta, base=packing.distance(len(entries[-1]))))
    repository = await opened(
        f"{hostile.url}/shop.git", "victim", limits=Limits(fetch_seconds=10, clone_seconds=20, pack_memory=512 << 20)
    )
    hostile.answer_fetch = always(packfile(packing.pack(*entries)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((GitError, LimitExceededError)):
        await repository.fetch(MAIN, shop.tree.head, name="shop-main")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


async def test_a_zlib_bomb_of_ten_gigabytes_is_bounded_on_disk(opened, hostile, shop):
    """One declared object of 10 GiB of zeros, as 10 MiB: past the pack's limit as soon as git unpacks it."""
    head = bytearray()
    left, first = 10 << 30, True
    while left or first:
        shift = 4 if first else 7
        byte = (3 << 4 | left & 15) if first else left & 127
        left, first = left >> shift, False
        head.append(byte | (0x80 if left else 0))
    repository = await opened(
        f"{hostile.url}/shop.git",
        "victim",
        limits=Limits(fetch_seconds=10, clone_seconds=20, pack_bytes=4 << 20, pack_memory=512 << 20),
    )
    body = b"PACK\0\0\0\2\0\0\0\1" + bytes(head) + b"\x78\x9c" + bytes(64)
    hostile.answer_fetch = always(packfile(body + hashlib.sha1(body).digest()))
    with pytest.raises((GitError, LimitExceededError)):
        await repository.fetch(MAIN, shop.tree.head, name="shop-main")
    assert sum(path.stat().st_size for path in objects_of(repository)) < 5 << 20


async def test_an_advertisement_or_refs_without_an_end_stop(victim, hostile):
    hostile.answer_probe = endless(ADVERTISEMENT[:-4], encode(b"capability\n" * 50), content_type=PROBE)
    with pytest.raises(GitError):
        await victim.tip(MAIN)


async def test_a_server_that_is_away_busy_or_failing_is_asked_again_later(victim, hostile, shop):
    async def busy(request, body):
        return web.Response(status=503, headers={"Retry-After": "7"})

    hostile.answer_probe = busy
    with pytest.raises(GitError, match="503") as raised:
        await victim.tip(MAIN)
    assert raised.value.retry_after == 7
    hostile.answer_probe = None
    assert await victim.tip(MAIN) == shop.tree.head


# -- credentials ------------------------------------------------------------------------------------------------------


async def test_the_right_password_opens_and_a_wrong_one_does_not(opened, shop):
    commit = shop.push({"a.yaml": "1"})
    shop.server.password = "hunter2"
    right = await opened(Remote(shop.url, username="ci", password="hunter2"), "right")
    assert (await right.fetch(MAIN, commit, name="shop-main")).way == "v2"
    for remote in (Remote(shop.url), Remote(shop.url, username="ci", password="secret-canary")):
        wrong = await opened(remote, "wrong")
        with pytest.raises(AuthenticationError) as raised:
            await wrong.tip(MAIN)
        assert "canary" not in str(raised.value)
        assert "canary" not in repr(remote)


async def test_no_other_host_ever_sees_the_credentials(opened, shop, hostile):
    """Server A answers 302 to B, at the probe and later: B hears nothing at all."""
    shop.push({"a.yaml": "1"})
    shop.server.redirect = hostile.url
    repository = await opened(Remote(shop.url, username="ci", password="secret-canary"))
    with pytest.raises(RefusedUrlError, match="redirects to 127"):
        await repository.tip(MAIN)
    shop.server.redirect = None
    await repository.tip(MAIN)
    shop.server.redirect = hostile.url
    with pytest.raises(GitError):
        await repository.tip(MAIN)
    with pytest.raises((GitError, RefusedUrlError)):
        await repository.fetch(MAIN, shop.tree.head, name="shop-main")
    assert hostile.requests == []


async def test_gits_own_client_does_not_carry_them_over_either(opened, shop, hostile):
    shop.push({"a.yaml": "1"})
    repository = await opened(Remote(shop.url, username="ci", password="secret-canary"))
    shop.server.redirect = hostile.url
    with pytest.raises(GitError) as raised:
        await repository._cli.fetch(MAIN, shop.tree.head, refetch=False)
    assert hostile.requests == []
    assert "canary" not in str(raised.value)
    assert base64.b64encode(b"ci:secret-canary").decode() not in str(raised.value)


async def test_a_redirect_on_the_same_host_is_followed(opened, hostile, shop):
    """As forges do for an address without `.git`."""

    async def add_suffix(request, body):
        if ".git/" not in request.path:
            raise web.HTTPMovedPermanently(request.path_qs.replace("/shop/", "/shop.git/"))
        return await hostile._backend(request, body)

    hostile.answer_probe = add_suffix
    repository = await opened(f"{hostile.url}/shop", "redirected")
    assert await repository.tip(MAIN) == shop.tree.head


async def test_a_redirect_in_a_circle_ends(victim, hostile):
    async def circle(request, body):
        raise web.HTTPFound(request.path_qs)

    hostile.answer_probe = circle
    with pytest.raises(GitError, match="circle"):
        await victim.tip(MAIN)


async def test_a_refusal_in_the_servers_own_words_is_repeated_safely(victim, hostile, shop):
    hostile.answer_fetch = always(encode_all([b"ERR \x1b[31mgo away\n", Mark.FLUSH]))
    with pytest.raises(GitError) as raised:
        await victim.fetch(MAIN, shop.tree.head, name="shop-main")
    assert "\x1b" not in str(raised.value)


async def test_an_advertised_sha256_is_refused(victim, hostile):
    hostile.answer_probe = always(
        ADVERTISEMENT.replace(b"0017object-format=sha1\n", b"0019object-format=sha256\n"),
        content_type=PROBE,
    )
    with pytest.raises(Exception, match="SHA-256"):
        await victim.tip(MAIN)
