"""Push mode: what an application's sources hold, with other images in their places, applied now. Git is not told.

The same plan, writes, ownership and guards as of any run; what is wanted differs from Git only in the fields that name the image.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from windlass.documents import ordering
from windlass.documents.types import Application
from windlass.errors import PermanentError
from windlass.images import ImageReference, parse_image
from windlass.state import read_state
from workers.application import ApplicationRun, Outcome
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.desired import Instead, Output, SourceAt, desired, everything
from workers.health import Status, diagnose, examine, has_health
from workers.ignore import IgnoreRules
from workers.kube.keys import ObjectKey
from workers.render.plain import Manifest
from workers.rendering import render

CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
LOOK_SECONDS = 0.5
MOST_NAMED = 20


class Waits(NamedTuple):
    """An object that isn't healthy yet."""

    key: ObjectKey
    why: str
    failed: bool


async def with_images(
    context: Context,
    access: ClusterAccess,
    application: Application,
    sources: Sequence[SourceAt],
    replacing: Sequence[str],
) -> Instead:
    """What the sources hold, with each image of ``replacing`` wherever a container has another tag or digest of it.

    :raises PermanentError: one is no reference, or no container has it; or a source holds nothing, or can't be read whole.
    """
    wanted = {reference.name: text for text in replacing for reference in [_reference(text)]}
    found = await desired(
        sources,
        lambda at: render(context, access, application, at),
        everything,
        context.secret_key,
        IgnoreRules.of(application),
    )
    if found.rendered.errors:
        raise PermanentError(f"{len(found.rendered.errors)} files can't be read: {found.rendered.errors[0]}")
    manifests, random, seen = list[Manifest](), dict[int, Any](), set[str]()
    for place, sketch in enumerate(found.rendered.wanted):
        manifest = found.manifests.manifest(sketch)
        names = list(images(manifest.body))
        seen.update(names)
        if any(_name(text) in wanted for text in names):
            manifest = manifest._replace(body=replaced(manifest.body, lambda text: wanted.get(_name(text), text)))
        manifests.append(manifest)
        if sketch.random:
            random[place] = sketch.random
    if not manifests:
        raise PermanentError(f"{application.name} has no objects in {sources[0].source.path or '/'}")
    for name in wanted.keys() - {_name(text) for text in seen}:
        shown = ", ".join(sorted(seen)[:MOST_NAMED]) or "none"
        raise PermanentError(f"no container of {application.name} has the image {name}; they have {shown}")
    output, first = Output(manifests, {}, found.warnings, random), sources[0].source

    async def rendering(at: SourceAt) -> Output:
        return output if at.source == first else Output((), {}, (), {})

    return Instead(sources, rendering)


def _reference(text: str) -> ImageReference:
    """
    :raises PermanentError: it is none, or names no image in particular.
    """
    found = parse_image(text)
    if found is None or not (found.tag or found.digest):
        raise PermanentError(
            f"{text}: expected an image with a tag or a digest, such as registry.example/shop/web:1.2.3"
        )
    return found


def images(value: Any) -> Iterator[str]:
    """The images of all containers in an object, however deep."""
    if isinstance(value, dict):
        for name, child in value.items():
            if name in CONTAINERS and isinstance(child, list):
                yield from (c["image"] for c in child if isinstance(c, dict) and isinstance(c.get("image"), str))
            yield from images(child)
    elif isinstance(value, list):
        for child in value:
            yield from images(child)


def replaced(value: Any, image: Callable[[str], str], *, containers: bool = False) -> Any:
    """The same object with ``image`` of each container's image."""
    if isinstance(value, list):
        return [replaced(child, image, containers=containers) for child in value]
    if not isinstance(value, dict):
        return value
    return {
        name: image(child)
        if containers and name == "image" and isinstance(child, str)
        else replaced(child, image, containers=name in CONTAINERS)
        for name, child in value.items()
    }


def _name(text: str) -> str:
    reference = parse_image(text)
    return reference.name if reference is not None else ""


async def deploy(context: Context, application: Application, instead: Instead, event: str) -> Outcome:
    """Apply it, as far as one run gets; the next one (`Outcome.retry_in`) goes on."""
    lease = await context.leases.acquire("application", application.name)
    try:
        run = ApplicationRun(
            context,
            application,
            commit=instead.sources[0].commit,
            trigger="",
            sources=lambda: _given(instead),
            goes_first=lambda _: False,
            event=event,
            received=None,
            lease=lease,
            state=await read_state(context.redis, application.name),
            instead=instead,
        )
        return await run.alone()
    finally:
        await lease.release()


async def _given(instead: Instead) -> Sequence[SourceAt]:
    return instead.sources


class Rollout:
    """The health of what was deployed, until all of it is healthy or one object has failed."""

    def __init__(self, context: Context, access: ClusterAccess, application: Application, instead: Instead) -> None:
        self._context, self._access, self._application, self._instead = context, access, application, instead
        self._rules = context.health_rules(application)

    async def follow(self, tell: Callable[[Mapping[ObjectKey, str]], None]) -> list[Waits]:
        """Wait for `spec.sync.timeout` at most. ``tell`` hears what is waited for whenever that changes; the answer is what
        isn't healthy in the end."""
        limit = ordering.timeout(self._application.spec.sync.timeout)
        deadline, told = time.monotonic() + limit, None
        keys = await self._keys()
        while True:
            waits = [one for one in await asyncio.gather(*map(self._look, keys)) if one is not None]
            state = {one.key: one.why for one in waits}
            if state != told:
                tell(state)
                told = state
            if not waits or any(one.failed for one in waits) or time.monotonic() > deadline:
                return waits
            await asyncio.sleep(LOOK_SECONDS)

    async def _keys(self) -> list[ObjectKey]:
        output = await self._instead.rendering(self._instead.sources[0])
        assert output is not None
        namespace, found = self._application.spec.destination.namespace, []
        for manifest in output.manifests:
            resource = await self._access.discovery.resource(manifest.api_version, manifest.kind)
            key = ObjectKey.of(manifest.body)
            if resource is not None and resource.namespaced and not key.namespace:
                key = key._replace(namespace=namespace or "")
            if has_health(key.group, key.kind, self._rules):
                found.append(key)
        return found

    async def _look(self, key: ObjectKey) -> Waits | None:
        async with self._access.limiter:
            obj = await self._access.read(key)
        if obj is None:
            return Waits(key, "it isn't there", False)
        health = await examine(obj, self._rules)
        if health.status is Status.CURRENT:
            return None
        failed = health.status is Status.FAILED
        why = (await diagnose(self._access.client, obj) if failed else "") or health.message or health.reason
        return Waits(key, why, failed)
