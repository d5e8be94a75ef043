"""GitHub, also Enterprise Server. Merging when checks pass is GitHub's auto-merge (GraphQL) where the repository allows it;
where it doesn't, or nothing is waited for, the pull request is merged once GitHub calls it clean.

API: docs.github.com, "REST API endpoints for pull requests"; "enablePullRequestAutoMerge" of its GraphQL API.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp

from windlass.forges.calls import RefusedError
from windlass.forges.pulls.model import (
    Caller,
    Credential,
    Merged,
    Method,
    Place,
    PullRequest,
    Said,
    Wanted,
    differ,
    named,
    newest,
    say_once,
    tried,
)
from windlass.forges.status import bearer

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
READY = frozenset({"clean", "has_hooks"})
NO_AUTO_MERGE = """mutation($pull: ID!) {
  disablePullRequestAutoMerge(input: {pullRequestId: $pull}) {
    clientMutationId
  }
}"""
AUTO_MERGE = """mutation($pull: ID!, $method: PullRequestMergeMethod!, $head: GitObjectID!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $pull, mergeMethod: $method, expectedHeadOid: $head}) {
    clientMutationId
  }
}"""


def api_of(place: Place) -> str:
    usual = "https://api.github.com" if place.address.host == "github.com" else f"{place.origin}/api/v3"
    return place.api or usual


class Github:
    def __init__(self, session: aiohttp.ClientSession, place: Place, credential: Credential) -> None:
        api = api_of(place)
        self._call = Caller(session, api, {**HEADERS, **bearer(credential.token)}, credential)
        self._repository, self._owner = f"/repos/{place.owner}/{place.name}", place.owner
        self._graphql = f"{api.removesuffix('/v3')}/graphql"

    async def open(self) -> list[PullRequest]:
        return [_pull(value) for value in await self._call.pages(f"{self._repository}/pulls?state=open")]

    async def find(self, head: str, base: str) -> PullRequest | None:
        query = f"head={self._owner}:{quote(head, safe='')}&base={quote(base, safe='')}"
        for state in ("open", "closed"):
            path = f"{self._repository}/pulls?{query}&state={state}&sort=updated&direction=desc&per_page=10"
            if found := newest(map(_pull, await self._call.get(path) or [])):
                return found
        return None

    async def get(self, number: int) -> PullRequest:
        return _pull(await self._call.get(f"{self._repository}/pulls/{number}"))

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        body = {"title": wanted.title, "body": wanted.body, "head": wanted.head, "base": wanted.base}
        made = _pull((await self._call("POST", f"{self._repository}/pulls", body)).value)
        pulls, issues = f"{self._repository}/pulls/{made.number}", f"{self._repository}/issues/{made.number}"
        refused = []
        if wanted.labels:
            step = partial(self._call, "POST", f"{issues}/labels", {"labels": list(wanted.labels)})
            refused += await tried([("labels", step)])
        for name in wanted.reviewers:
            asked = {"team_reviewers": [name[5:]]} if name.startswith("team:") else {"reviewers": [name]}
            step = partial(self._call, "POST", f"{pulls}/requested_reviewers", asked)
            refused += await tried([(f"reviewer {name}", step)])
        if wanted.assignees:
            step = partial(self._call, "POST", f"{issues}/assignees", {"assignees": list(wanted.assignees)})
            refused += await tried([("assignees", step)])
        return made, refused

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        await self._call("PATCH", f"{self._repository}/pulls/{pull.number}", {"title": title, "body": body})

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        sign = self._call.hidden(marker, pull)
        comments = f"{self._repository}/issues/{pull.number}/comments"
        body = {"body": f"{text}\n\n{sign}"}
        change = partial(self._call, "PATCH", body=body)
        there = [
            Said(named(value, "body"), partial(change, path=f"{self._repository}/issues/comments/{value['id']}"))
            for value in await self._call.pages(comments)
        ]
        await say_once(there, sign, body["body"], partial(self._call, "POST", comments, body))

    async def close(self, pull: PullRequest) -> None:
        await self._call("PATCH", f"{self._repository}/pulls/{pull.number}", {"state": "closed"})

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        value = await self._call.get(f"{self._repository}/pulls/{pull.number}")
        if value.get("auto_merge"):
            return "scheduled"
        if named(value, "mergeable_state") in READY:
            body = {"merge_method": method, "sha": pull.commit}
            path = f"{self._repository}/pulls/{pull.number}/merge"
            return "merged" if (await self._call("PUT", path, body, expected=(405, 409))).status == 200 else "waiting"
        variables = {"pull": value.get("node_id"), "method": method.upper(), "head": pull.commit}
        answer = await self._call("POST", self._graphql, {"query": AUTO_MERGE, "variables": variables})
        refused = isinstance(answer.value, dict) and answer.value.get("errors")
        return "waiting" if refused else "scheduled"

    async def unschedule(self, pull: PullRequest) -> None:
        value = await self._call.get(f"{self._repository}/pulls/{pull.number}")
        if value.get("auto_merge"):
            body = {"query": NO_AUTO_MERGE, "variables": {"pull": value.get("node_id")}}
            await self._call("POST", self._graphql, body)


def _pull(value: Any) -> PullRequest:
    if not isinstance(value, dict) or "number" not in value:
        raise RefusedError("the forge's answer is no pull request", status=0, reason="")
    merged = bool(value.get("merged_at") or value.get("merged"))
    return PullRequest(
        number=value["number"],
        url=named(value, "html_url"),
        state="merged" if merged else "open" if value.get("state") == "open" else "closed",
        head=named(value, "head", "ref"),
        base=named(value, "base", "ref"),
        title=named(value, "title"),
        body=named(value, "body"),
        commit=named(value, "head", "sha"),
        fork=differ(value, ("head", "repo", "id"), ("base", "repo", "id")),
        conflicts=value.get("mergeable") is False,
        merge=named(value, "merge_commit_sha") if merged else "",
    )
