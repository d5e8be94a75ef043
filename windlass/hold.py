"""A rollback that holds: which revision an application is kept at, and why. Written on its ApplySet's parent in the cluster,
which is where it counts; Redis has a copy, for people."""

from __future__ import annotations

from typing import Literal

import msgspec


class Hold(msgspec.Struct, frozen=True, omit_defaults=True):
    """``failed`` is the commit that was left; an automatic hold ends with a commit that changes what that one held."""

    revision: str
    failed: str = ""
    by: Literal["person", "automatic"] = "person"
    why: str = ""
    since: float = 0.0  # seconds since the epoch

    @property
    def automatic(self) -> bool:
        return self.by == "automatic"

    def __str__(self) -> str:
        if self.automatic:
            return f"rolled back to {self.revision[:10]}, because {self.failed[:10]} failed: {self.why}"
        return f"held at {self.revision[:10]} until `windlass rollback APP --release`"

    def dump(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def load(cls, text: str) -> Hold | None:
        """None if there is none. What can't be read counts as none: the parent's own is looked at before it matters."""
        try:
            return msgspec.json.decode(text, type=cls) if text else None
        except ValueError:
            return None
