"""What asks for nothing and is to cost nothing: a redelivery of what is applied, and a commit that touches only other paths.

Requests are counted where they arrive: in the API server's own audit log, and in the Git server.
"""

from __future__ import annotations

import asyncio

from benchmarks.bare import BareCluster
from benchmarks.deliveries import deliver
from benchmarks.out import tell
from benchmarks.push_to_applied import config_map
from benchmarks.pushes import applied
from benchmarks.stage import stage
from tests.parts.git_http import GitHttp
from tests.parts.windlass import application, cluster, repository

SIZE = 100
ROUNDS = 20
AGENT = "windlass"
WRITES = ("create", "update", "patch", "delete", "deletecollection")


async def measure(sizes: list[int]) -> None:
    name = "noop"
    with stage("bench-noop", forge=False) as parts, GitHttp(parts.folder / "counted") as git:
        async with BareCluster(parts.kubeconfig) as bare:
            await bare.create_namespace(name)
            url, work = git.create(name), git.work_tree(name, parts.folder / "work")
            work.commit_and_push({f"manifests/cm-{i:05d}.yaml": config_map(i, "first") for i in range(SIZE)}, "first")
            windlass = parts.windlass(name)
            try:
                windlass.write(
                    repository(name, url, forge="generic"),
                    cluster("local", parts.kubeconfig),
                    application(name, repository=name, path="manifests", namespace=name),
                )
                windlass.start()
                await applied(bare, windlass, name, SIZE)
                before, served = len(parts.audited(AGENT)), git.served
                assert before, "the audit log knows Windlass by another name"
                for _ in range(ROUNDS):
                    await deliver(windlass, name, url, work.head)
                    await asyncio.sleep(0.05)
                await asyncio.sleep(1)
                requests, sent = len(parts.audited(AGENT)) - before, git.served - served
                tell("noop", of="redelivery", n=ROUNDS, api_requests=requests, git_bytes=sent)
                before = len(parts.audited(AGENT, WRITES))
                for number in range(ROUNDS):
                    await deliver(windlass, name, url, work.commit_and_push({"docs/notes.md": f"{number}\n"}))
                    await asyncio.sleep(0.05)
                await asyncio.sleep(2)
                assert await asyncio.to_thread(windlass.settled, {name: work.head}), "the last commit was not looked at"
                writes = len(parts.audited(AGENT, WRITES)) - before
                tell("noop", of="unrelated commit", n=ROUNDS, api_writes=writes)
            finally:
                windlass.stop()
