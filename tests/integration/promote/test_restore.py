"""Folders as they were at an earlier commit, on real Git over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.promote.test_propose import WINDLASS, Shop
from tests.parts.git import git
from tests.parts.signing import signers
from windlass.errors import PermanentError
from workers.aiogit.errors import PathError
from workers.promote.identity import Key, Signer
from workers.promote.restore import Restore, Restored, look, restore

pytestmark = pytest.mark.integration

BRANCH = "rollback/shop"


async def back(shop: Shop, revision: str, *folders: str, signer: Signer | None = None) -> Restored:
    wanted = Restore("main", BRANCH, revision, folders, "shop: back\n", WINDLASS, signer)
    return await restore(shop.repository, await look(shop.repository, "main"), wanted)


async def test_the_folder_is_what_it_was_and_nothing_else_changes(shop: Shop) -> None:
    shop.tree.git("config", "core.fileMode", "true")
    good = shop.move_main({"apps/a/old.yaml": "a: 1\n", "apps/web.yaml": "web: 1\n", "other/x.yaml": "x: 1\n"})
    bad = shop.move_main(
        {"apps/a/old.yaml": None, "apps/new.yaml": "n: 1\n", "apps/web.yaml": "web: 2\n", "other/x.yaml": "x: 2\n"}
    )
    made = await back(shop, good, "apps")
    assert made.commit == shop.tip(BRANCH)
    assert list(made.files) == ["apps/a/old.yaml", "apps/new.yaml", "apps/web.yaml"]
    assert shop.git("rev-parse", f"{made.commit}:apps") == shop.git("rev-parse", f"{good}:apps")
    assert shop.git("rev-parse", f"{made.commit}:other") == shop.git("rev-parse", f"{bad}:other")
    assert shop.git("log", "--format=%H", f"{bad}..{made.commit}") == made.commit
    assert git("fsck", "--strict", cwd=shop.bare) == ""


async def test_a_folder_that_is_gone_comes_back_in_its_place(shop: Shop) -> None:
    good = shop.move_main({"deep/er/a.yaml": "a: 1\n", "deep.yaml": "d: 1\n", "deep-er/a.yaml": "b: 1\n"})
    shop.move_main({"deep/er/a.yaml": None})
    made = await back(shop, good, "deep/er")
    assert made.files == ("deep/er/a.yaml",)
    assert shop.git("rev-parse", f"{made.commit}^{{tree}}") == shop.git("rev-parse", f"{good}^{{tree}}")
    assert git("fsck", "--strict", cwd=shop.bare) == ""


async def test_several_folders_and_the_whole_repository(shop: Shop) -> None:
    good = shop.move_main({"a/x": "1", "b/x": "1", "c/x": "1"})
    shop.move_main({"a/x": "2", "b/x": "2", "c/x": "2"})
    assert (await back(shop, good, "a", "b")).files == ("a/x", "b/x")
    made = await back(shop, good, "")
    assert shop.git("rev-parse", f"{made.commit}^{{tree}}") == shop.git("rev-parse", f"{good}^{{tree}}")


async def test_the_same_again_pushes_nothing_and_another_revision_takes_its_place(shop: Shop) -> None:
    shop.move_main({"apps/web.yaml": "web: 2\n"})
    shop.move_main({"apps/web.yaml": "web: 3\n"})
    made = await back(shop, shop.first, "apps")
    before = len(shop.server.requests)
    assert await back(shop, shop.first, "apps") == made
    assert not any("git-receive-pack" in path for _, path, _ in shop.server.requests[before:])
    other = await back(shop, shop.git("rev-parse", "main~1"), "apps")
    assert shop.tip(BRANCH) == other.commit != made.commit


async def test_what_others_pushed_to_the_branch_is_not_touched(shop: Shop) -> None:
    shop.move_main({"apps/web.yaml": "web: 2\n"})
    await back(shop, shop.first, "apps")
    theirs = shop.review({"apps/web.yaml": "web: mine\n"}, BRANCH)
    with pytest.raises(PermanentError, match="others pushed to rollback/shop"):
        await back(shop, shop.first, "apps")
    assert shop.tip(BRANCH) == theirs


async def test_nothing_that_differs_and_a_folder_that_was_not_there_are_errors(shop: Shop) -> None:
    shop.move_main({"new/a.yaml": "a: 1\n"})
    with pytest.raises(PermanentError, match="is as it was"):
        await back(shop, shop.first, "apps")
    with pytest.raises(PathError, match="has no folder new"):
        await back(shop, shop.first, "new")
    with pytest.raises(PathError, match=r"has no folder apps/web\.yaml"):
        await back(shop, shop.first, "apps/web.yaml")


async def test_it_is_signed_where_promotions_are(shop: Shop) -> None:
    shop.move_main({"apps/web.yaml": "web: 2\n"})
    with signers() as people:
        signer = Signer(Key("ssh", Path(people.ssh("windlass").key).read_bytes()))
    try:
        made = await back(shop, shop.first, "apps", signer=signer)
    finally:
        signer.close()
    assert "gpgsig -----BEGIN SSH SIGNATURE-----" in shop.git("cat-file", "-p", made.commit)
