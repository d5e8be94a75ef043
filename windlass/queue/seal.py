"""What one process of an installation leaves in Redis for another to act on, signed by the key that they share (WINDLASS_KEY).

What must hold: who writes Redis can take such a word away, or repeat it at its place, but make none. Git needs no seal, for a
forge is asked what is true; of an image that was published, and of what a promotion came to, only our own word is there.
"""

from __future__ import annotations

import hashlib
import hmac

_LENGTH = hashlib.sha256().digest_size * 2


class Seal:
    """Signs and believes words of one kind."""

    def __init__(self, key: bytes, kind: str) -> None:
        self._key = hmac.digest(key, f"windlass {kind} 1".encode(), hashlib.sha256)

    def sealed(self, place: str, word: bytes) -> bytes:
        """The word, as it stands at ``place`` in Redis."""
        return self._mac(place, word) + word

    def opened(self, place: str, sealed: bytes) -> bytes | None:
        """The word; None if none of us has put it there."""
        mac, word = sealed[:_LENGTH], sealed[_LENGTH:]
        return word if hmac.compare_digest(mac, self._mac(place, word)) else None

    def _mac(self, place: str, word: bytes) -> bytes:
        return hmac.new(self._key, place.encode() + b"\0" + word, hashlib.sha256).hexdigest().encode()


def approvals(key: bytes) -> Seal:
    """By which a person's approvals are believed: of a prune over its limit (placed at its application's key in Redis), and of a
    plan beside the cluster for a commit of a fork (at its pull request's); ``key`` is the installation's."""
    return Seal(key, "approval")
