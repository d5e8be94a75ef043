"""Pull requests on every forge, one module each: opened, changed, commented on, closed, merged when their checks pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp

from windlass.errors import PermanentError
from windlass.forges.pulls.azure import Azure
from windlass.forges.pulls.bitbucket import Bitbucket
from windlass.forges.pulls.bitbucket_server import BitbucketServer
from windlass.forges.pulls.gitea import Gitea
from windlass.forges.pulls.github import Github
from windlass.forges.pulls.gitlab import Gitlab
from windlass.forges.pulls.model import (
    Credential,
    Merged,
    Method,
    Place,
    PullRequest,
    PullRequests,
    Wanted,
    hidden,
)

FORGES: Final[dict[str, Callable[[aiohttp.ClientSession, Place, Credential], PullRequests]]] = {
    "github": Github,
    "gitlab": Gitlab,
    "gitea": Gitea,
    "forgejo": Gitea,
    "bitbucket": Bitbucket,
    "bitbucket-server": BitbucketServer,
    "azure": Azure,
}
"""By the names that documents use; ``generic`` has none."""

__all__ = [
    "Credential",
    "Merged",
    "Method",
    "Place",
    "PullRequest",
    "PullRequests",
    "Wanted",
    "hidden",
    "pull_requests",
]


def pull_requests(session: aiohttp.ClientSession, forge: str, place: Place, credential: Credential) -> PullRequests:
    """The pull requests of the repository at ``place``.

    :raises PermanentError: this forge has none.
    """
    made = FORGES.get(forge)
    if made is None:
        raise PermanentError(f"forge {forge} has no pull requests")
    return made(session, place, credential)
