"""Signed commits: real keys of GnuPG, OpenSSH and gpgsm, real commits, and every way in which a signature may be worth
nothing."""

import asyncio
import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.aiogit.conftest import MAIN
from tests.parts.git import ENVIRONMENT, git
from tests.parts.signing import run, signers
from workers.aiogit import signatures
from workers.aiogit.errors import CommitMissingError, GitError, GitTimeoutError, LimitExceededError
from workers.aiogit.gitcli import GitCli
from workers.aiogit.keyrings import Policy, PolicyError, PublicKey
from workers.aiogit.signatures import UnsignedError

pytestmark = pytest.mark.integration

KINDS = ("gpg", "ssh", "x509")


@pytest.fixture(scope="module")
def people():
    """Alice, whose keys count, and Mallory, whose don't; by kind."""
    with signers() as make:
        yield {kind: (getattr(make, kind)(f"alice-{kind}"), getattr(make, kind)(f"mallory-{kind}")) for kind in KINDS}


@pytest.fixture
def make():
    with signers() as made:
        yield made


def policy(*people, every=False, revoked=""):
    keys = (PublicKey(who.kind, who.public.encode(), f"keys[{number}]") for number, who in enumerate(people))
    return Policy(tuple(keys), every=every, revoked=revoked.encode())


def unsigned(shop):
    shop.tree.git("config", "commit.gpgSign", "false")
    return shop.push({"a.yaml": f"unsigned {time.monotonic()}"})


def push_raw(shop, raw):
    """A commit of exactly these bytes becomes the branch's tip."""
    write = ["git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
    made = subprocess.run(write, cwd=shop.folder, input=raw, capture_output=True, check=True)
    git("update-ref", MAIN, made.stdout.decode().strip(), cwd=shop.folder)
    return made.stdout.decode().strip()


def raw_of(shop, commit):
    command = ["git", "cat-file", "commit", commit]
    return subprocess.run(command, cwd=shop.tree.path, capture_output=True, check=True).stdout


async def check(repository, commit, asked, *, ref=MAIN, since=()):
    await repository.fetch(ref, commit, name="shop-main")
    return await repository.require_signed(ref, commit, asked, since=since)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_commit_signed_by_a_key_of_the_policy_passes(repository, shop, people, kind):
    alice, mallory = people[kind]
    alice.use(shop.tree)
    signer = await check(repository, shop.push({"a.yaml": "1"}), policy(mallory, alice))
    assert "keys[1]" in signer


@pytest.mark.parametrize("kind", KINDS)
async def test_a_commit_signed_by_anybody_else_is_refused(repository, shop, people, kind):
    alice, mallory = people[kind]
    mallory.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    with pytest.raises(UnsignedError, match=f"commit {commit} is not applied: found a signature by a key that is not"):
        await check(repository, commit, policy(alice))


async def test_an_unsigned_commit_is_refused_and_what_is_expected_is_said(repository, shop, people):
    commit = unsigned(shop)
    with pytest.raises(UnsignedError) as raised:
        await check(repository, commit, policy(people["gpg"][0], people["ssh"][0]))
    assert str(raised.value) == (
        f"commit {commit} is not applied: found no signature; expected a signature by one of keys[0] (gpg), keys[1] (ssh)"
    )


async def test_a_good_signature_of_a_kind_that_the_policy_does_not_name_is_refused(repository, shop, people):
    people["ssh"][0].use(shop.tree)
    with pytest.raises(UnsignedError, match="of the kind ssh, of which the policy has no key"):
        await check(repository, shop.push({"a.yaml": "1"}), policy(people["gpg"][0]))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signature_moved_to_another_tree_is_refused(repository, shop, people, kind):
    alice, _ = people[kind]
    alice.use(shop.tree)
    honest = shop.push({"a.yaml": "1"})
    assert await check(repository, honest, policy(alice))
    evil = git("rev-parse", f"{unsigned(shop)}^{{tree}}", cwd=shop.tree.path)
    raw = raw_of(shop, honest)
    forged = push_raw(shop, b"tree " + evil.encode() + raw[45:])
    with pytest.raises(UnsignedError, match=r"does not belong to it|not of the policy"):
        await check(repository, forged, policy(alice))


async def test_an_object_that_could_be_read_in_two_ways_is_refused_although_git_takes_its_signature(
    repository, shop, people
):
    """Git leaves every header that begins with gpgsig out of what is signed: anybody can add one."""
    alice, _ = people["gpg"]
    alice.use(shop.tree)
    honest = shop.push({"a.yaml": "1"})
    raw = raw_of(shop, honest).replace(b"gpgsig ", b"gpgsig-sha256 anything\ngpgsig ", 1)
    forged = push_raw(shop, raw)
    home = Path(alice.program).parent
    real = subprocess.run(
        ["git", "verify-commit", forged],
        cwd=shop.folder, env={**os.environ, **ENVIRONMENT, "GNUPGHOME": str(home)}, capture_output=True, check=False,
    )  # fmt: skip
    assert real.returncode == 0, real.stderr
    with pytest.raises(UnsignedError, match="a header gpgsig-sha256, which no commit has"):
        await check(repository, forged, policy(alice))


async def test_two_signatures_are_none(repository, shop, people):
    (alice, _), (_, mallory) = people["gpg"], people["ssh"]
    alice.use(shop.tree)
    first = raw_of(shop, shop.push({"a.yaml": "1"}))
    mallory.use(shop.tree)
    second = raw_of(shop, shop.push({"a.yaml": "2"}))
    signature = second[second.index(b"gpgsig ") : second.index(b"\n\n") + 1]
    forged = push_raw(shop, first.replace(b"gpgsig ", signature + b"gpgsig ", 1))
    with pytest.raises(UnsignedError, match="two headers gpgsig"):
        await check(repository, forged, policy(alice, mallory))


async def test_an_expired_gpg_key_and_a_weak_hash_do_not_count(repository, shop, make):
    old = make.gpg("old", then="20200101T000000")
    old.use(shop.tree)
    with pytest.raises(UnsignedError, match="a key that has expired"):
        await check(repository, shop.push({"a.yaml": "1"}), policy(old))
    weak = make.gpg("weak", key_type="rsa2048", digest="SHA1")
    weak.use(shop.tree)
    with pytest.raises(UnsignedError, match="no longer safe"):
        await check(repository, shop.push({"a.yaml": "2"}), policy(weak))


async def test_a_gpg_key_that_the_policy_has_with_its_revocation_does_not_count(repository, shop, make):
    bob = make.gpg("bob")
    bob.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    assert await check(repository, commit, policy(bob))
    home = Path(bob.program).parent
    (certificate,) = (home / "openpgp-revocs.d").glob("*.rev")
    certificate.write_text(certificate.read_text().replace(":-----BEGIN", "-----BEGIN"))
    run("gpg", "--homedir", str(home), "--batch", "--import", str(certificate))
    bob.public = run("gpg", "--homedir", str(home), "--armor", "--export", bob.key)
    with pytest.raises(UnsignedError, match="a key that was revoked"):
        await check(repository, commit, policy(bob))


async def test_a_revoked_ssh_key_does_not_count(repository, shop, people):
    alice, mallory = people["ssh"]
    alice.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    assert await check(repository, commit, policy(alice, revoked=mallory.public))
    with pytest.raises(UnsignedError, match="a key that was revoked"):
        await check(repository, commit, policy(alice, revoked=alice.public))


async def test_an_ssh_signature_for_anything_but_git_does_not_count(repository, shop, people):
    alice, _ = people["ssh"]
    raw = raw_of(shop, unsigned(shop))
    signed = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", alice.key], input=raw, capture_output=True, check=True
    )
    header = b"gpgsig " + b"\n ".join(signed.stdout.rstrip(b"\n").split(b"\n"))
    forged = push_raw(shop, raw.replace(b"\n\n", b"\n" + header + b"\n\n", 1))
    with pytest.raises(UnsignedError):
        await check(repository, forged, policy(alice))


async def test_an_expired_certificate_does_not_count(repository, shop, people):
    alice, _ = people["x509"]
    alice.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    assert await check(repository, commit, policy(alice))
    later = Policy((PublicKey("x509", alice.public.encode(), "keys[0]", ("later",)),))  # nothing is remembered for it
    keyring = await repository._signatures._keyring("x509", later)
    with (keyring.home / "gpgsm.conf").open("a") as options:
        options.write("faked-system-time 20400101T000000\n")
    with pytest.raises(UnsignedError):
        await check(repository, commit, later)


async def test_nothing_of_this_machines_user_is_trusted(opened, shop, people, tmp_path, monkeypatch):
    (alice, mallory), (_, ssh_mallory) = people["gpg"], people["ssh"]
    home = tmp_path / "home"
    home.mkdir()
    (home / "allowed").write_text(f"* {ssh_mallory.public}")
    (home / ".gitconfig").write_text(
        f"[gpg]\n\tprogram = /bin/true\n[gpg \"ssh\"]\n\tallowedSignersFile = {home}/allowed\n\tprogram = /bin/true\n"
    )  # fmt: skip
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GNUPGHOME", str(Path(mallory.program).parent))
    repository = await opened(shop.url, "other")
    for who in (mallory, ssh_mallory):
        who.use(shop.tree)
        with pytest.raises(UnsignedError, match="not of the policy"):
            await check(repository, shop.push({"a.yaml": who.kind}), policy(alice, people["ssh"][0]))


async def test_no_agent_and_no_socket_is_left(repository, shop, people):
    scratch = repository._scratch.name
    for alice, _ in people.values():
        alice.use(shop.tree)
        assert await check(repository, shop.push({"a.yaml": alice.kind}), policy(alice))
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            left += [process.name] if scratch.encode() in (process / "cmdline").read_bytes() else []
    assert left == []
    assert not list(Path(scratch).rglob("S.gpg-agent*"))


async def test_several_x509_signatures_at_once_wait_for_each_other(repository, shop, people):
    alice, _ = people["x509"]
    alice.use(shop.tree)
    commits = [shop.push({"a.yaml": str(number)}) for number in range(3)]
    await asyncio.gather(*(repository.fetch(MAIN, commit, name=commit) for commit in commits))
    await asyncio.gather(*(check(repository, commit, policy(alice)) for commit in commits))


@pytest.mark.parametrize("every", [False, True])
async def test_every_commit_since_what_is_applied_must_be_signed_only_where_the_policy_says_so(
    repository, shop, people, every
):
    alice, _ = people["ssh"]
    alice.use(shop.tree)
    applied = shop.push({"a.yaml": "1"})
    between = unsigned(shop)
    alice.use(shop.tree)
    tip = shop.push({"a.yaml": "3"})
    if not every:
        assert await check(repository, tip, policy(alice), since=[applied])
        return
    with pytest.raises(UnsignedError, match=f"commit {between}, before {tip} is not applied: found no signature"):
        await check(repository, tip, policy(alice, every=True), since=[applied])
    assert await check(repository, tip, policy(alice, every=True), since=[between, applied])


async def test_a_side_branch_is_looked_at_too_and_a_forges_own_key_signs_its_merge(repository, shop, people):
    (alice, forge), tree = people["gpg"], shop.tree
    alice.use(tree)
    applied = shop.push({"a.yaml": "1"})
    tree.git("checkout", "-q", "-b", "side")
    side = tree.commit({"b.yaml": "1"})
    tree.git("checkout", "-q", "main")
    forge.use(tree)
    tree.git("merge", "-q", "--no-ff", "-m", "Merge pull request #1", side)
    tree.push()
    with pytest.raises(UnsignedError, match=f"commit {tree.head} is not applied"):
        await check(repository, tree.head, policy(alice, every=True), since=[applied])
    assert await check(repository, tree.head, policy(alice, forge, every=True), since=[applied])
    with pytest.raises(UnsignedError, match=f"commit {side}, before"):
        await check(repository, tree.head, policy(forge, every=True), since=[applied])


async def test_an_older_commit_is_held_to_the_same(repository, shop, people):
    alice, _ = people["ssh"]
    older = unsigned(shop)
    alice.use(shop.tree)
    newer = shop.push({"a.yaml": "2"})
    assert await check(repository, newer, policy(alice, every=True))
    with pytest.raises(UnsignedError, match=f"commit {older} is not applied"):
        await check(repository, older, policy(alice, every=True), since=[newer])


async def test_more_commits_than_can_be_verified_at_once_are_refused(repository, shop, people, monkeypatch):
    monkeypatch.setattr(signatures, "MOST_COMMITS", 2)
    alice, _ = people["ssh"]
    alice.use(shop.tree)
    commits = [shop.push({"a.yaml": str(number)}) for number in range(4)]
    with pytest.raises(LimitExceededError, match="more than 2 commits"):
        await check(repository, commits[-1], policy(alice, every=True), since=commits[:1])


def annotated(shop, name, *, sign, commit="HEAD"):
    """Make and push an annotated tag; the commit that it leads to."""
    tree = shop.tree
    tree.git("tag", *(["-s"] if sign else ["-a", "--no-sign"]), "-f", "-m", "a release", name, commit)
    tree.push(ref=f"refs/tags/{name}", force=True)
    return git("rev-parse", f"{name}^{{commit}}", cwd=tree.path)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signed_tag_that_is_followed_vouches_for_its_commit(repository, shop, people, kind):
    alice, _ = people[kind]
    unsigned(shop)
    alice.use(shop.tree).git("config", "commit.gpgSign", "false")
    commit = annotated(shop, "v1", sign=True)
    assert await repository.tip("refs/tags/v1") == commit
    assert await check(repository, commit, policy(alice), ref="refs/tags/v1")
    with pytest.raises(UnsignedError, match="found no signature; expected"):
        await check(repository, commit, policy(alice))


async def test_an_unsigned_or_renamed_or_moved_tag_vouches_for_nothing(repository, shop, people):
    alice, mallory = people["ssh"]
    unsigned(shop)
    commit = annotated(shop, "v1", sign=False)
    with pytest.raises(UnsignedError, match=r"and, of its tag [0-9a-f]{40}, no signature"):
        await check(repository, commit, policy(alice), ref="refs/tags/v1")
    mallory.use(shop.tree).git("config", "commit.gpgSign", "false")
    annotated(shop, "v1", sign=True)
    with pytest.raises(UnsignedError, match=r"and, of its tag [0-9a-f]{40}, a signature by a key that is not"):
        await check(repository, commit, policy(alice), ref="refs/tags/v1")
    alice.use(shop.tree).git("config", "commit.gpgSign", "false")
    annotated(shop, "v1", sign=True)
    git("update-ref", "refs/tags/v2", "refs/tags/v1", cwd=shop.folder)
    with pytest.raises(UnsignedError, match="was made as 'v1', not as 'v2'"):
        await check(repository, commit, policy(alice), ref="refs/tags/v2")
    git("update-ref", "refs/tags/light", commit, cwd=shop.folder)
    with pytest.raises(UnsignedError, match="found no signature; expected"):
        await check(repository, commit, policy(alice), ref="refs/tags/light")
    unsigned(shop)
    annotated(shop, "v1", sign=True)
    with pytest.raises(CommitMissingError):
        await check(repository, commit, policy(alice), ref="refs/tags/v1")


async def test_a_commit_is_verified_once_for_each_policy(repository, shop, people, monkeypatch):
    alice, mallory = people["ssh"]
    alice.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    assert await check(repository, commit, policy(alice))
    with monkeypatch.context() as without_git:
        without_git.setattr(GitCli, "run", None)
        assert await check(repository, commit, policy(alice))
    with pytest.raises(UnsignedError):
        await check(repository, commit, policy(mallory))


async def test_a_key_that_is_none_is_named(repository, shop, people):
    for kind in ("gpg", "x509"):
        alice, _ = people[kind]
        alice.use(shop.tree)
        half = alice.public.splitlines(keepends=True)
        alice_ = type(alice)(kind, alice.key, "".join(half[:3] + half[-1:]), alice.program)
        with pytest.raises(PolicyError, match=r"keys\[0\]"):
            await check(repository, shop.push({"a.yaml": kind}), policy(alice_))


def fake(tmp_path, monkeypatch, name, script):
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


async def test_a_program_that_hangs_is_ended_and_the_commit_is_not_applied(opened, shop, people, tmp_path, monkeypatch):
    alice, _ = people["ssh"]
    alice.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    fake(tmp_path, monkeypatch, "ssh-keygen", f"echo $$ > {tmp_path}/pid; sleep 300")
    monkeypatch.setattr(signatures, "SECONDS", 1.0)
    repository = await opened(shop.url, "other")
    with pytest.raises(GitTimeoutError):
        await check(repository, commit, policy(alice))
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "says",
    ["", 'echo \'Good "git" signature for a with ED25519 key SHA256:' + "A" * 43 + "'", "exit 1"],
    ids=["nothing", "another key", "failure"],
)
async def test_a_program_that_says_anything_else_is_not_believed(opened, shop, people, tmp_path, monkeypatch, says):
    alice, _ = people["ssh"]
    alice.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    fake(tmp_path, monkeypatch, "ssh-keygen", says)
    repository = await opened(shop.url, "other")
    with pytest.raises(UnsignedError):
        await check(repository, commit, policy(alice))


async def test_without_the_program_nothing_is_applied(opened, shop, people, tmp_path, monkeypatch):
    alice, _ = people["gpg"]
    alice.use(shop.tree)
    commit = shop.push({"a.yaml": "1"})
    repository = await opened(shop.url, "other")
    await repository.fetch(MAIN, commit, name="shop-main")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="no `gpg` on the PATH"):
        await repository.require_signed(MAIN, commit, policy(alice))
