"""What was read lately, bounded by its bytes. In memory only: a render may hold Secrets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """The values used last, as many as fit into ``budget`` bytes; one that takes more than half of it is not kept."""

    def __init__(self, budget: int) -> None:
        self.budget, self.size = budget, 0
        self._kept: OrderedDict[K, tuple[int, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """The value, which is then the last to go."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: K, value: V, size: int) -> V:
        """Keep ``value``, which takes ``size`` bytes, and return it."""
        self.size -= self._kept.pop(key, (0, None))[0]
        if size <= self.budget // 2:
            self._kept[key] = size, value
            self.size += size
            while self.size > self.budget:
                self.size -= self._kept.popitem(last=False)[1][0]
        return value
