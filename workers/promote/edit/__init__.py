"""From the bytes of files to the bytes that must change so that they name an image; nothing else changes. Pure."""

from workers.promote.edit.editing import edited
from workers.promote.edit.model import EditError, NothingToEditError, Splice, Wanted, applied

__all__ = ["EditError", "NothingToEditError", "Splice", "Wanted", "applied", "edited"]
