"""Bitbucket Server and Data Center. It has no labels and no assignees; every change names the version that it changes. A pull
request is merged once its merge checks allow it (``canMerge``).

API: developer.atlassian.com, Bitbucket Data Center REST API, "Pull Requests".
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp

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
    differ,
    named,
    newest,
    say_once,
)
from windlass.forges.status import bearer

PAGE = 100
STRATEGIES = {"merge": "no-ff", "squash": "squash", "rebase": "rebase-ff-only"}


class BitbucketServer:
    def __init__(self, session: aiohttp.ClientSession, place: Place, credential: Credential) -> None:
        api = place.api or f"{place.origin}{place.prefix.removesuffix('/scm')}/rest/api/latest"
        self._call = Caller(session, api, bearer(credential.token), credential)
        self._builds = f"{api.partition('/rest/api/')[0]}/rest/build-status/latest"
        self._project, self._name = place.owner, place.name
        self._pulls = f"/projects/{place.owner}/repos/{place.name}/pull-requests"

    async def open(self) -> list[PullRequest]:
        return [_pull(value) for value in await self._all(f"{self._pulls}?state=OPEN")]

    async def _all(self, path: str) -> list[Any]:
        found: list[Any] = []
        start = 0
        for _ in range(MOST_PAGES):
            value = await self._call.get(f"{path}{'&' if '?' in path else '?'}limit={PAGE}&start={start}")
            found += value.get("values", [])
            if value.get("isLastPage", True) or not isinstance(value.get("nextPageStart"), int):
                break
            start = value["nextPageStart"]
        return found

    async def find(self, head: str, base: str) -> PullRequest | None:
        source = quote(f"refs/heads/{head}", safe="")
        path = f"{self._pulls}?state=ALL&order=NEWEST&direction=OUTGOING&at={source}"
        return newest(pull for pull in map(_pull, await self._all(path)) if (pull.head, pull.base) == (head, base))

    async def get(self, number: int) -> PullRequest:
        return _pull(await self._call.get(f"{self._pulls}/{number}"))

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        repository = {"slug": self._name, "project": {"key": self._project}}
        body: dict[str, Any] = {
            "title": wanted.title,
            "description": wanted.body,
            "fromRef": {"id": f"refs/heads/{wanted.head}", "repository": repository},
            "toRef": {"id": f"refs/heads/{wanted.base}", "repository": repository},
        }
        refused = ["labels: Bitbucket Server has none"] if wanted.labels else []
        refused += ["assignees: Bitbucket Server has none"] if wanted.assignees else []
        if wanted.reviewers:
            people = [{"user": {"name": name}} for name in wanted.reviewers]
            # 409 is also its answer to reviewers that it doesn't know.
            answer = await self._call("POST", self._pulls, {**body, "reviewers": people}, expected=(400, 409))
            if answer.status < 300:
                return _pull(answer.value), refused
            refused.append(f"reviewers: {_reason(answer.value)}")
        return _pull((await self._call("POST", self._pulls, body)).value), refused

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        """Reviewers that are left out of a change are taken off, so they are said again."""
        now = await self.get(pull.number)
        change = {**now.extra, "title": title, "description": body}
        await self._call("PUT", f"{self._pulls}/{pull.number}", change)

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        sign = self._call.hidden(marker, pull)
        comments = f"{self._pulls}/{pull.number}/comments"
        body = f"{text}\n\n{sign}"
        newest_first = await self._all(f"{self._pulls}/{pull.number}/activities")
        values = [one["comment"] for one in reversed(newest_first) if one.get("action") == "COMMENTED"]
        there = [
            Said(
                named(value, "text"),
                partial(
                    self._call, "PUT", f"{comments}/{value['id']}", {"text": body, "version": value.get("version")}
                ),
            )
            for value in values
        ]
        await say_once(there, sign, body, partial(self._call, "POST", comments, {"text": body}))

    async def close(self, pull: PullRequest) -> None:
        version = (await self.get(pull.number)).extra["version"]
        await self._call("POST", f"{self._pulls}/{pull.number}/decline?version={version}", {})

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        path = f"{self._pulls}/{pull.number}/merge"
        now, allowed = await self.get(pull.number), await self._call.get(path)
        if now.commit != pull.commit or allowed.get("canMerge") is not True:
            return "waiting"
        builds = await self._call.get(f"{self._builds}/commits/stats/{pull.commit}")
        if builds.get("failed") or builds.get("inProgress"):  # only required ones are among what forbids the merge
            return "waiting"
        body = {"strategyId": STRATEGIES[method]}
        answer = await self._call("POST", f"{path}?version={now.extra['version']}", body, expected=(409,))
        return "merged" if answer.status == 200 else "waiting"

    async def unschedule(self, pull: PullRequest) -> None:
        """It merges nothing by itself."""


def _reason(value: Any) -> str:
    errors = value.get("errors") if isinstance(value, dict) else None
    return named(errors[0], "message")[:200] if isinstance(errors, list) and errors else "refused"


def _pull(value: Any) -> PullRequest:
    if not isinstance(value, dict) or "id" not in value:
        raise RefusedError("the forge's answer is no pull request", status=0, reason="")
    state, links = value.get("state"), (value.get("links") or {}).get("self") or [{}]
    people = [{"user": {"name": named(one, "user", "name")}} for one in value.get("reviewers") or []]
    return PullRequest(
        number=value["id"],
        url=named(links[0], "href"),
        state="merged" if state == "MERGED" else "open" if state == "OPEN" else "closed",
        head=named(value, "fromRef", "displayId"),
        base=named(value, "toRef", "displayId"),
        title=named(value, "title"),
        body=named(value, "description"),
        commit=named(value, "fromRef", "latestCommit"),
        fork=differ(value, ("fromRef", "repository", "id"), ("toRef", "repository", "id")),
        merge=named(value, "properties", "mergeCommit", "id") if state == "MERGED" else "",
        extra={"version": value.get("version"), "reviewers": people},
    )
