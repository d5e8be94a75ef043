"""Git from asyncio: one protocol-v2 request on a warm connection into a bare store, with slower ways for all that is
unusual."""

from workers.aiogit.model import Change, Fetched, Limits, Remote
from workers.aiogit.repository import GitRepository

__all__ = ["Change", "Fetched", "GitRepository", "Limits", "Remote"]
