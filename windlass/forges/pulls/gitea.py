"""Gitea and Forgejo. Labels go by id; a label that isn't there is made. Merging when checks pass is the forge's own.

API: docs.gitea.com, "API" (``/api/v1``, repository and issue).
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp

from windlass.forges.calls import RefusedError
from windlass.forges.pulls.model import (
    LABEL_COLOUR,
    MOST_PAGES,
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

PAGE = 50
PASSED = frozenset({"success", "warning", "skipped"})
CLOSED_PAGES = 4
"""Pages of closed ones, newest first, in which a branch's last one is looked for."""


class Gitea:
    def __init__(self, session: aiohttp.ClientSession, place: Place, credential: Credential) -> None:
        api = place.api or f"{place.origin}{place.prefix}/api/v1"
        self._call = Caller(session, api, {"Authorization": f"token {credential.token}"}, credential)
        self._repository = f"/repos/{place.owner}/{place.name}"
        self._owner = place.owner

    async def open(self) -> list[PullRequest]:
        return await self._listed("open", MOST_PAGES)

    async def find(self, head: str, base: str) -> PullRequest | None:
        for state, pages in (("open", MOST_PAGES), ("closed", CLOSED_PAGES)):
            listed = await self._listed(state, pages)
            if found := newest(pull for pull in listed if (pull.head, pull.base) == (head, base)):
                return found
        return None

    async def _listed(self, state: str, pages: int) -> list[PullRequest]:
        found: list[PullRequest] = []
        for page in range(1, pages + 1):
            query = f"state={state}&sort=recentupdate&limit={PAGE}&page={page}"
            values = await self._call.get(f"{self._repository}/pulls?{query}") or []
            found += [_pull(value) for value in values]
            if not values:
                break
        return found

    async def get(self, number: int) -> PullRequest:
        return _pull(await self._call.get(f"{self._repository}/pulls/{number}"))

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        body = {"title": wanted.title, "body": wanted.body, "head": wanted.head, "base": wanted.base}
        made = _pull((await self._call("POST", f"{self._repository}/pulls", body)).value)
        pulls, issues = f"{self._repository}/pulls/{made.number}", f"{self._repository}/issues/{made.number}"
        refused = []
        if wanted.labels:
            refused += await tried([("labels", partial(self._label, issues, wanted.labels))])
        for name in wanted.reviewers:
            asked = {"team_reviewers": [name[5:]]} if name.startswith("team:") else {"reviewers": [name]}
            step = partial(self._call, "POST", f"{pulls}/requested_reviewers", asked)
            refused += await tried([(f"reviewer {name}", step)])
        assigned: list[str] = []
        for name in wanted.assignees:  # one that it doesn't know would keep all of them out
            step = partial(self._call, "PATCH", issues, {"assignees": [*assigned, name]})
            unknown = await tried([(f"assignee {name}", step)])
            assigned, refused = (assigned, refused + unknown) if unknown else ([*assigned, name], refused)
        return made, refused

    async def _label(self, issue: str, names: tuple[str, ...]) -> None:
        known: dict[str, int] = {}
        for page in range(1, MOST_PAGES + 1):
            values = await self._call.get(f"{self._repository}/labels?limit={PAGE}&page={page}") or []
            known.update((value["name"], value["id"]) for value in values)
            if not values:
                break
        for name in names:
            if name not in known:
                label = {"name": name, "color": LABEL_COLOUR}
                known[name] = (await self._call("POST", f"{self._repository}/labels", label)).value["id"]
        await self._call("POST", f"{issue}/labels", {"labels": [known[name] for name in names]})

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        await self._call("PATCH", f"{self._repository}/pulls/{pull.number}", {"title": title, "body": body})

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        sign = self._call.hidden(marker, pull)
        comments = f"{self._repository}/issues/{pull.number}/comments"
        body = {"body": f"{text}\n\n{sign}"}
        change = partial(self._call, "PATCH", body=body)
        there = [
            Said(named(value, "body"), partial(change, path=f"{self._repository}/issues/comments/{value['id']}"))
            for value in await self._call.get(comments) or []
        ]
        await say_once(there, sign, body["body"], partial(self._call, "POST", comments, body))

    async def close(self, pull: PullRequest) -> None:
        await self._call("PATCH", f"{self._repository}/pulls/{pull.number}", {"state": "closed"})

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        """Its own auto-merge waits for what the branch's protection requires. Without that it waits for nothing: then what was
        reported counts."""
        base = await self._call.get(f"{self._repository}/branches/{quote(pull.base, safe='')}")
        if base.get("enable_status_check") is not True and not await self._passed(pull.commit):
            return "waiting"
        body = {"Do": method, "merge_when_checks_succeed": True, "head_commit_id": pull.commit}
        path = f"{self._repository}/pulls/{pull.number}/merge"
        answer = await self._call("POST", path, body, expected=(405, 409))
        if answer.status in (405, 409):
            # 409 is also what it says of a merge that is scheduled already; 405 of one that isn't possible as yet.
            return "scheduled" if "scheduled" in named(answer.value, "message") else "waiting"
        return "scheduled" if answer.status == 201 else "merged"

    async def _passed(self, commit: str) -> bool:
        """Did everything succeed that was reported of the commit?"""
        value = await self._call.get(f"{self._repository}/commits/{commit}/status")
        return not value.get("statuses") or named(value, "state") in PASSED

    async def unschedule(self, pull: PullRequest) -> None:
        await self._call("DELETE", f"{self._repository}/pulls/{pull.number}/merge", expected=(404,))


def _pull(value: Any) -> PullRequest:
    if not isinstance(value, dict) or "number" not in value:
        raise RefusedError("the forge's answer is no pull request", status=0, reason="")
    return PullRequest(
        number=value["number"],
        url=named(value, "html_url"),
        state="merged" if value.get("merged") else "open" if value.get("state") == "open" else "closed",
        head=named(value, "head", "ref"),
        base=named(value, "base", "ref"),
        title=named(value, "title"),
        body=named(value, "body"),
        commit=named(value, "head", "sha"),
        fork=differ(value, ("head", "repo", "id"), ("base", "repo", "id")),
        conflicts=value.get("mergeable") is False,
        merge=named(value, "merge_commit_sha") if value.get("merged") else "",
    )
