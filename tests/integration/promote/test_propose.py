"""From an image to a branch that names it, on real Git over HTTP; a person pushes to the same branches meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.parts.git import git
from tests.parts.git_http import GitHttp
from tests.parts.signing import run, signers
from windlass.documents.editing import Edit
from windlass.errors import TransientError
from workers.aiogit import GitRepository, Remote
from workers.aiogit.errors import AuthenticationError, PathError, RefNotFoundError
from workers.aiogit.keyrings import Policy, PublicKey
from workers.promote import propose as proposing
from workers.promote.edit import NothingToEditError, Wanted
from workers.promote.identity import Identity, Key, Signer, SigningError
from workers.promote.propose import Change, Target, propose
from workers.promote.push import RaceError, RefusedPushError

pytestmark = pytest.mark.integration

IMAGE = "registry.example/shop/web"
BRANCH = "promote/web"
WEB = f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  template:
    spec:
      containers:
        - name: web
          image: {IMAGE}:1.0.0  # the shop
"""


class Shop:
    """A manifest repository as its people see it, and as Windlass promotes to it."""

    def __init__(self, server: GitHttp, folder: Path, repository: GitRepository, url: str) -> None:
        self.server, self.repository, self.url = server, repository, url
        self.bare = server.root / "shop.git"
        self.tree = server.work_tree("shop", folder)
        self.first = self.tree.commit_and_push({"apps/web.yaml": WEB, "README.md": "hello\n"})

    async def propose(self, tag: str = "1.1.0", *, branch: str = BRANCH, keep: bool = True, **more: Any):
        change = Change("web", Wanted(IMAGE, tag, **more.pop("wanted", {})), f"web: {tag}\n", 1_700_000_000.7, WINDLASS)
        path = more.pop("path", "apps")
        repository = more.pop("repository", self.repository)
        return await propose(repository, Target("main", branch, path, keep), replace(change, **more))

    def git(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.bare)

    def tip(self, branch: str = BRANCH) -> str:
        return self.git("rev-parse", f"refs/heads/{branch}")

    def file(self, commit: str, path: str = "apps/web.yaml") -> str:
        return self.git("show", f"{commit}:{path}")

    def image(self, commit: str) -> str:
        return next(line.split()[1] for line in self.file(commit).splitlines() if "image:" in line)

    def review(self, files: dict[str, str | bytes | None], branch: str = BRANCH) -> str:
        """A reviewer pushes a commit to the promotion's branch."""
        self.tree.git("fetch", "-q", "origin", branch)
        self.tree.git("checkout", "-q", "-B", "review", "FETCH_HEAD")
        made = self.tree.commit(files, "a reviewer's adjustment")
        self.tree.git("push", "-q", "origin", f"review:{branch}")
        self.tree.git("checkout", "-q", "main")
        return made

    def move_main(self, files: dict[str, str | bytes | None]) -> str:
        return self.tree.commit_and_push(files, "main moves on")

    def has(self, ancestor: str, descendant: str) -> bool:
        return self.git("merge-base", ancestor, descendant) == ancestor


WINDLASS = Identity("Windlass", "windlass@shop.example")


@pytest.fixture
async def shop(git_http: GitHttp, tmp_path: Path) -> AsyncIterator[Shop]:
    url = git_http.create("shop")
    repository = GitRepository(tmp_path / "store.git", Remote(url))
    await repository.open()
    yield Shop(git_http, tmp_path / "work", repository, url)
    await repository.close()


async def test_a_branch_is_made_of_one_commit_on_the_base(shop):
    made = await shop.propose()
    assert (made.outcome, made.branch, made.base, made.previous) == ("created", BRANCH, shop.first, "1.0.0")
    assert made.commit == shop.tip()
    assert shop.file(made.commit) + "\n" == WEB.replace("1.0.0", "1.1.0")
    assert shop.git("rev-list", "--count", f"main..{made.commit}") == "1"
    assert made.edits == (f"apps/web.yaml:11: spec.template.spec.containers[0].image: {IMAGE}:1.0.0 → {IMAGE}:1.1.0",)


async def test_the_commit_says_who_made_it_and_when_the_image_came(shop):
    made = await shop.propose()
    said = shop.git("show", "-s", "--format=%an <%ae>|%cn <%ce>|%at|%ct|%B", made.commit)
    who = "Windlass <windlass@shop.example>"
    assert said.startswith(f"{who}|{who}|1700000000|1700000000|web: 1.1.0\n\n")
    trailers = shop.git("show", "-s", "--format=%(trailers:only)", made.commit)
    assert trailers == "Windlass-Promotion: web\nWindlass-Image: 1.1.0@"
    assert git("fsck", "--strict", cwd=shop.bare) == ""


async def test_an_image_of_which_no_time_is_known_bears_the_bases(shop):
    """As after Redis forgot everything: the pull request says which image it is, and not since when."""
    made = await shop.propose(at=0.0)
    assert shop.git("show", "-s", "--format=%ct", made.commit) == shop.git("show", "-s", "--format=%ct", "main")
    assert (await shop.propose()).outcome == "unchanged"


async def test_the_same_again_changes_nothing(shop):
    made = await shop.propose()
    before = len(shop.server.requests)
    for keep in (True, False):
        again = await shop.propose(keep=keep)
        assert again == made._replace(outcome="unchanged")
    assert not any("git-receive-pack" in path for _, path, _ in shop.server.requests[before:])


async def test_a_base_that_names_the_image_needs_no_branch(shop):
    made = await shop.propose("1.0.0")
    assert (made.outcome, made.commit, made.edits) == ("unchanged", shop.first, ())
    assert BRANCH not in shop.git("branch", "--list", "--all")


async def test_straight_to_the_branch_without_a_pull_request(shop):
    made = await shop.propose(branch="main")
    assert (made.outcome, made.commit) == ("created", shop.tip("main"))
    assert shop.git("rev-parse", "main^") == shop.first
    again = await shop.propose(branch="main")
    assert (again.outcome, again.commit) == ("unchanged", made.commit)


async def test_a_newer_image_replaces_ours_on_the_newest_base(shop):
    await shop.propose("1.1.0")
    base = shop.move_main({"README.md": "moved\n"})
    made = await shop.propose("1.2.0")
    assert (made.outcome, made.base, made.previous) == ("rebuilt", base, "1.0.0")
    assert shop.image(shop.tip()) == f"{IMAGE}:1.2.0"
    assert shop.git("rev-parse", f"{BRANCH}^") == base


async def test_a_base_that_moved_elsewhere_leaves_the_branch_alone(shop):
    made = await shop.propose()
    shop.move_main({"README.md": "moved\n"})
    again = await shop.propose()
    assert (again.outcome, again.commit) == ("unchanged", made.commit)


async def test_a_base_with_which_ours_conflicts_is_taken_anew(shop):
    await shop.propose("1.2.0")
    base = shop.move_main({"apps/web.yaml": WEB.replace("1.0.0", "1.1.0")})
    made = await shop.propose("1.2.0")
    assert (made.outcome, made.previous) == ("rebuilt", "1.1.0")
    assert shop.git("rev-parse", f"{BRANCH}^") == base


async def test_what_a_reviewer_pushed_is_kept(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/web.yaml": WEB.replace("1.0.0", "1.1.0").replace("replicas: 1", "replicas: 3")})
    made = await shop.propose("1.2.0")
    assert made.outcome == "rebuilt"
    assert shop.git("rev-parse", f"{made.commit}^") == review
    assert shop.file(made.commit) + "\n" == WEB.replace("1.0.0", "1.2.0").replace("replicas: 1", "replicas: 3")


async def test_what_a_reviewer_made_of_this_very_image_is_the_last_word(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/web.yaml": WEB.replace("1.0.0", "1.1.0-hotfix")})
    made = await shop.propose("1.1.0")
    assert (made.outcome, made.commit, shop.tip()) == ("unchanged", review, review)


async def test_the_base_is_merged_in_below_a_reviewers_commit(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/config.yaml": "key: value\n"})
    base = shop.move_main({"apps/web.yaml": WEB.replace("1.0.0", "1.0.1"), "README.md": "moved\n"})
    made = await shop.propose("1.2.0")
    assert made.outcome == "rebuilt"
    assert shop.git("rev-parse", f"{made.commit}^1", f"{made.commit}^2").split() == [review, base]
    assert shop.image(made.commit) == f"{IMAGE}:1.2.0"
    assert shop.file(made.commit, "apps/config.yaml") == "key: value"
    assert shop.file(made.commit, "README.md") == "moved"
    assert (await shop.propose("1.2.0")).outcome == "unchanged"


async def test_a_conflict_names_the_file_and_pushes_nothing(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/web.yaml": WEB.replace("1.0.0", "1.1.0").replace("replicas: 1", "replicas: 3")})
    shop.move_main({"apps/web.yaml": WEB.replace("replicas: 1", "replicas: 5")})
    made = await shop.propose("1.2.0")
    assert (made.outcome, made.edits, shop.tip()) == ("conflict", ("apps/web.yaml",), review)


async def test_a_reviewers_word_on_this_very_image_is_not_lost_in_a_merge(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/web.yaml": WEB.replace("1.0.0", "1.1.0-hotfix")})
    shop.move_main({"apps/web.yaml": WEB.replace("1.0.0", "1.0.5")})
    made = await shop.propose("1.1.0")
    assert (made.outcome, shop.tip()) == ("conflict", review)
    assert "1.1.0-hotfix" in made.edits[0]


async def test_an_older_image_that_is_wanted_again_is_written_again(shop):
    """As after a rollback: it was on the branch before, below a newer one."""
    await shop.propose("1.1.0")
    shop.review({"apps/config.yaml": "key: value\n"})
    await shop.propose("1.2.0")
    made = await shop.propose("1.1.0")
    assert (made.outcome, shop.image(made.commit)) == ("rebuilt", f"{IMAGE}:1.1.0")


async def test_garbage_may_be_collected_at_any_time(shop, monkeypatch):
    """gc lets no fetch begin, and waits until nobody has the store: a proposal that has it must not fetch."""
    looks, collecting = proposing._Look._edits, []

    async def slow(look, at):
        if not collecting:
            collecting.append(asyncio.create_task(shop.repository.gc(force=True)))
            await asyncio.sleep(0.05)
        return await looks(look, at)

    await shop.propose("1.1.0")
    monkeypatch.setattr(proposing._Look, "_edits", slow)
    async with asyncio.timeout(120):
        made = await shop.propose("1.2.0")
        assert await collecting[0]
    assert shop.image(made.commit) == f"{IMAGE}:1.2.0"
    assert (await shop.propose("1.2.0")).outcome == "unchanged"


async def test_a_reviewer_who_takes_the_image_out_is_not_overruled(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/web.yaml": "kind: Nothing\n"})
    made = await shop.propose("1.2.0")
    assert (made.outcome, shop.tip()) == ("conflict", review)
    assert "apps/web.yaml" in made.edits[0] or "web.yaml" in made.edits[0]


async def test_a_closed_pull_requests_branch_begins_anew_and_others_commits_stay(shop):
    await shop.propose("1.1.0")
    review = shop.review({"apps/config.yaml": "key: value\n"})
    made = await shop.propose("1.2.0", keep=False)
    assert (made.outcome, shop.git("rev-parse", f"{BRANCH}^")) == ("rebuilt", shop.first)
    assert shop.tip(f"{BRANCH}-kept-{review[:12]}") == review


async def test_after_a_squashed_merge_nothing_is_kept_twice(shop):
    await shop.propose("1.1.0")
    shop.review({"apps/config.yaml": "key: value\n"})
    base = shop.move_main({"apps/web.yaml": WEB.replace("1.0.0", "1.1.0"), "apps/config.yaml": "key: value\n"})
    made = await shop.propose("1.2.0", keep=False)
    assert (made.outcome, made.base) == ("rebuilt", base)
    assert "kept" not in shop.git("branch", "--list", "--all")


async def test_a_branch_on_which_nothing_is_ours_is_not_touched(shop):
    shop.tree.git("push", "-q", "origin", f"main:{BRANCH}")
    human = shop.review({"notes.md": "mine\n"})
    made = await shop.propose(keep=False)
    assert (made.outcome, shop.tip()) == ("conflict", human)
    assert "A Developer" in made.edits[0]


async def test_who_amends_our_commit_makes_it_theirs(shop):
    await shop.propose("1.1.0")
    shop.tree.git("fetch", "-q", "origin", BRANCH)
    shop.tree.git("checkout", "-q", "-B", "review", "FETCH_HEAD")
    shop.tree.git("commit", "-q", "--amend", "--no-edit")
    amended = shop.tree.head
    shop.tree.git("push", "-q", "--force", "origin", f"review:{BRANCH}")
    made = await shop.propose("1.2.0")
    assert shop.git("rev-parse", f"{made.commit}^") == amended


async def test_whether_the_image_is_all_that_changes_is_told_by_the_content_whoever_says_to_have_made_it(shop):
    made = await shop.propose("1.1.0")
    assert made.alone
    shop.move_main({"README.md": "moved\n"})
    assert (await shop.propose("1.1.0")).alone, "the base may move on"
    who = ["-c", f"user.name={WINDLASS.name}", "-c", f"user.email={WINDLASS.email}"]
    message = shop.git("show", "-s", "--format=%B", made.commit)
    shop.tree.git("fetch", "-q", "origin", BRANCH)
    shop.tree.git("checkout", "-q", "-B", "review", "FETCH_HEAD")
    (shop.tree.path / "apps" / "evil.yaml").write_text("evil: true\n")
    shop.tree.git("add", "-A")
    shop.tree.git(*who, "commit", "-q", "--amend", "--reset-author", "-m", message)
    shop.tree.git("push", "-q", "--force", "origin", f"review:{BRANCH}")
    again = await shop.propose("1.1.0")
    assert shop.file(again.commit, "apps/evil.yaml") == "evil: true", "it passes for ours"
    assert not again.alone


async def test_with_a_reviewers_commit_the_image_is_not_alone(shop):
    await shop.propose("1.1.0")
    shop.review({"apps/config.yaml": "key: value\n"})
    assert not (await shop.propose("1.1.0")).alone
    assert not (await shop.propose("1.2.0")).alone


async def test_a_push_race_is_run_again_on_the_new_tip(shop, monkeypatch):
    """Somebody pushes between our look and our push, twice."""
    pushed, pushes = [], proposing.push

    async def slow(*arguments, **named):
        if len(pushed) < 2:
            pushed.append(shop.move_main({"README.md": f"{len(pushed)}\n"}))
        await pushes(*arguments, **named)

    monkeypatch.setattr(proposing, "push", slow)
    made = await shop.propose(branch="main")
    assert made.base == pushed[1]
    assert shop.git("rev-parse", "main^") == pushed[1]
    assert shop.has(pushed[0], made.commit)


async def test_a_reviewer_who_is_faster_is_kept(shop, monkeypatch):
    await shop.propose("1.1.0")
    pushed, pushes = [], proposing.push

    async def slow(*arguments, **named):
        if not pushed:
            pushed.append(shop.review({"apps/config.yaml": "key: value\n"}))
        await pushes(*arguments, **named)

    monkeypatch.setattr(proposing, "push", slow)
    made = await shop.propose("1.2.0")
    assert shop.git("rev-parse", f"{made.commit}^") == pushed[0]


async def test_two_workers_at_once_come_to_one_commit(shop, tmp_path):
    other = GitRepository(tmp_path / "other.git", Remote(shop.url))
    await other.open()
    try:
        one, two = await asyncio.gather(shop.propose(), shop.propose(repository=other))
    finally:
        await other.close()
    assert one.commit == two.commit == shop.tip()
    assert shop.git("rev-list", "--count", f"main..{BRANCH}") == "1"


async def test_two_promotions_into_one_branch_both_arrive(shop):
    shop.move_main({"apps/api.yaml": WEB.replace("shop/web", "shop/api")})
    change = Change("api", Wanted("registry.example/shop/api", "2.0.0"), "api", 1.0, WINDLASS)
    await asyncio.gather(shop.propose(branch="main"), propose(shop.repository, Target("main", "main", "apps"), change))
    assert shop.image("main") == f"{IMAGE}:1.1.0"
    assert "shop/api:2.0.0" in shop.file("main", "apps/api.yaml")


async def test_somebody_who_always_pushes_first_is_an_error_to_try_again(shop, monkeypatch):
    async def raced(*_arguments, **_named):
        raise RaceError("again")

    monkeypatch.setattr(proposing, "push", raced)
    monkeypatch.setattr(proposing, "PAUSE_SECONDS", 0.0)
    with pytest.raises(TransientError, match="changed 8 times"):
        await shop.propose()


async def test_a_protected_branch_is_told_in_the_servers_words(shop):
    hook = shop.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected: ask Alice' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RefusedPushError, match="main is protected: ask Alice"):
        await shop.propose(branch="main")
    assert shop.tip("main") == shop.first


@pytest.mark.parametrize("taken", ["promote", f"{BRANCH}/older"])
async def test_a_name_that_another_branch_leaves_no_place_for_is_no_race(shop, taken):
    shop.git("branch", taken, "main")
    with pytest.raises(RefusedPushError, match=f"no place for a branch {BRANCH}: .*'refs/heads/{taken}' exists"):
        await shop.propose()


async def test_credentials_that_expired(shop, tmp_path):
    shop.server.password = "new"
    stale = GitRepository(tmp_path / "stale.git", Remote(shop.url, username="x", password="hush-hush"))
    await stale.open()
    try:
        with pytest.raises(AuthenticationError) as caught:
            await shop.propose(repository=stale)
        assert "hush-hush" not in str(caught.value)
    finally:
        await stale.close()


async def test_credentials_that_may_read_and_not_push(shop):
    git("config", "http.receivepack", "false", cwd=shop.bare)
    with pytest.raises((AuthenticationError, RefusedPushError)):
        await shop.propose()


async def test_bytes_survive_to_the_end(shop):
    """A byte order mark, CRLF, odd quotes, tabs in comments, no newline at the end."""
    odd = (
        b"\xef\xbb\xbf# caf\xc3\xa9 \xf0\x9f\x9a\x80\t\r\nimage:\r\n    tag:   '1.0.0'\t# keep\t\r\n\r\n"
        b'    repository: "registry.example/shop/web"\r\nlast: ~'
    )
    shop.move_main({"apps/web.yaml": None, "chart/values.yaml": odd})
    made = await shop.propose("1.10", path="chart")
    command = ["git", "cat-file", "blob", f"{made.commit}:chart/values.yaml"]
    content = subprocess.run(command, cwd=shop.bare, capture_output=True, check=True).stdout
    assert content == odd.replace(b"'1.0.0'", b"'1.10'")


async def test_other_files_keep_their_modes(shop):
    (shop.tree.path / "apps/web.yaml").chmod(0o755)
    (shop.tree.path / "apps/link.yaml").symlink_to("web.yaml")
    shop.tree.commit_and_push({"apps/run.sh": "exit\n"}, "odd modes")
    made = await shop.propose()
    entries = {line.split()[3]: line.split()[0] for line in shop.git("ls-tree", f"{made.commit}:apps").splitlines()}
    assert entries == {"link.yaml": "120000", "run.sh": "100644", "web.yaml": "100755"}
    assert shop.git("diff", "--name-only", f"{made.commit}^", made.commit) == "apps/web.yaml"


async def test_nothing_to_edit_says_where_it_looked(shop):
    with pytest.raises(NothingToEditError) as caught:
        await shop.propose(wanted={}, edit=Edit(files=("none-*.yaml",)))
    assert "there is no YAML" in str(caught.value)
    change = Change("x", Wanted("registry.example/other", "1"), "x", 0.0, WINDLASS)
    with pytest.raises(NothingToEditError, match=r"web\.yaml; images there: registry\.example/shop/web:1\.0\.0"):
        await propose(shop.repository, Target("main", BRANCH, "apps"), change)


async def test_no_such_branch_and_no_such_folder(shop):
    change = Change("x", Wanted(IMAGE, "1"), "x", 0.0, WINDLASS)
    with pytest.raises(RefNotFoundError, match="no branch nowhere"):
        await propose(shop.repository, Target("nowhere", BRANCH), change)
    with pytest.raises(PathError, match="nowhere"):
        await propose(shop.repository, Target("main", BRANCH, "nowhere"), change)


@pytest.fixture(scope="module")
def people():
    with signers() as make:
        yield {"gpg": make.gpg("windlass"), "ssh": make.ssh("windlass-ssh"), "other": make.ssh("mallory")}


def private(person) -> bytes:
    if person.kind == "ssh":
        return Path(person.key).read_bytes()
    return run(person.program, "--pinentry-mode", "loopback", "--armor", "--export-secret-keys", person.key).encode()


@pytest.mark.parametrize("kind", ["gpg", "ssh"])
async def test_a_signed_commit_satisfies_our_own_verification(shop, people, kind):
    signer = Signer(Key(kind, private(people[kind])))
    try:
        made = await shop.propose(signer=signer)
        again = await shop.propose(signer=signer, keep=False)
    finally:
        signer.close()
    assert not [child for child in psutil.Process().children(recursive=True) if "gpg" in child.name()]
    assert again.outcome == "unchanged"
    policy = Policy((PublicKey(kind, people[kind].public.encode(), "keys[0]"),))
    assert await shop.repository.require_signed(f"refs/heads/{BRANCH}", made.commit, policy) == "keys[0]"


async def test_a_key_that_is_none_signs_nothing(shop):
    for kind in ("gpg", "ssh"):
        signer = Signer(
            Key(kind, b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n")
        )
        with pytest.raises(SigningError) as caught:
            await shop.propose(signer=signer)
        signer.close()
        assert "c2VjcmV0" not in str(caught.value)
    assert BRANCH not in shop.git("branch", "--list", "--all")
