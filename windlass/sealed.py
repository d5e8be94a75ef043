"""Bytes kept where others may read and write (Redis): encrypted, and authenticated together with what they are.

AES-256-GCM (NIST SP 800-38D) by the `cryptography` library. What is sealed says with which key and as what; whoever changes,
cuts, or puts it in another's place is found out when it is opened.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import NamedTuple

from windlass.errors import PermanentError

FORMAT = b"w1"
KEY_ID = 8
"""Bytes that name a key, of a digest of it."""
NONCE = 12
"""Random for each seal: safe for 2^32 seals with one key."""


class SealError(PermanentError):
    """What was sealed can't be opened: the key is another, or somebody changed it."""


class _Key(NamedTuple):
    id: bytes
    key: bytes


class SealingKeys:
    """The first key seals, all of them open: a new key is put before the old ones until nothing is sealed by them."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ValueError("no key")
        self._keys = [_derived(secret) for secret in secrets]

    def seal(self, plain: bytes, what: bytes) -> bytes:
        """``plain``, sealed as ``what``: only who asks for just that can open it."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        first, nonce = self._keys[0], os.urandom(NONCE)
        return FORMAT + first.id + nonce + AESGCM(first.key).encrypt(nonce, plain, FORMAT + first.id + what)

    def open(self, sealed: bytes, what: bytes) -> bytes:
        """What was sealed as ``what``.

        :raises SealError: it was not sealed so by one of these keys.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        start = len(FORMAT) + KEY_ID
        if len(sealed) < start + NONCE or not sealed.startswith(FORMAT):
            raise SealError("is not in the form of a sealed set")
        key = next((key for key in self._keys if hmac.compare_digest(key.id, sealed[len(FORMAT) : start])), None)
        if key is None:
            raise SealError("was sealed by a key that is not among WINDLASS_KEEP_KEY's")
        nonce, cipher = sealed[start : start + NONCE], sealed[start + NONCE :]
        try:
            return AESGCM(key.key).decrypt(nonce, cipher, FORMAT + key.id + what)
        except InvalidTag:
            raise SealError("was changed, or is another application's or revision's") from None


def _derived(secret: bytes) -> _Key:
    """Two keys out of one secret (HMAC-SHA256 with a label each): what names it tells nothing of what encrypts."""
    key, name = (hmac.digest(secret, label, hashlib.sha256) for label in (b"windlass kept sets 1", b"its name"))
    return _Key(name[:KEY_ID], key)
