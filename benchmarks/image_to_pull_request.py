"""From CI's word that an image was published to the pull request on the forge that names it, among N manifests.

The limit is what anybody needs for it who has the edited commit already: `git push` of the branch, and the one call that opens
the pull request, on a twin repository, in turns. Each round begins with the last one's pull request merged and its branch gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import aiohttp

from benchmarks.bare import git
from benchmarks.out import median, percentile, tell
from benchmarks.push_to_applied import config_map
from benchmarks.stage import Stage, stage
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea
from tests.parts.windlass import API_VERSION, Windlass, repository

ROUNDS, WARM_UP = 20, 3
REST_SECONDS = 0.5
LOOK_SECONDS = 0.005
IMAGE = "registry.example/shop/web"
FILE = "shop/web.yaml"


async def measure(sizes: list[int]) -> None:
    with stage("bench-image", forge=True) as parts:
        for size in sizes:
            await _measure(parts, size)


async def _measure(parts: Stage, size: int) -> None:
    name = f"image-{size}"
    files = {**{f"shop/cm-{i:05d}.yaml": config_map(i, "first") for i in range(size - 1)}, FILE: _pod("1.0.0")}
    remote, _ = parts.create_repository(name, files)
    _, twin = parts.create_repository(f"{name}-twin", files)
    windlass = parts.windlass(name, TOKEN=parts.forge.token, CI="a token of CI, of some length")
    token = {"token": {"env": "TOKEN"}}
    try:
        windlass.write(
            repository(name, remote.clone_url, credentials=token, pullRequests=token),
            _document(
                "Registry", "ci", {"type": "ci", "images": ["registry.example/shop/*"], "secrets": [{"env": "CI"}]}
            ),
            _document(
                "Promotion",
                "web",
                {
                    "image": IMAGE,
                    "policy": {"order": "semver"},
                    "target": {"repository": name, "branch": "main", "path": "shop"},
                },
            ),
        )
        windlass.start()
        headers = {"Authorization": f"token {parts.forge.token}"}
        async with aiohttp.ClientSession(headers=headers) as session, aiohttp.ClientSession() as ci:
            ours, limit = _Forge(parts.forge, session, name), _Forge(parts.forge, session, f"{name}-twin")
            times: list[float] = []
            pushes: list[float] = []
            calls: list[float] = []
            for number in range(1, ROUNDS + WARM_UP + 1):
                times.append(await _published(windlass, ci, ours, f"1.0.{number}"))
                await asyncio.sleep(REST_SECONDS)
                pushed, called = await _bare(twin, limit, f"1.0.{number}")
                pushes.append(pushed)
                calls.append(called)
                await asyncio.sleep(REST_SECONDS)
        took, push, call = (median(values[WARM_UP:]) for values in (times, pushes, calls))
        tell(
            "image_to_pull_request",
            n=size,
            p50_ms=took * 1000,
            p90_ms=percentile(times[WARM_UP:], 0.9) * 1000,
            limit_push_ms=push * 1000,
            limit_call_ms=call * 1000,
            limit_ms=(push + call) * 1000,
            ratio=took / (push + call),
            rounds=ROUNDS,
        )
        if os.environ.get("SHOW"):
            print(windlass.log("worker")[-6000:], file=sys.stderr)
    finally:
        windlass.stop()


class _Forge:
    """A repository of the forge, over one warm session."""

    def __init__(self, forge: Gitea, session: aiohttp.ClientSession, name: str) -> None:
        self._pulls, self._session = f"{forge.url}/api/v1/repos/{ADMIN}/{name}/pulls", session

    async def opened(self, tag: str) -> int:
        """Wait for the pull request of this tag; its number."""
        async with asyncio.timeout(60):
            while True:
                async with self._session.get(f"{self._pulls}?state=open&limit=1") as answer:
                    found = await answer.json()
                if found and tag in found[0]["title"]:
                    return int(found[0]["number"])
                await asyncio.sleep(LOOK_SECONDS)

    async def open(self, head: str, title: str) -> int:
        body = {"head": head, "base": "main", "title": title, "body": "As Windlass' own, in length." * 20}
        async with self._session.post(self._pulls, json=body) as answer:
            answer.raise_for_status()
            return int((await answer.json())["number"])

    async def merge(self, number: int) -> None:
        """Once the forge has found out that it can be."""
        async with asyncio.timeout(60):
            while True:
                body = {"Do": "merge", "delete_branch_after_merge": True}
                async with self._session.post(f"{self._pulls}/{number}/merge", json=body) as answer:
                    if answer.status < 300:
                        return
                await asyncio.sleep(0.1)


async def _published(windlass: Windlass, ci: aiohttp.ClientSession, forge: _Forge, tag: str) -> float:
    """Seconds from CI's call to the pull request."""
    headers = {"Authorization": f"Bearer {windlass.environment['CI']}"}
    started = time.perf_counter()
    async with ci.post(f"{windlass.url}/images", json={"image": IMAGE, "tag": tag}, headers=headers) as answer:
        answer.raise_for_status()
    number = await forge.opened(tag)
    took = time.perf_counter() - started
    await asyncio.sleep(REST_SECONDS)
    await forge.merge(number)
    return took


async def _bare(tree: WorkTree, forge: _Forge, tag: str) -> tuple[float, float]:
    """Seconds of the push of a commit that is there already, and of the call."""
    await git("fetch", "-q", "origin", "main", cwd=tree.path)
    await git("reset", "-q", "--hard", "FETCH_HEAD", cwd=tree.path)
    tree.commit({FILE: _pod(tag)}, f"web {tag}")
    pushed = await git("push", "-q", "origin", "HEAD:refs/heads/promote/web", cwd=tree.path)
    started = time.perf_counter()
    number = await forge.open("promote/web", f"web: web {tag}")
    called = time.perf_counter() - started
    await asyncio.sleep(REST_SECONDS)
    await forge.merge(number)
    return pushed, called


def _pod(tag: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{containers: [{{name: web, image: {IMAGE}:{tag}}}]}}\n"


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
