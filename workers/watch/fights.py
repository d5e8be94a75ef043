"""Endless fights: another controller sets a field again whenever we have set it right. Found, slowed, and named. Pure.

Every object has `BURST` heals at once, and one more every `PACE_SECONDS`: whoever changes an object a few times is
answered at once, an endless fight gets one heal a second, for as long as it lasts and never less than that.
"""

from __future__ import annotations

from collections.abc import Sequence

BURST = 10
PACE_SECONDS = 0.9
"""One a second, and still undone within that second."""
UNKNOWN = "unknown"


class _Account:
    """The heals of one object. ``left`` counts down, and up again with time."""

    __slots__ = ("at", "left", "others")

    def __init__(self, at: float) -> None:
        self.left, self.at, self.others = float(BURST), at, ""

    def settle(self, now: float) -> None:
        self.left = min(float(BURST), self.left + max(0.0, now - self.at) / PACE_SECONDS)
        self.at = now


class Fights:
    """Who is at odds with us about which object. Times are seconds on any clock that only goes forward."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._fighting: dict[str, str] = {}

    def wait(self, key: str, now: float) -> float:
        """Seconds until the object may be healed."""
        account = self._accounts.get(key)
        if account is None:
            return 0.0
        account.settle(now)
        return 0.0 if account.left >= 1 - 1e-9 else (1 - account.left) * PACE_SECONDS

    def healing(self, key: str, now: float, others: Sequence[str]) -> bool:
        """A heal begins; ``others`` are the object's other managers, the latest first. Is this a fight that is new?"""
        account = self._accounts.get(key)
        if account is None:
            self._accounts[key] = account = _Account(now)
        account.settle(now)
        account.left = max(0.0, account.left - 1)
        if others:
            account.others = others[0]
        if account.left >= 1:
            return False
        new = key not in self._fighting
        self._fighting[key] = account.others or UNKNOWN
        return new

    def tidy(self, now: float) -> None:
        """Forget the objects that have been left alone."""
        for key, account in list(self._accounts.items()):
            account.settle(now)
            if account.left >= BURST:
                del self._accounts[key]
                self._fighting.pop(key, None)

    @property
    def going_on(self) -> dict[str, str]:
        """Object -> the manager that it is fought over with."""
        return dict(self._fighting)

    @property
    def quiet(self) -> bool:
        """Is there nothing to forget?"""
        return not self._accounts
