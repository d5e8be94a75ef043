"""Of senders whom nobody knows, those that send are read, however many are idle: who waits for room gets it."""

from __future__ import annotations

import asyncio

import pytest

import service.senders
from service.senders import Crowd, Refused, Room, Sender

KIB = 1024


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second takes 50 ms."""
    for name in ("FIRST_SECONDS", "PATIENCE_SECONDS", "PRESSED_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(service.senders, name, getattr(service.senders, name) / 20)


class Body:
    """A sender at work: what came of it, and whether it has its room."""

    def __init__(self, peer: str, room: Room | None = None, *, size: int = 0, crowd: Crowd | None = None) -> None:
        self.sender, self.has_room = Sender(peer), asyncio.Event()
        if crowd is not None:
            crowd.enter(self.sender)
        self.task = asyncio.create_task(self._send(room, size))

    async def _send(self, room: Room | None, size: int) -> None:
        try:
            async with self.sender:
                self.sender.heard(32 * KIB)
                if room is not None:
                    await room.take(self.sender, size)
                self.has_room.set()
                await asyncio.Event().wait()
        finally:
            if room is not None:
                room.give_back(self.sender)

    async def keeps_sending(self) -> None:
        while not self.task.done():
            self.sender.heard(64 * KIB)
            await asyncio.sleep(0.005)

    async def refusal(self) -> Refused:
        with pytest.raises(Refused) as refused:
            await asyncio.wait_for(self.task, 30)
        return refused.value

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_who_sends_nothing_is_given_up() -> None:
    sender = Sender("192.0.2.1")
    with pytest.raises(Refused) as refused:
        async with sender:
            await asyncio.sleep(30)
    assert refused.value.status == 408


async def test_who_sends_too_slowly_is_given_up_even_if_it_never_pauses() -> None:
    async def trickle() -> None:
        async with Sender("192.0.2.1") as sender:
            while True:
                sender.heard(1)
                await asyncio.sleep(0.01)

    with pytest.raises(Refused) as refused:
        await asyncio.wait_for(trickle(), 30)
    assert refused.value.status == 408


async def test_a_fast_beginning_pays_for_no_later_pause() -> None:
    sender = Sender("192.0.2.1")
    async with sender:
        sender.heard(1 << 30)
        assert sender.lag < 1
        before = sender.lag
        await asyncio.sleep(0.02)
        assert sender.lag > before


async def test_room_is_taken_from_idle_holders_only_when_somebody_waits() -> None:
    room = Room(100)
    idle = Body("192.0.2.1", room, size=100)
    await asyncio.wait_for(idle.has_room.wait(), 30)
    waiting = Body("192.0.2.2", room, size=60)
    await asyncio.wait_for(waiting.has_room.wait(), 30)
    assert (await idle.refusal()).status == 503
    await waiting.end()


async def test_who_keeps_sending_keeps_its_room_and_the_other_gets_it_afterwards() -> None:
    room = Room(100)
    busy = Body("192.0.2.1", room, size=100)
    await asyncio.wait_for(busy.has_room.wait(), 30)
    sending = asyncio.create_task(busy.keeps_sending())
    waiting = Body("192.0.2.2", room, size=100)
    await asyncio.sleep(4 * service.senders.PRESSED_SECONDS)
    assert not waiting.has_room.is_set()
    assert not busy.task.done()
    await busy.end()
    await asyncio.wait_for(waiting.has_room.wait(), 30)
    await asyncio.gather(sending, waiting.end())


async def test_the_address_that_holds_least_comes_first() -> None:
    room = Room(100)
    holders = [Body("192.0.2.1", room, size=50) for _ in range(2)]
    for holder in holders:
        await asyncio.wait_for(holder.has_room.wait(), 30)
    greedy = Body("192.0.2.1", room, size=50)
    other = Body("2001:db8::1", room, size=50)
    await asyncio.sleep(0)
    await holders[0].end()
    await asyncio.wait_for(other.has_room.wait(), 30)
    assert not greedy.has_room.is_set()
    for body in (holders[1], greedy, other):
        await body.end()


async def test_of_one_address_who_wants_least_comes_first() -> None:
    room = Room(100)
    holder = Body("192.0.2.1", room, size=100)
    await asyncio.wait_for(holder.has_room.wait(), 30)
    large, little = (Body("192.0.2.1", room, size=size) for size in (80, 30))
    await asyncio.sleep(0)
    await holder.end()
    await asyncio.wait_for(little.has_room.wait(), 30)
    assert not large.has_room.is_set()
    for body in (large, little):
        await body.end()


async def test_who_leaves_the_queue_holds_up_nobody_behind_it() -> None:
    room = Room(100)
    holder = Body("192.0.2.1", room, size=50)
    sending = asyncio.create_task(holder.keeps_sending())
    await asyncio.wait_for(holder.has_room.wait(), 30)
    large, little = Body("192.0.2.2", room, size=90), Body("192.0.2.1", room, size=50)
    await asyncio.sleep(0.01)
    assert not little.has_room.is_set()
    await large.end()
    await asyncio.wait_for(little.has_room.wait(), 30)
    await asyncio.gather(holder.end(), little.end(), sending)


async def test_everything_is_given_back() -> None:
    room = Room(100)
    for _ in range(3):
        bodies = [Body(f"192.0.2.{n}", room, size=60) for n in range(5)]
        await asyncio.sleep(0.001)
        for body in bodies:
            await body.end()
    last = Body("192.0.2.9", room, size=100)
    await asyncio.wait_for(last.has_room.wait(), 30)
    await last.end()


async def test_in_a_full_crowd_the_idlest_of_the_most_crowded_address_gives_way() -> None:
    crowd = Crowd(3)
    lonely = Body("192.0.2.1", crowd=crowd)
    await asyncio.sleep(0.01)
    idle = Body("2001:db8::1", crowd=crowd)
    await asyncio.sleep(0.01)
    busy = Body("2001:db8::2", crowd=crowd)  # the same /64: one host may have all of it
    await asyncio.sleep(0.01)
    newest = Body("192.0.2.3", crowd=crowd)
    assert (await idle.refusal()).status == 503
    assert not any(body.task.done() for body in (lonely, busy, newest))
    for body in (lonely, busy, newest):
        await body.end()
