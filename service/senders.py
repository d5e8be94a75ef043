"""Who may go on sending when not all can: fairness among senders of whom nobody is known yet.

What must hold: however many connections are idle or slow, one that sends is read. Each sender has a *lag*: the seconds that
it is behind the slowest pace that we accept. Nobody minds a lag while there is room; where room is short, who lags most
gives way at once, first of all where one address has most of it. There is no fixed share of an address: behind a proxy all
senders have the same one, and then the lag alone decides.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter

FIRST_SECONDS = 1.0
"""For the first byte of a body."""
PATIENCE_SECONDS = 5.0
"""The lag at which a sender is given up, though there is room."""
PRESSED_SECONDS = 2.0
"""The lag at which a sender gives way to one that waits for room."""
SLOWEST = 512 * 1024
"""Bytes a second: the pace below which a lag grows."""
LOOK_SECONDS = 0.1
"""Between two looks of one that waits at those who hold the room."""
TURN_SECONDS = 30.0
"""For a large body's turn to come. Forges give up after 10 s and send again."""


class Refused(Exception):  # noqa: N818  (it is the answer, and not always an error of ours)
    """The request is answered with ``status`` and its body is not read any further."""

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after


class Sender:
    """One body on its way in. Used as a context that ends with `Refused` when its sender is too slow, or has to give way."""

    def __init__(self, peer: str | None) -> None:
        self.peer, self.received = _network(peer), 0
        self._paid = _now()  # up to this moment it has kept the pace
        self._limit = asyncio.timeout_at(self._paid + FIRST_SECONDS)
        self._why = Refused(408, f"nothing of the body came within {FIRST_SECONDS:g} s")
        self._waits = self._cut = False

    @property
    def lag(self) -> float:
        """Seconds behind the slowest pace; none while it waits for us."""
        return 0.0 if self._waits else _now() - self._paid

    def heard(self, size: int) -> None:
        """``size`` bytes came. They pay for the time that they take at the slowest pace, never for what comes later."""
        self.received += size
        self._paid = min(_now(), self._paid + size / SLOWEST)
        if not self._waits:
            why = Refused(408, f"the body comes at less than {SLOWEST >> 10} KiB a second")
            self._until(self._paid + PATIENCE_SECONDS, why)

    def waits(self) -> None:
        """It is our turn, not its: time does not count."""
        self._waits = True
        self._until(_now() + TURN_SECONDS, Refused(503, "too many large deliveries at once", retry_after=5))

    def goes_on(self) -> None:
        """It may send again: time counts from now."""
        self._waits, self._paid = False, _now()
        self.heard(0)

    def give_way(self) -> None:
        """End it, for others who do send."""
        self._until(_now(), Refused(503, "others who send faster need the room", retry_after=1))
        self._cut = True

    async def __aenter__(self) -> Sender:
        await self._limit.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)  # type: ignore[arg-type]
        except TimeoutError:
            raise self._why from None

    def _until(self, when: float, why: Refused) -> None:
        if not self._cut and not self._limit.expired():
            self._limit.reschedule(when)
            self._why = why


class Crowd:
    """Everybody whose body is on its way in: ``size`` at most. One more is let in, and another gives way."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._senders: set[Sender] = set()

    def enter(self, sender: Sender) -> None:
        """Let it in."""
        if len(self._senders) >= self._size:
            crowded = Counter(other.peer for other in self._senders)
            slowest = max(self._senders, key=lambda other: (crowded[other.peer], not other.received, other.lag))
            self._senders.discard(slowest)
            slowest.give_way()
        self._senders.add(sender)

    def leave(self, sender: Sender) -> None:
        self._senders.discard(sender)


class Room:
    """Bytes that some bodies may hold together. Whoever holds some must keep sending while another waits for it."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._holders: dict[Sender, int] = {}
        self._waiting: dict[Sender, tuple[int, asyncio.Future[None]]] = {}

    async def take(self, sender: Sender, size: int) -> None:
        """Wait until ``size`` bytes are free, and hold them until `give_back`.

        :raises Refused: through the sender's own context: there were none in time.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[sender] = size, turn
        sender.waits()
        late: set[Sender] = set()
        try:
            self._serve()
            while not turn.done():
                before, late = late, {holder for holder in self._holders if holder.lag >= PRESSED_SECONDS}
                for holder in late & before:  # seen twice: once could be our own pause, with its bytes not read yet
                    holder.give_way()
                await asyncio.wait([turn], timeout=LOOK_SECONDS)
        finally:
            if self._waiting.pop(sender, None) is not None:
                self._serve()  # who waited behind it
        sender.goes_on()

    def give_back(self, sender: Sender) -> None:
        """Free what it holds, if anything."""
        self._free += self._holders.pop(sender, 0)
        self._serve()

    def _serve(self) -> None:
        """Give room to those who wait: to the address that holds least, then to who wants least, then to who came first."""
        while self._waiting:
            sender = self._next()
            size, turn = self._waiting[sender]
            if size > self._free:
                return
            del self._waiting[sender]
            self._free -= size
            self._holders[sender] = size
            turn.set_result(None)

    def _next(self) -> Sender:
        held = Counter(holder.peer for holder in self._holders)
        return min(self._waiting, key=lambda waiting: (held[waiting.peer], self._waiting[waiting][0]))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _network(peer: str | None) -> str:
    """Whose address it is: an IPv6 host has a whole /64 for itself."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return ""
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
