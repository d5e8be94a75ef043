"""`make demo`: both ways of delivery, on real parts, told step by step.

A control plane, a forge, an image registry, Redis and Windlass are started; a web shop's manifests are pushed; its code is built
and goes to the cluster by pull request, and by push; then a change, then a deletion. With
ONCE=1, or without a terminal, it ends after the story, with 0 only if all of it came true. Everything it started ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from examples import pipelines
from examples.story import Story
from tests.parts import builder
from tests.parts.cluster import Cluster
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, PASSWORD, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.registry import Registry
from tests.parts.windlass import Dashboard, Windlass, application, cluster, repository

SHOP = Path(__file__).parent / "shop" / "manifests"
NAME, NAMESPACE = pipelines.MANIFESTS, "shop"
CI_TOKEN = "what CI says to be believed"  # noqa: S105 - of a demo that is gone with its end


def main() -> int:
    once = os.environ.get("ONCE") == "1" or not sys.stdout.isatty()
    signal.signal(signal.SIGTERM, _interrupted)
    story = Story()
    try:
        with _parts(story) as (plane, forge, registry, windlass, dashboard):
            _tell(story, plane, forge, registry, windlass)
            _links(story, plane, forge, windlass, dashboard, once=once)
            if story.failures:
                story.say("\nThe end of Windlass's log:\n" + windlass.log()[-3000:])
            if not once:
                story.say("\nIt all runs until you press Ctrl-C.")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    except KeyboardInterrupt:
        story.say("\ninterrupted")
        return 130
    story.say("\nEverything that was started has ended.")
    if story.failures:
        story.say(f"{len(story.failures)} of the story's claims did not come true: {'; '.join(story.failures)}")
        return 1
    return 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _parts(story: Story) -> Iterator[tuple[Cluster, Gitea, Registry, Windlass, Dashboard]]:
    story.step("Starting the parts (built on first use, which takes minutes; afterwards seconds)")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="windlass-demo-")))
        folder.chmod(0o755)
        plane = stack.enter_context(Cluster(folder / "control-plane", os.environ.get("KUBECONFIG"), nodes=3))
        story.say(f"  Kubernetes  {plane.server}" + ("" if plane.owned else "  (yours, by KUBECONFIG)"))
        forge = stack.enter_context(Gitea(folder / "gitea"))
        story.say(f"  Gitea       {forge.url}")
        registry = stack.enter_context(Registry(folder / "registry"))
        story.say(f"  Registry    {registry.url}")
        redis = stack.enter_context(RedisServer(folder))
        windlass = Windlass(
            folder / "windlass",
            redis.url,
            SHOP_TOKEN=forge.token,
            CI_TOKEN=CI_TOKEN,
            WINDLASS_IMAGE_TOKEN=CI_TOKEN,
            **builder.environment(folder / "builder"),
        )
        windlass.environment["WINDLASS_SERVICE"] = windlass.url
        remote = forge.create_repository(NAME, private=True)
        token = {"token": {"env": "SHOP_TOKEN"}}
        windlass.write(
            repository(NAME, remote.clone_url, credentials=token, status=token, pullRequests=token),
            cluster("production", plane.kubeconfig),
            application(NAME, repository=NAME, path="manifests", cluster="production", namespace=NAMESPACE),
            *pipelines.documents(registry, "production"),
        )
        stack.enter_context(windlass)
        dashboard = stack.enter_context(Dashboard(windlass))
        story.say(f"  Windlass    {windlass.url}  (service and worker, Redis at {redis.url})")
        forge.create_webhook(NAME, f"{windlass.url}/webhooks/{NAME}", windlass.secret)
        yield plane, forge, registry, windlass, dashboard
        if not plane.owned:
            windlass.run("delete", NAME, "--yes")
            windlass.run("delete", pipelines.PUSHED, "--yes")


def _tell(story: Story, plane: Cluster, forge: Gitea, registry: Registry, windlass: Windlass) -> None:
    remote = f"{forge.url}/{ADMIN}/{NAME}.git".replace("://", f"://{ADMIN}:{PASSWORD}@")
    work = WorkTree(windlass.folder / "work", remote)

    story.step("1. The web shop's manifests are pushed")
    files: dict[str, str | None] = {f"manifests/{file.name}": _here(file, registry) for file in sorted(SHOP.iterdir())}
    files |= pipelines.staging(_here(SHOP / "web.yaml", registry))
    commit = _push(story, work, windlass, files, "The web shop", ready=lambda: _ready(plane) == 3)
    story.check("3 Deployments have all their pods ready", _ready(plane) == 3)
    story.check("commit status: " + _status(story, forge, commit), _status(story, forge, commit).startswith("success"))

    pipelines.Pipelines(story, windlass.folder, plane, forge, registry, windlass).tell(work)

    story.step("4. A change: the catalog's greeting, and one more web server")
    config = (work.path / "manifests/config.yaml").read_text().replace("Welcome to", "Ahoy from")
    web = (work.path / "manifests/web.yaml").read_text().replace("replicas: 2", "replicas: 3")
    change: dict[str, str | None] = {"manifests/config.yaml": config, "manifests/web.yaml": web}
    _push(story, work, windlass, change, "Ahoy", ready=lambda: _replicas(plane, "web") == 3)
    found = plane.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/catalog") or {}
    story.check(f"ConfigMap catalog says {found.get('data', {}).get('greeting')!r}", "Ahoy" in str(found.get("data")))
    story.check("Deployment web has 3 ready pods", _replicas(plane, "web") == 3)
    story.check("only what changed was written", windlass.last_run(NAME).applied == 2)

    story.step("5. A deletion: the summer banner's file is removed")
    _push(story, work, windlass, {"manifests/banner.yaml": None}, "Summer is over")
    gone = story.until(lambda: plane.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/summer-banner") is None)
    story.check("ConfigMap summer-banner is gone", gone is not None)
    story.check("nothing else was deleted", windlass.last_run(NAME).pruned == 1 and _ready(plane) == 3)

    story.step("What `windlass status` says now")
    for line in windlass.run("status").stdout.splitlines():
        story.say(f"  {line}")


def _here(file: Path, registry: Registry) -> str:
    """The manifest, with the images of our own registry."""
    return file.read_text().replace("registry.example/", f"{registry.host}/")


def _push(
    story: Story,
    work: WorkTree,
    windlass: Windlass,
    files: dict[str, str | None],
    message: str,
    ready: Callable[[], bool] | None = None,
) -> str:
    """Push, and print the commit's way: how long each leg took, and what the last one was made of."""
    commit = work.commit(files, message)
    work.push()
    pushed = time.time()
    if story.until(lambda: windlass.revision(NAME) == commit) is None:
        story.check(f"{commit[:10]} applied", False)
        return commit
    run = windlass.last_run(NAME)
    applied = run.started + run.durations["total"] / 1000
    points = (
        {"received": run.received} if run.received else {}
    )  # without: a look at the forge was quicker than its webhook
    points |= {"fetched": run.started, "applied": applied}
    (first, since), *_ = points.items()
    if ready is not None and story.until(ready) is not None:
        points["pods ready"] = time.time()
    way, last = "pushed", pushed
    for name, at in points.items():
        way, last = f"{way} ─{max(at - last, 0) * 1000:.0f} ms→ {name}", at
    story.say(f"  {commit[:10]}  {way}")
    steps = {step: run.durations[step] for step in ("render", "plan", "apply", "prune") if step in run.durations}
    told = ", ".join(f"{step} {took:.0f}" for step, took in steps.items())
    story.say(f"              {first} to applied: {(applied - since) * 1000:.0f} ms (of it: {told} ms)")
    story.check(f"{run.applied} applied, {run.pruned} pruned, phase {run.phase}", run.phase == "Synced")
    return commit


def _ready(plane: Cluster) -> int:
    found: dict[str, Any] = plane.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments") or {}
    return sum(
        1 for item in found.get("items", ()) if item["status"].get("readyReplicas", 0) >= item["spec"]["replicas"]
    )


def _replicas(plane: Cluster, name: str) -> int:
    found: dict[str, Any] = plane.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}") or {}
    return int(found.get("status", {}).get("readyReplicas", 0))


def _status(story: Story, forge: Gitea, commit: str) -> str:
    def newest() -> dict[str, Any]:
        found = forge.statuses(NAME, commit)
        return found[0] if found else {}

    story.until(lambda: newest().get("status") in ("success", "failure", "error"), 10)
    return f"{newest().get('status')}: {newest().get('description')}"


def _links(story: Story, plane: Cluster, forge: Gitea, windlass: Windlass, dashboard: Dashboard, *, once: bool) -> None:
    story.step("Look around" + (" (without ONCE=1, in a terminal, it would all go on running)" if once else ""))
    story.say(f"  Gitea         {forge.url}/{ADMIN}/{NAME}  ({ADMIN} / {PASSWORD})")
    story.say(f"  rq-dashboard  {dashboard.url}")
    story.say(f"  kubectl       export KUBECONFIG={plane.kubeconfig}")
    variables = " ".join(f"{name}={windlass.environment[name]}" for name in ("REDIS_URL", "WINDLASS_DOCUMENTS"))
    story.say(f"  windlass      export {variables}; {Path(sys.executable).parent / 'windlass'} history {NAME}")
    story.say(
        f"  push          git clone http://{ADMIN}:{PASSWORD}@{forge.url.removeprefix('http://')}/{ADMIN}/{NAME}.git"
    )


if __name__ == "__main__":
    sys.exit(main())
