"""One module a forge: how it signs, what it sends, and how it is told a commit's status. A new forge is one more
module here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from windlass.forges import azure, bitbucket, bitbucket_server, generic, gitea, github, gitlab
from windlass.forges.address import Address, repository_address
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

OTHER_URLS: Final[dict[str, Callable[[str], tuple[str, ...]]]] = {
    "azure": azure.other_urls,
    "bitbucket-server": bitbucket_server.other_urls,
}
"""Forges by whose payloads one repository has addresses that its URL doesn't show."""

__all__ = ["FORGES", "Forge", "PayloadError", "addresses", "all_addresses", "forge"]


def forge(name: str) -> Forge:
    """The forge of this name.

    :raises KeyError: there is none; documents are validated before they get here.
    """
    return FORGES[name]


def addresses(name: str, urls: Iterable[str]) -> set[Address]:
    """The comparable addresses of ``urls``, by the rules of the forge of this name; what is no address is left out."""
    found = (repository_address(url, fold_case=name not in CASE_SENSITIVE) for url in urls)
    return {address for address in found if address is not None}


def all_addresses(name: str, url: str) -> set[Address]:
    """Every address by which that forge's payloads may name the repository at ``url``."""
    others = OTHER_URLS[name](url) if name in OTHER_URLS else ()
    return addresses(name, (url, *others))
