"""Bitbucket Cloud. It has no labels and no assignees; reviewers go by account id or UUID. Nothing merges by itself over its
API, so a pull request is merged once every build status of its head is successful.

API: developer.atlassian.com, Bitbucket Cloud REST API, "Pullrequests".
"""

from __future__ import annotations

import base64
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

PAGE = 50
STRATEGIES = {"merge": "merge_commit", "squash": "squash", "rebase": "rebase_fast_forward"}
STATES = "state=OPEN&state=MERGED&state=DECLINED&state=SUPERSEDED"


class Bitbucket:
    def __init__(self, session: aiohttp.ClientSession, place: Place, credential: Credential) -> None:
        api = place.api or "https://api.bitbucket.org/2.0"
        self._call = Caller(session, api, _authorization(credential), credential)
        self._base = api
        self._full_name = f"{place.owner}/{place.name}"
        self._pulls = f"/repositories/{self._full_name}/pullrequests"

    async def open(self) -> list[PullRequest]:
        return [_pull(value) for value in await self._all(f"{self._pulls}?state=OPEN&pagelen={PAGE}")]

    async def _all(self, path: str) -> list[Any]:
        """Every page: the next one's address is in the answer, and believed only below the API's own."""
        found: list[Any] = []
        for _ in range(MOST_PAGES):
            value = await self._call.get(path)
            found += value.get("values", [])
            path = named(value, "next")
            if not path.startswith(f"{self._base}/"):
                break
        return found

    async def find(self, head: str, base: str) -> PullRequest | None:
        branches = f'source.branch.name="{head}" AND destination.branch.name="{base}"'
        query = quote(f'{branches} AND source.repository.full_name="{self._full_name}"', safe="")
        value = await self._call.get(f"{self._pulls}?q={query}&{STATES}&sort=-updated_on&pagelen=10")
        return newest(map(_pull, value.get("values", [])))

    async def get(self, number: int) -> PullRequest:
        return _pull(await self._call.get(f"{self._pulls}/{number}"))

    async def create(self, wanted: Wanted) -> tuple[PullRequest, list[str]]:
        body: dict[str, Any] = {
            "title": wanted.title,
            "description": wanted.body,
            "source": {"branch": {"name": wanted.head}},
            "destination": {"branch": {"name": wanted.base}},
        }
        refused = ["labels: Bitbucket has none"] if wanted.labels else []
        refused += ["assignees: Bitbucket has none"] if wanted.assignees else []
        if wanted.reviewers:
            people = [{"uuid" if name.startswith("{") else "account_id": name} for name in wanted.reviewers]
            answer = await self._call("POST", self._pulls, {**body, "reviewers": people}, expected=(400,))
            if answer.status != 400:
                return _pull(answer.value), refused
            refused.append(f"reviewers: {named(answer.value, 'error', 'message')[:200]}")
        return _pull((await self._call("POST", self._pulls, body)).value), refused

    async def update(self, pull: PullRequest, title: str, body: str) -> None:
        """Reviewers that are left out of a change are taken off, so they are said again."""
        change = {"title": title, "description": body, "reviewers": pull.extra or []}
        await self._call("PUT", f"{self._pulls}/{pull.number}", change)

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        sign = self._call.hidden(marker, pull)
        comments = f"{self._pulls}/{pull.number}/comments"
        body = {"content": {"raw": f"{text}\n\n{sign}"}}
        there = [
            Said(named(value, "content", "raw"), partial(self._call, "PUT", f"{comments}/{value['id']}", body))
            for value in await self._all(f"{comments}?pagelen=100&sort=created_on")
            if not value.get("deleted")
        ]
        await say_once(there, sign, body["content"]["raw"], partial(self._call, "POST", comments, body))

    async def close(self, pull: PullRequest) -> None:
        await self._call("POST", f"{self._pulls}/{pull.number}/decline")

    async def merge(self, pull: PullRequest, method: Method) -> Merged:
        now = await self.get(pull.number)
        statuses = await self._all(f"{self._pulls}/{pull.number}/statuses?pagelen=100")
        same = now.commit[:12] == pull.commit[:12]  # it abbreviates commits
        if not same or any(named(status, "state") != "SUCCESSFUL" for status in statuses):
            return "waiting"
        body = {"merge_strategy": STRATEGIES[method]}
        path = f"{self._pulls}/{pull.number}/merge"
        answer = await self._call("POST", path, body, expected=(400, 409, 555))
        return "merged" if answer.status == 200 else "waiting"

    async def unschedule(self, pull: PullRequest) -> None:
        """It merges nothing by itself."""


def _authorization(credential: Credential) -> dict[str, str]:
    if credential.username is None:
        return bearer(credential.token)
    pair = f"{credential.username}:{credential.token}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _pull(value: Any) -> PullRequest:
    if not isinstance(value, dict) or "id" not in value:
        raise RefusedError("the forge's answer is no pull request", status=0, reason="")
    state = value.get("state")
    people = value.get("reviewers")
    return PullRequest(
        number=value["id"],
        url=named(value, "links", "html", "href"),
        state="merged" if state == "MERGED" else "open" if state == "OPEN" else "closed",
        head=named(value, "source", "branch", "name"),
        base=named(value, "destination", "branch", "name"),
        title=named(value, "title"),
        body=named(value, "description") or named(value, "summary", "raw"),
        commit=named(value, "source", "commit", "hash"),
        fork=differ(value, ("source", "repository", "full_name"), ("destination", "repository", "full_name")),
        merge=named(value, "merge_commit", "hash") if state == "MERGED" else "",
        extra=[{"uuid": named(one, "uuid")} for one in people] if isinstance(people, list) else None,
    )
