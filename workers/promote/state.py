"""What Redis knows of a promotion: written by who holds its lease, and sealed (`windlass.queue.seal`). All of it can be lost: the
forge holds the truth."""

from __future__ import annotations

from typing import Literal

import msgspec
from redis.asyncio import Redis

from windlass.errors import LeaseLostError
from windlass.queue import Run
from windlass.queue.promotions import Image
from windlass.queue.scripts import source as script
from windlass.queue.seal import Seal
from windlass.wire import raw

Phase = Literal["Idle", "Waiting", "Proposed", "Conflict", "Merged", "Declined", "Promoted"]
"""``Declined``: closed without a merge, which means no until a newer image. ``Promoted``: the target names it without a merge."""
DECIDED = frozenset({"Merged", "Declined", "Promoted"})


class PromotionState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Times are seconds since the epoch."""

    phase: Phase = "Idle"
    image: Image | None = None  # the newest by the policy that was looked at
    pull: int = 0  # the pull request, 0 if there is none
    url: str = ""
    branch: str = ""
    before: str = ""  # the source's commit of the image that was promoted last, where that is known
    merge: str = ""  # the commit by which the target names the image
    at: float = 0.0  # since when it is in this phase
    why: str = ""  # what it waits for, or what went wrong
    passed: float = 0.0  # since when all other gates hold, for the soak time
    warnings: tuple[str, ...] = ()  # what the forge refused of labels and people
    files: tuple[str, ...] = ()  # what the proposal edits; none are known after Redis lost its memory
    head: str = ""  # the branch's commit that was looked at last, and
    alone: bool = False  # whether it changes nothing but the image
    scheduled: bool = False  # the forge was asked to merge it by itself
    told: str = ""  # a digest of what the merged pull request was told last
    settled: bool = False  # nothing more is to be told


def key(name: str) -> str:
    return f"windlass:promotion:{name}"


class PromotionStore:
    """Reads and writes the states."""

    def __init__(self, redis: Redis, shared_key: bytes) -> None:
        self._redis, self._note = redis, redis.register_script(script("promotion"))
        self._seal = Seal(shared_key, "promotion")

    async def read(self, name: str) -> PromotionState:
        """What can't be read, or none of us wrote, counts as never written: the forge is asked."""
        sealed = await self._redis.hget(key(name), "state")
        word = self._seal.opened(name, raw(sealed)) if sealed is not None else None
        try:
            return msgspec.json.decode(word or b"{}", type=PromotionState)
        except msgspec.DecodeError:
            return PromotionState()

    async def write(self, run: Run, name: str, state: PromotionState) -> None:
        """
        :raises LeaseLostError: another worker has the promotion now.
        """
        word = self._seal.sealed(name, msgspec.json.encode(state))
        args: list[str | bytes] = [run.source, str(run.lease.token), name, word]
        if not await self._note(args=args):
            raise LeaseLostError(f"promotion {name} is somebody else's now")

    async def approved(self, name: str) -> str:
        """The identity of the image that a person approved last."""
        sealed = await self._redis.hget(key(name), "approved")
        word = self._seal.opened(f"{name} approved", raw(sealed)) if sealed is not None else None
        return (word or b"").decode()

    async def approve(self, name: str, image: Image) -> None:
        """A person says yes to this very image; the promotion must be nudged after it."""
        word = self._seal.sealed(f"{name} approved", image.identity.encode())
        await self._redis.hset(key(name), "approved", word)
