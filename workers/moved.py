"""An application whose document names another cluster than before: what it has on the former one stays there, and that is said.

It may be a move, and then somebody deletes there when the new one serves; or a mistake, and then nothing was lost. So nothing
is pruned there, and `windlass status` says how many objects are left until `windlass delete APP --cluster FORMER` has them.
(Argo CD and Flux leave them too, and say nothing.) Another namespace of the same cluster is no move: what is in the former one
is pruned by the usual rules. Nor is another namespace of Windlass' own: the objects come over to the parent there.
"""

from __future__ import annotations

import msgspec
import structlog
from redis.asyncio import Redis

from windlass.queue import Lease, SourceQueue
from windlass.state import ApplicationState, application_key, objects_key, read_state
from windlass.wire import text

log = structlog.get_logger(__name__)


async def note_move(redis: Redis, queue: SourceQueue, lease: Lease, state: ApplicationState, cluster: str) -> None:
    """Note what is left where ``state`` was before, if that isn't ``cluster``: what Redis knows of objects is about that one.

    :raises LeaseLostError: another worker has the application now.
    """
    left = {name: count for name, count in state.left.items() if name != cluster}
    moved = state.cluster not in ("", cluster)
    if moved and state.objects:
        left[state.cluster] = state.objects
    if not moved and left == state.left:
        return
    forget = [text(raw) for raw in await redis.hkeys(objects_key(state.name))] if moved else []
    fields = {"cluster": cluster, "left": dump(left)}
    await queue.record(lease, state.name, state=fields, drop_objects=forget)
    log.warning("application.moved", application=state.name, cluster=cluster, left=left)
    state.cluster, state.left = cluster, left


async def note_deleted(redis: Redis, application: str, cluster: str, kept: int) -> None:
    """What ``application`` had left on ``cluster`` was deleted, but for what asked to be ``kept``. Called under its lease."""
    left = (await read_state(redis, application)).left
    left.pop(cluster, None)
    if kept:
        left[cluster] = kept
    await redis.hset(application_key(application), "left", dump(left))


def dump(left: dict[str, int]) -> str:
    return msgspec.json.encode(left).decode()
