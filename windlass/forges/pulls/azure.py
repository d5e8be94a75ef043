"""Azure DevOps. Reviewers go by identity id; it has no assignees; a description has 4,000 characters at most. Merging when
policies pass is its auto-complete.

API: learn.microsoft.com, Azure DevOps REST API 7.1, "Git - Pull Requests", "Pull Request Threads".
"""

from __future__ import annotations

import base64
from functools import partial
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import aiohttp

from windlass.errors import PermanentError
from windlass.forges.azure import coordinates
from windlass.forges.calls import RefusedError
from windlass.forges.pulls.model import (
    MOST_PAGES,
    Caller,
    Credential,
    Merged,
    Method,
    Place,
    PullRequest,
    Said,
    Wanted,
    named,
    newest,
    say_once,
    short,
    tried,
)

VERSION = "api-version=7.1"
UNMET = frozenset({"error", "failed", "pending"})
NOBODY = "00000000-0000-0000-0000-000000000000"
PAGE = 100
LONGEST = 4000
STRATEGIES = {"merge": "noFastForward", "squash": "squash", "rebase": "rebase"}


class Azure:
    def __init__(self, session: aiohttp.ClientSession, place: Place, credential: Credential) -> None:
        found = coordinates(place.url)
        if found is None:
            raise PermanentError("the repository's URL is none of Azure DevOps Services, so its API can't be called")
        organisation, project, name = (quote(part, safe="") for part in found)
        pair = base64.b64encode(f":{credential.token}".encode()).decode()
        api = place.api or f"https://dev.azure.com/{organisation}"
        self._call = Caller(session, api, {"Authorization": f"Basic {pair}"}, credential)
        self._pulls = f"/{project}/_apis/git/repositories/{name}/pullrequests"
        self._commits = f"/{project}/_apis/git/repositories/{name}/commits"
        self._page = "/".join((place.origin, *(quote(part) for part in place.address.path.split("/")), "pullrequest"))

    async def open(self) -> list[PullRequest]:
        return await self._listed("searchCriteria.status=active", MOST_PAGES)

    async def find(self, head: str, base: str) -> PullRequest | None:
        refs = (f"refs/heads/{quote(name, safe='')}" for name in (head, base))
        source, target = refs
        query = f"searchCriteria.sourceRefName={source}&searchCriteria.targetRefName={target}"
        return newest(await self._listed(f"{query}&searchCriteria.status=all", 1))

    async def _listed(self, query: str, pages: int) -> list[PullRequest]:
        found: list[PullRequest] = []
        for page in range(pages):
            path = f"{self._pulls}?{query}&$top={PAGE}&$skip={page * PAGE}&{VERSION}"
            values = (await self._call.get(path)).get("value", [])
            found += map(self._pull, values)
            if len(values) < PAGE:
                break
        return found

    async def get(self, number: int) -> PullRequest:
        return self._pull(await self._call.get(f"{self._pulls}/{number}?{VERSION}"))

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        body = {
            "sourceRefName": f"refs/heads/{wanted.head}",
            "targetRefName": f"refs/heads/{wanted.base}",
            "title": wanted.title,
            "description": wanted.body[:LONGEST],
            "labels": [{"name": name} for name in wanted.labels],
        }
        made = self._pull((await self._call("POST", f"{self._pulls}?{VERSION}", body)).value)
        refused = ["assignees: Azure DevOps has none"] if wanted.assignees else []
        for person in wanted.reviewers:
            path = f"{self._pulls}/{made.number}/reviewers/{quote(person, safe='')}?{VERSION}"
            refused += await tried([(f"reviewer {person}", partial(self._call, "PUT", path, {"vote": 0}))])
        return made, refused

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        await self._change(pull, {"title": title, "description": body[:LONGEST]})

    async def _change(self, pull: PullRequest, change: dict[str, Any]) -> Any:
        return (await self._call("PATCH", f"{self._pulls}/{pull.number}?{VERSION}", change)).value

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        sign = self._call.hidden(marker, pull)
        threads, body = f"{self._pulls}/{pull.number}/threads", f"{text}\n\n{sign}"
        firsts = [
            (thread["id"], thread["comments"][0])
            for thread in (await self._call.get(f"{threads}?{VERSION}")).get("value", [])
            if thread.get("comments") and not thread.get("isDeleted")
        ]
        change = partial(self._call, "PATCH", body={"content": body})
        there = [
            Said(named(one, "content"), partial(change, path=f"{threads}/{thread}/comments/{one['id']}?{VERSION}"))
            for thread, one in sorted(firsts, key=itemgetter(0))
        ]
        comment = {"parentCommentId": 0, "content": body, "commentType": "text"}
        thread = {"comments": [comment], "status": "closed"}
        await say_once(there, sign, body, partial(self._call, "POST", f"{threads}?{VERSION}", thread))

    async def close(self, pull: PullRequest) -> None:
        await self._change(pull, {"status": "abandoned"})

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        """Auto-complete is set in the name of who opened it: ourselves."""
        now = await self.get(pull.number)
        if now.commit != pull.commit:
            return "waiting"
        statuses = (await self._call.get(f"{self._commits}/{pull.commit}/statuses?latestOnly=true&{VERSION}")).get(
            "value", []
        )
        if any(named(one, "state") in UNMET for one in statuses):  # it waits for required policies alone
            return "waiting"
        options = {"mergeStrategy": STRATEGIES[method], "deleteSourceBranch": True}
        answer = await self._change(pull, {"autoCompleteSetBy": {"id": now.extra}, "completionOptions": options})
        return "merged" if named(answer, "status") == "completed" else "scheduled"

    async def unschedule(self, pull: PullRequest) -> None:
        await self._change(pull, {"autoCompleteSetBy": {"id": NOBODY}})

    def _pull(self, value: Any) -> PullRequest:
        if not isinstance(value, dict) or "pullRequestId" not in value:
            raise RefusedError("the forge's answer is no pull request", status=0, reason="")
        state = value.get("status")
        return PullRequest(
            number=value["pullRequestId"],
            url=f"{self._page}/{value['pullRequestId']}",
            state="merged" if state == "completed" else "open" if state == "active" else "closed",
            head=short(named(value, "sourceRefName")),
            base=short(named(value, "targetRefName")),
            title=named(value, "title"),
            body=named(value, "description"),
            commit=named(value, "lastMergeSourceCommit", "commitId"),
            fork=bool(value.get("forkSource")),
            conflicts=named(value, "mergeStatus") == "conflicts",
            merge=named(value, "lastMergeCommit", "commitId") if state == "completed" else "",
            extra=named(value, "createdBy", "id"),
        )
