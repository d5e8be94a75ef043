"""A merge of a pull request that changes one ConfigMap out of N, by the forge's API: as `benchmarks.push_to_applied`, with its
fields and its limit. `push_p50_ms` counts from the end of the call that merged.
"""

from __future__ import annotations

import asyncio
import time
import urllib.error
from collections.abc import Callable
from typing import Any

from benchmarks.bare import git
from benchmarks.push_to_applied import applied_by
from benchmarks.pushes import Change, Deliver
from benchmarks.stage import stage
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea

BRANCH = "change"
PATIENCE_SECONDS = 60.0


async def measure(sizes: list[int]) -> None:
    with stage("bench-merge", forge=True) as parts:
        for size in sizes:
            await applied_by(parts, size, "merge_to_applied", _merged(parts.forge))


def _merged(forge: Gitea) -> Deliver:
    async def deliver(tree: WorkTree, changed: Change) -> tuple[str, float]:
        name = tree.remote.rpartition("/")[2].removesuffix(".git")
        await git("fetch", "-q", "origin", "main", cwd=tree.path)
        await git("reset", "-q", "--hard", "FETCH_HEAD", cwd=tree.path)
        tree.commit(changed.files, f"change {changed.name}")
        await git("push", "-q", "origin", f"HEAD:refs/heads/{BRANCH}", cwd=tree.path)
        number = await asyncio.to_thread(forge.create_pull_request, name, BRANCH, f"change {changed.name}")
        ended = await _tried(lambda: _merge(forge, name, number))
        pull: Any = await asyncio.to_thread(forge.api, "GET", f"/repos/{ADMIN}/{name}/pulls/{number}")
        return str(pull["merge_commit_sha"]), ended

    return deliver


def _merge(forge: Gitea, name: str, number: int) -> float:
    body = {"Do": "merge", "delete_branch_after_merge": True}
    forge.api("POST", f"/repos/{ADMIN}/{name}/pulls/{number}/merge", body)
    return time.time()


async def _tried(merge: Callable[[], float]) -> float:
    """Until the forge has found out that it can be merged."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await asyncio.to_thread(merge)
        except urllib.error.HTTPError as error:
            if error.code != 405 or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)
