"""The one place where a request is compared with a secret. Always `hmac.compare_digest`, always every secret.

What must hold: the raw bytes are judged, before anything parses them; the time taken tells neither a secret nor which
one matched; an empty secret (an unset variable, an empty file) never verifies anything; sha256 or nothing, never
sha1.
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Mapping, Sequence

Headers = Mapping[str, str]
"""Looked up by the canonical name; the service passes a mapping that ignores case."""


def equal(left: bytes, right: bytes) -> bool:
    """Constant-time equality."""
    return hmac.compare_digest(left, right)


def same_secret(given: bytes, secrets: Sequence[bytes]) -> bool:
    """Is ``given`` one of the secrets, for vendors that send the secret itself?"""
    verified = False
    for secret in secrets:
        verified |= equal(given, secret) and secret != b""
    return verified


def signed(digest: bytes | None, body: bytes, secrets: Sequence[bytes]) -> bool:
    """Is ``digest`` the HMAC-SHA256 of ``body`` with one of the secrets? None (an unreadable signature) never is."""
    verified = False
    for secret in secrets:
        verified |= secret != b"" and digest is not None and equal(hmac.digest(secret, body, "sha256"), digest)
    return verified


def hex_digest(value: str | None, prefix: str = "") -> bytes | None:
    """The bytes of a header's hex sha256, after ``prefix``; None if the header is missing or says something else."""
    if value is None or not value.startswith(prefix):
        return None
    try:
        digest = bytes.fromhex(value[len(prefix) :])
    except ValueError:
        return None
    return digest if len(digest) == 32 else None


def base64_bytes(value: str) -> bytes | None:
    """Strictly decoded base64, or None."""
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
