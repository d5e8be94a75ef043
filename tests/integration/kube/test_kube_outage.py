"""The API server is killed in the middle of an apply, and comes back: the same client goes on, and nothing is half done."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from tests.parts.control_plane import ControlPlane
from workers.kube.errors import UnreachableError

from .conftest import Harness

OBJECTS = 200


async def answers_again(kube: Harness) -> None:
    """Wait until the client has found the server back: nobody who asks is kept waiting for that."""
    async with asyncio.timeout(30):
        while True:
            try:
                await kube.client.request("GET", "/version")
            except UnreachableError:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.skipif("WINDLASS_TEST_KUBECONFIG" in os.environ, reason="the cluster is not ours to kill")
async def test_an_outage_ends_the_run_at_once_and_the_next_one_completes_it(
    kube: Harness, control_plane: ControlPlane
) -> None:
    applier, resource = kube.applier("web"), await kube.resource(kube.config_map())
    bodies = [kube.config_map(f"x{number}", a="1") for number in range(OBJECTS)]
    applied = 0

    async def apply_all() -> None:
        nonlocal applied
        async with asyncio.TaskGroup() as group:
            for body in bodies:
                group.create_task(apply(body))

    async def apply(body: dict[str, object]) -> None:
        nonlocal applied
        async with kube.client.limiter:
            await applier.apply(resource, body, digest="h", deadline=lambda: 5.0)
        applied += 1
        if applied == 50:
            await asyncio.to_thread(control_plane.stop_apiserver)

    started = time.monotonic()
    try:
        with pytest.raises(ExceptionGroup) as caught:
            await apply_all()
        assert caught.group_contains(UnreachableError)
        assert time.monotonic() - started < 10
        with pytest.raises(UnreachableError):
            await kube.live(bodies[0])
    finally:
        control_plane.start_apiserver()
    await answers_again(kube)
    await apply_all()
    for body in (bodies[0], bodies[-1]):
        assert (await kube.live(body))["data"] == {"a": "1"}
    listed = await kube.client.request("GET", f"/api/v1/namespaces/{kube.namespace}/configmaps")
    names = {item["metadata"]["name"] for item in listed.json()["items"]}
    assert names >= {body["metadata"]["name"] for body in bodies}
