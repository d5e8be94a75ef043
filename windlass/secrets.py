"""Secret values by reference. A value is read when it is needed, and never in a message."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Protocol

from windlass.documents.base import SecretKey
from windlass.documents.types import SecretRef
from windlass.errors import TransientError

LARGEST = 1 << 20
"""Bytes. What is larger is no secret, but a mistake."""
SETTLED = 0.1
"""Seconds. A file read so shortly after it changed is read again next time: its time stamp could not show another change."""


class ClusterSecrets(Protocol):
    """What this module needs of `windlass.feed.ClusterSecrets`."""

    def resolve(self, ref: SecretKey) -> bytes: ...


class Secrets:
    """Resolves references. A file is read again when it changed, so that a rotated secret is used at once."""

    def __init__(self, clusters: ClusterSecrets | None = None) -> None:
        """``clusters``: where the Secrets are that custom resources name."""
        self._clusters = clusters
        self._files: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def resolve(self, ref: SecretRef) -> bytes:
        """The value that ``ref`` names, without the one newline (LF or CRLF) that ends a file.

        :raises TransientError: it isn't there (yet), or it is empty.
        """
        if ref.secret is not None:
            value = self._of_cluster(ref.secret)
        else:
            value = os.environb.get(ref.env.encode(), b"") if ref.env is not None else self._file(str(ref.file))
        if not value:
            raise TransientError(f"the secret {describe(ref)} is not set, or empty")
        return value

    def _of_cluster(self, ref: SecretKey) -> bytes:
        if self._clusters is None:
            raise TransientError(
                f"the secret {describe(SecretRef(secret=ref))}: this process follows no custom resources"
            )
        return _without_newline(self._clusters.resolve(ref))

    def _file(self, path: str) -> bytes:
        try:
            status = Path(path).stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise TransientError(f"the secret file {path} is not a regular file of at most {LARGEST} bytes")
            signature = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            known = self._files.get(path)
            if known is not None and known[0] == signature:
                return known[1]
            value = _without_newline(Path(path).read_bytes())
        except OSError as error:
            raise TransientError(f"the secret file {path} can't be read: {error.strerror}") from None
        now = time.time_ns()
        if not any(now - SETTLED * 1e9 < changed <= now for changed in (status.st_mtime_ns, status.st_ctime_ns)):
            self._files[path] = signature, value
        return value


def _without_newline(content: bytes) -> bytes:
    return content.removesuffix(b"\r\n") if content.endswith(b"\r\n") else content.removesuffix(b"\n")


def describe(ref: SecretRef) -> str:
    """Which secret it is, for people; never its value."""
    if ref.secret is not None:
        return f"{ref.secret.key} of the Secret {ref.secret.namespace}/{ref.secret.name}"
    return f"env {ref.env}" if ref.env is not None else f"file {ref.file}"
