"""Deployments on GitHub: one for each commit and environment, and what became of it as its statuses.

What must hold: telling the same again makes no second deployment: it is known again by its commit, environment and task.
API: docs.github.com, "REST API endpoints for deployments" and "… for deployment statuses".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp

from windlass.documents.notification import GithubDeployments
from windlass.documents.promotion import filled
from windlass.documents.types import Repository
from windlass.errors import TransientError
from windlass.forges.pulls import Credential, Place
from windlass.forges.pulls.github import HEADERS, api_of
from windlass.forges.pulls.model import Caller
from windlass.forges.status import bearer
from windlass.queue.notices import Occurrence
from workers.notify.formats import message

STATES = {
    "started": "in_progress",
    "applied": "in_progress",
    "healthy": "success",
    "degraded": "failure",
    "failed": "failure",
}
TASK = "windlass"
LONGEST = 140
"""Characters of a description."""


async def tell(
    session: aiohttp.ClientSession,
    repository: Repository,
    spec: GithubDeployments,
    token: str,
    found: Occurrence,
    *,
    log_url: str | None,
) -> None:
    """Say what became of the commit.

    :raises PermanentError: GitHub would refuse the same again. :raises TransientError: worth trying again.
    """
    place = Place(repository.spec.url, _api(repository))
    call = Caller(session, api_of(place), {**HEADERS, **bearer(token)}, Credential(token))
    deployments = f"/repos/{place.owner}/{place.name}/deployments"
    names = {"application": found.application, "cluster": found.cluster}
    environment = filled(spec.environment, names)
    number = await _deployment(call, deployments, environment, found)
    status: dict[str, Any] = {
        "state": STATES[found.event],
        "environment": environment,
        "description": message(found)[:LONGEST],
        "auto_inactive": True,
    }
    if log_url:
        status["log_url"] = log_url
    await call("POST", f"{deployments}/{number}/statuses", status)


async def _deployment(call: Caller, deployments: str, environment: str, found: Occurrence) -> int:
    query = f"sha={found.revision}&environment={quote(environment, safe='')}&task={TASK}&per_page=1"
    known = await call.get(f"{deployments}?{query}")
    if isinstance(known, list) and known:
        return _id(known[0])
    wanted = {
        "ref": found.revision,
        "task": TASK,
        "environment": environment,
        "auto_merge": False,
        "required_contexts": [],
        "description": f"{found.application} on {found.cluster}"[:LONGEST],
        "payload": {"application": found.application, "cluster": found.cluster},
    }
    return _id((await call("POST", deployments, wanted)).value)


def _id(value: Any) -> int:
    """:raises TransientError: the answer (202, of a merge that we didn't ask for) is no deployment."""
    number = value.get("id") if isinstance(value, dict) else None
    if not isinstance(number, int):
        raise TransientError("GitHub's answer is no deployment")
    return number


def _api(repository: Repository) -> str | None:
    """Where the document says that the API is."""
    spec = repository.spec
    ways = (spec.status.api if spec.status else None, spec.pull_requests.api if spec.pull_requests else None)
    return next((way.rstrip("/") for way in ways if way), None)
