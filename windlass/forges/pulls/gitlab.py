"""GitLab: merge requests. People go by id, so names are looked up first. Merging when checks pass is GitLab's own.

API: docs.gitlab.com, "Merge requests API", "Notes API", "Users API".
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp

from windlass.forges.calls import RefusedError
from windlass.forges.pulls.model import (
    PAGE,
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
)
from windlass.forges.status import bearer

FAILED = frozenset({"failed", "canceled", "canceling"})


class Gitlab:
    def __init__(self, session: aiohttp.ClientSession, place: Place, credential: Credential) -> None:
        api = place.api or f"{place.origin}/api/v4"
        self._call = Caller(session, api, bearer(credential.token), credential)
        self._requests = f"/projects/{quote(place.address.path, safe='')}/merge_requests"

    async def open(self) -> list[PullRequest]:
        return [_pull(value) for value in await self._call.pages(f"{self._requests}?state=opened")]

    async def find(self, head: str, base: str) -> PullRequest | None:
        query = f"source_branch={quote(head, safe='')}&target_branch={quote(base, safe='')}"
        for state in ("opened", "all"):  # forks may have any number of closed ones
            path = f"{self._requests}?{query}&state={state}&order_by=updated_at&sort=desc&per_page={PAGE}"
            if found := newest(map(_pull, await self._call.get(path) or [])):
                return found
        return None

    async def get(self, number: int) -> PullRequest:
        return _pull(await self._call.get(f"{self._requests}/{number}"))

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        refused: list[str] = []
        body: dict[str, Any] = {
            "source_branch": wanted.head,
            "target_branch": wanted.base,
            "title": wanted.title,
            "description": wanted.body,
        }
        if wanted.labels:
            body["labels"] = ",".join(wanted.labels)
        for field, names in (("reviewer_ids", wanted.reviewers), ("assignee_ids", wanted.assignees)):
            if ids := await self._ids(names, refused):
                body[field] = ids
        return _pull((await self._call("POST", self._requests, body)).value), refused

    async def _ids(self, names: tuple[str, ...], refused: list[str]) -> list[int]:
        ids: list[int] = []
        for name in names:
            found = await self._call.get(f"/users?username={quote(name, safe='')}") or []
            ids += [value["id"] for value in found[:1]]
            if not found:
                refused.append(f"{name}: GitLab knows no user of this name")
        return ids

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        await self._call("PUT", f"{self._requests}/{pull.number}", {"title": title, "description": body})

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        sign = self._call.hidden(marker, pull)
        notes, body = f"{self._requests}/{pull.number}/notes", {"body": f"{text}\n\n{sign}"}
        there = [
            Said(named(value, "body"), partial(self._call, "PUT", f"{notes}/{value['id']}", body))
            for value in await self._call.pages(f"{notes}?sort=asc")
        ]
        await say_once(there, sign, body["body"], partial(self._call, "POST", notes, body))

    async def close(self, pull: PullRequest) -> None:
        await self._call("PUT", f"{self._requests}/{pull.number}", {"state_event": "close"})

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        """Whether it is a merge commit or a fast-forward is the project's own setting; only squashing is asked for.

        Without "Pipelines must succeed", auto-merge merges at once what no pipeline runs for any more.
        """
        value = await self._call.get(f"{self._requests}/{pull.number}")
        if named(value, "head_pipeline", "status") in FAILED:
            return "waiting"
        body = {
            "auto_merge": True,
            "merge_when_pipeline_succeeds": True,
            "sha": pull.commit,
            "squash": method == "squash",
        }
        path = f"{self._requests}/{pull.number}/merge"
        answer = await self._call("PUT", path, body, expected=(405, 406, 409, 422))
        if answer.status >= 300:
            return "waiting"
        return "merged" if named(answer.value, "state") == "merged" else "scheduled"

    async def unschedule(self, pull: PullRequest) -> None:
        path = f"{self._requests}/{pull.number}/cancel_merge_when_pipeline_succeeds"
        await self._call("POST", path, expected=(405, 406))


def _pull(value: Any) -> PullRequest:
    if not isinstance(value, dict) or "iid" not in value:
        raise RefusedError("the forge's answer is no merge request", status=0, reason="")
    state = value.get("state")
    merge = named(value, "merge_commit_sha") or named(value, "squash_commit_sha") or named(value, "sha")
    return PullRequest(
        number=value["iid"],
        url=named(value, "web_url"),
        state="merged" if state == "merged" else "open" if state in ("opened", "locked") else "closed",
        head=named(value, "source_branch"),
        base=named(value, "target_branch"),
        title=named(value, "title"),
        body=named(value, "description"),
        commit=named(value, "sha"),
        fork=differ(value, ("source_project_id",), ("target_project_id",)),
        conflicts=value.get("has_conflicts") is True,
        merge=merge if state == "merged" else "",
    )
