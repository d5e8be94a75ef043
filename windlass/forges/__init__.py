"""One module a forge: how it signs, what it sends, and how it is told a commit's status. A new forge is one more
module here."""

from __future__ import annotations

from typing import Final

from windlass.forges import azure, bitbucket, bitbucket_server, generic, gitea, github, gitlab
from windlass.forges.base import Forge, PayloadError

FORGES: Final[dict[str, Forge]] = {
    "github": github,
    "gitlab": gitlab,
    "gitea": gitea,
    "forgejo": gitea,
    "bitbucket": bitbucket,
    "bitbucket-server": bitbucket_server,
    "azure": azure,
    "generic": generic,
}
"""By the names that documents use."""

CASE_SENSITIVE: Final = frozenset({"generic"})
"""Forges of which we don't know that they ignore the case of a repository's path."""

__all__ = ["CASE_SENSITIVE", "FORGES", "Forge", "PayloadError", "forge"]


def forge(name: str) -> Forge:
    """The forge of this name.

    :raises KeyError: there is none; documents are validated before they get here.
    """
    return FORGES[name]
