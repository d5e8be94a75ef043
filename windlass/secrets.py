"""Secret values by reference. A value is read when it is needed, and never in a message."""

from __future__ import annotations

import os
from pathlib import Path

from windlass.documents.types import SecretRef
from windlass.errors import TransientError


class Secrets:
    """Resolves references. A file is read again when it changed, so that a rotated secret is used at once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[int, int, int], bytes]] = {}

    def resolve(self, ref: SecretRef) -> bytes:
        """The value that ``ref`` names, without the newline that ends a file.

        :raises TransientError: it isn't there (yet), or it is empty.
        """
        value = os.environb.get(ref.env.encode(), b"") if ref.env is not None else self._file(str(ref.file))
        if not value:
            raise TransientError(f"the secret {describe(ref)} is not set, or empty")
        return value

    def _file(self, path: str) -> bytes:
        try:
            stat = Path(path).stat()
            signature = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            known = self._files.get(path)
            if known is None or known[0] != signature:
                content = Path(path).read_bytes()
                known = signature, content.removesuffix(b"\n").removesuffix(b"\r")
                self._files[path] = known
            return known[1]
        except OSError as error:
            raise TransientError(f"the secret file {path} can't be read: {error.strerror}") from None


def describe(ref: SecretRef) -> str:
    """Which secret it is, for people; never its value."""
    return f"env {ref.env}" if ref.env is not None else f"file {ref.file}"
