"""Pull requests of the forges that can't be run here, with the requests and answers that their vendors document."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.pulls.forges import TOKEN, Forge, serving
from windlass.errors import PermanentError, TransientError
from windlass.forges.pulls import Place, PullRequests, Wanted, hidden
from windlass.forges.pulls.github_app import GithubApps

pytestmark = pytest.mark.integration

HEAD, BASE, SHA, MERGE = "promote/web", "main", "a" * 40, "b" * 40
WANTED = Wanted(HEAD, BASE, "web 1.4.2", "What it is.", ("promotion", "image"), ("ann",), ("ben",))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


class TestGithub:
    PULLS = "/api/v3/repos/shop/manifests/pulls"
    ISSUE = "/api/v3/repos/shop/manifests/issues/7"

    def pull(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": 1,
            "node_id": "PR_kwDO",
            "number": 7,
            "html_url": "https://github.example/shop/manifests/pull/7",
            "state": "open",
            "title": "web 1.4.2",
            "body": "What it is.",
            "head": {"ref": HEAD, "sha": SHA, "label": f"shop:{HEAD}", "repo": {"id": 2}},
            "base": {"ref": BASE, "repo": {"id": 2}},
            "merged_at": None,
            "merge_commit_sha": "c" * 40,
            "mergeable_state": "blocked",
            "auto_merge": None,
            **fields,
        }

    @pytest.fixture
    async def github(self, stack: AsyncExitStack) -> tuple[Forge, PullRequests]:
        return await stack.enter_async_context(serving("github", "shop/manifests.git"))

    async def test_one_is_opened(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.says(f"POST {self.PULLS}", self.pull(), status=201)
        forge.says(f"POST {self.ISSUE}/labels", [])
        forge.says(f"POST {self.PULLS}/7/requested_reviewers", {"message": "Reviews may only be requested"}, status=422)
        forge.says(f"POST {self.ISSUE}/assignees", self.pull(), status=201)
        made, refused = await pulls.create(WANTED)
        assert (made.number, made.state, made.head, made.commit, made.merge) == (7, "open", HEAD, SHA, "")
        assert refused == ["reviewer ann: 127.0.0.1: 422: Reviews may only be requested"]
        assert forge.body(f"POST {self.PULLS}") == {
            "title": "web 1.4.2",
            "body": "What it is.",
            "head": HEAD,
            "base": BASE,
        }
        assert forge.body(f"POST {self.ISSUE}/labels") == {"labels": ["promotion", "image"]}
        assert forge.body(f"POST {self.ISSUE}/assignees") == {"assignees": ["ben"]}
        assert forge.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
        assert forge.asked[0].headers["X-GitHub-Api-Version"] == "2022-11-28"

    async def test_the_last_one_of_a_branch_is_found(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        merged = self.pull(state="closed", merged_at="2026-01-01T00:00:00Z", merge_commit_sha=MERGE)
        forge.says(f"GET {self.PULLS}", [], [merged])
        found = await pulls.find(HEAD, BASE)
        assert found is not None
        assert (found.state, found.merge) == ("merged", MERGE)
        assert [a.query["state"] for a in forge.asked] == ["open", "closed"]
        assert forge.asked[0].query["head"] == f"shop:{HEAD}"

    async def test_all_pages_are_read(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.says(f"GET {self.PULLS}", [self.pull(number=n) for n in range(100)], [self.pull(number=100)])
        assert [pull.number for pull in await pulls.open()] == list(range(101))

    async def test_one_comment_is_changed(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.says(f"GET {self.PULLS}/7", self.pull())
        forge.says(f"GET {self.ISSUE}/comments", [{"id": 3, "body": "hi"}, {"id": 4, "body": f"old\n\n{hidden('m')}"}])
        forge.says("PATCH /api/v3/repos/shop/manifests/issues/comments/4", {})
        await pulls.comment(await pulls.get(7), "m", "new")
        assert forge.calls()[-1] == "PATCH /api/v3/repos/shop/manifests/issues/comments/4"

    async def test_a_comment_that_is_anothers_to_change_is_left_and_ours_written(
        self, github: tuple[Forge, PullRequests]
    ) -> None:
        forge, pulls = github
        forge.says(f"GET {self.PULLS}/7", self.pull())
        forge.says(f"GET {self.ISSUE}/comments", [{"id": 4, "body": f"not ours\n\n{hidden('m')}"}])
        forge.says("PATCH /api/v3/repos/shop/manifests/issues/comments/4", {"message": "Forbidden"}, status=403)
        forge.says(f"POST {self.ISSUE}/comments", {"id": 5})
        await pulls.comment(await pulls.get(7), "m", "new")
        assert forge.body(f"POST {self.ISSUE}/comments") == {"body": f"new\n\n{hidden('m')}"}

    async def test_github_merges_it_when_its_checks_pass(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.says(f"GET {self.PULLS}/7", self.pull())
        forge.says("POST /api/graphql", {"data": {"enablePullRequestAutoMerge": {"clientMutationId": None}}})
        assert await pulls.merge(await pulls.get(7), "squash") == "scheduled"
        variables = forge.body("POST /api/graphql")["variables"]
        assert variables == {"pull": "PR_kwDO", "method": "SQUASH", "head": SHA}
        forge.says(f"GET {self.PULLS}/7", self.pull(auto_merge={"merge_method": "squash"}))
        assert await pulls.merge(await pulls.get(7), "squash") == "scheduled"

    async def test_what_was_scheduled_is_taken_back(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.says(f"GET {self.PULLS}/7", self.pull())
        await pulls.unschedule(await pulls.get(7))
        forge.says(f"GET {self.PULLS}/7", self.pull(auto_merge={"merge_method": "squash"}))
        forge.says("POST /api/graphql", {"data": {"disablePullRequestAutoMerge": {"clientMutationId": None}}})
        await pulls.unschedule(await pulls.get(7))
        asked = [call for call in forge.calls() if "graphql" in call]
        assert len(asked) == 1, "nothing where nothing is scheduled"
        assert "disablePullRequestAutoMerge" in forge.body("POST /api/graphql")["query"]
        assert forge.body("POST /api/graphql")["variables"] == {"pull": "PR_kwDO"}

    async def test_where_it_may_not_it_is_merged_once_clean(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.says(f"GET {self.PULLS}/7", self.pull(mergeable_state="unstable"))
        forge.says("POST /api/graphql", {"data": None, "errors": [{"message": "Auto merge is not allowed"}]})
        assert await pulls.merge(await pulls.get(7), "merge") == "waiting"
        forge.says(f"GET {self.PULLS}/7", self.pull(mergeable_state="clean"))
        forge.says(f"PUT {self.PULLS}/7/merge", {"merged": True, "sha": MERGE})
        assert await pulls.merge(await pulls.get(7), "merge") == "merged"
        assert forge.body(f"PUT {self.PULLS}/7/merge") == {"merge_method": "merge", "sha": SHA}
        forge.says(f"PUT {self.PULLS}/7/merge", {"message": "Head branch was modified"}, status=409)
        assert await pulls.merge(await pulls.get(7), "merge") == "waiting"

    async def test_a_rate_limit_says_when(self, github: tuple[Forge, PullRequests]) -> None:
        forge, pulls = github
        forge.headers = {"Retry-After": "60"}
        forge.says(f"GET {self.PULLS}", {"message": "You have exceeded a secondary rate limit"}, status=403)
        with pytest.raises(TransientError) as error:
            await pulls.open()
        assert error.value.retry_after == 60

    async def test_a_token_is_in_no_error(self, github: tuple[Forge, PullRequests]) -> None:
        with pytest.raises(PermanentError, match="Not Found") as error:
            await github[1].get(7)
        assert TOKEN not in str(error.value)

    async def test_an_app_signs_its_own_token(self, github: tuple[Forge, PullRequests]) -> None:
        forge, _ = github
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        forge.says("GET /api/v3/repos/shop/manifests/installation", {"id": 42})
        made = {"token": "ghs_x", "expires_at": "2099-01-01T00:00:00Z"}
        forge.says("POST /api/v3/app/installations/42/access_tokens", made, status=201)
        apps, place = GithubApps(), Place(f"{forge.url}/shop/manifests.git")
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                assert await apps.token(session, place, app="123", key=pem, installation=None) == "ghs_x"
            assert len(forge.asked) == 2
            assert forge.asked[1].body == {"repositories": ["manifests"]}
            proof = forge.asked[1].headers["Authorization"].removeprefix("Bearer ")
            claims = jwt.decode(proof, key.public_key(), algorithms=["RS256"])
            assert claims["iss"] == "123"
            assert claims["exp"] - claims["iat"] <= 600
            with pytest.raises(PermanentError, match="not an RSA key"):
                await apps.token(session, place, app="9", key=b"not a key", installation="1")
            forge.says("POST /api/v3/app/installations/1/access_tokens", {**made, "expires_at": "2001-01-01T00:00:00Z"})
            for _ in range(2):
                await apps.token(session, place, app="123", key=pem, installation="1")
            assert len(forge.asked) == 4


class TestGitlab:
    REQUESTS = "/api/v4/projects/shop%2Fteam%2Fmanifests/merge_requests"

    def request(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": 84,
            "iid": 7,
            "web_url": "https://gitlab.example/shop/team/manifests/-/merge_requests/7",
            "state": "opened",
            "source_branch": HEAD,
            "source_project_id": 3,
            "target_branch": BASE,
            "target_project_id": 3,
            "title": "web 1.4.2",
            "description": "What it is.",
            "sha": SHA,
            "merge_commit_sha": None,
            "squash_commit_sha": None,
            **fields,
        }

    @pytest.fixture
    async def gitlab(self, stack: AsyncExitStack) -> tuple[Forge, PullRequests]:
        return await stack.enter_async_context(serving("gitlab", "shop/team/manifests.git"))

    async def test_one_is_opened_with_people_by_their_ids(self, gitlab: tuple[Forge, PullRequests]) -> None:
        forge, pulls = gitlab
        forge.says("GET /api/v4/users", [{"id": 11, "username": "ann"}], [])
        forge.says(f"POST {self.REQUESTS}", self.request(), status=201)
        made, refused = await pulls.create(WANTED)
        assert (made.number, made.state, made.commit) == (7, "open", SHA)
        assert refused == ["ben: GitLab knows no user of this name"]
        assert forge.body(f"POST {self.REQUESTS}") == {
            "source_branch": HEAD,
            "target_branch": BASE,
            "title": "web 1.4.2",
            "description": "What it is.",
            "labels": "promotion,image",
            "reviewer_ids": [11],
        }

    async def test_anybodys_fork_may_have_a_branch_of_that_name(self, gitlab: tuple[Forge, PullRequests]) -> None:
        forge, pulls = gitlab
        forge.says(f"GET {self.REQUESTS}", [self.request(iid=9, source_project_id=666)], [])
        assert await pulls.find(HEAD, BASE) is None

    async def test_it_is_found_changed_commented_on_and_closed(self, gitlab: tuple[Forge, PullRequests]) -> None:
        forge, pulls = gitlab
        merged = self.request(iid=6, state="merged", merge_commit_sha=MERGE)
        forge.says(f"GET {self.REQUESTS}", [merged, self.request()])
        forge.says(f"PUT {self.REQUESTS}/7", self.request())
        forge.says(f"GET {self.REQUESTS}/7/notes", [])
        forge.says(f"POST {self.REQUESTS}/7/notes", {}, status=201)
        found = await pulls.find(HEAD, BASE)
        assert found is not None
        assert (found.number, found.state) == (7, "open")
        await pulls.update(found, "t", "b")
        assert forge.body(f"PUT {self.REQUESTS}/7") == {"title": "t", "description": "b"}
        await pulls.comment(found, "m", "text")
        assert forge.body(f"POST {self.REQUESTS}/7/notes") == {"body": f"text\n\n{hidden('m')}"}
        await pulls.close(found)
        assert forge.body(f"PUT {self.REQUESTS}/7") == {"state_event": "close"}

    @pytest.mark.parametrize(
        ("status", "state", "outcome"),
        [(200, "opened", "scheduled"), (200, "merged", "merged"), (405, "", "waiting"), (409, "", "waiting")],
    )
    async def test_it_is_merged_when_its_pipeline_passes(
        self, gitlab: tuple[Forge, PullRequests], status: int, state: str, outcome: str
    ) -> None:
        forge, pulls = gitlab
        forge.says(f"GET {self.REQUESTS}/7", self.request())
        forge.says(f"PUT {self.REQUESTS}/7/merge", self.request(state=state), status=status)
        assert await pulls.merge(await pulls.get(7), "squash") == outcome
        body = forge.body(f"PUT {self.REQUESTS}/7/merge")
        assert (body["auto_merge"], body["sha"], body["squash"]) == (True, SHA, True)

    async def test_what_failed_is_not_merged_and_what_was_scheduled_is_taken_back(
        self, gitlab: tuple[Forge, PullRequests]
    ) -> None:
        forge, pulls = gitlab
        forge.says(f"GET {self.REQUESTS}/7", self.request(head_pipeline={"id": 3, "status": "failed"}))
        assert await pulls.merge(await pulls.get(7), "merge") == "waiting"
        assert not any(call.startswith("PUT") for call in forge.calls())
        forge.says(f"POST {self.REQUESTS}/7/cancel_merge_when_pipeline_succeeds", self.request())
        await pulls.unschedule(await pulls.get(7))
        assert forge.calls()[-1] == f"POST {self.REQUESTS}/7/cancel_merge_when_pipeline_succeeds"

    async def test_a_fast_forward_names_its_own_last_commit(self, gitlab: tuple[Forge, PullRequests]) -> None:
        forge, pulls = gitlab
        forge.says(f"GET {self.REQUESTS}/7", self.request(state="merged"))
        assert (await pulls.get(7)).merge == SHA


class TestBitbucket:
    PULLS = "/2.0/repositories/shop/manifests/pullrequests"

    def pull(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": 7,
            "title": "web 1.4.2",
            "description": "What it is.",
            "state": "OPEN",
            "source": {
                "branch": {"name": HEAD},
                "commit": {"hash": SHA[:12]},
                "repository": {"full_name": "shop/manifests"},
            },
            "destination": {"branch": {"name": BASE}, "repository": {"full_name": "shop/manifests"}},
            "reviewers": [{"uuid": "{u-1}", "display_name": "Ann"}],
            "links": {"html": {"href": "https://bitbucket.example/shop/manifests/pull-requests/7"}},
            **fields,
        }

    @pytest.fixture
    async def bitbucket(self, stack: AsyncExitStack) -> tuple[Forge, PullRequests]:
        return await stack.enter_async_context(
            serving("bitbucket", "https://bitbucket.example/shop/manifests.git", api="/2.0", username="bot")
        )

    async def test_one_is_opened_also_without_reviewers(self, bitbucket: tuple[Forge, PullRequests]) -> None:
        forge, pulls = bitbucket
        refused = {"type": "error", "error": {"message": "reviewers: Malformed reviewers list"}}
        forge.answers[f"POST {self.PULLS}"] = [(400, refused), (201, self.pull())]
        made, told = await pulls.create(WANTED)
        assert (made.number, made.head, made.commit) == (7, HEAD, SHA[:12])
        assert told == [
            "labels: Bitbucket has none",
            "assignees: Bitbucket has none",
            "reviewers: reviewers: Malformed reviewers list",
        ]
        assert forge.asked[0].body["reviewers"] == [{"account_id": "ann"}]
        assert "reviewers" not in forge.asked[1].body
        assert forge.asked[0].headers["Authorization"] == "Basic " + base64.b64encode(f"bot:{TOKEN}".encode()).decode()

    async def test_pages_are_followed_below_the_api_only(self, bitbucket: tuple[Forge, PullRequests]) -> None:
        forge, pulls = bitbucket
        next_page = f"{forge.url}/2.0/repositories/shop/manifests/pullrequests?page=2"
        forge.says(
            f"GET {self.PULLS}",
            {"values": [self.pull()], "next": next_page},
            {"values": [self.pull(id=8)], "next": "https://elsewhere.example/2.0/steal"},
        )
        assert [pull.number for pull in await pulls.open()] == [7, 8]

    async def test_a_change_keeps_its_reviewers(self, bitbucket: tuple[Forge, PullRequests]) -> None:
        forge, pulls = bitbucket
        forge.says(f"GET {self.PULLS}", {"values": [self.pull()]})
        forge.says(f"PUT {self.PULLS}/7", self.pull())
        found = await pulls.find(HEAD, BASE)
        assert found is not None
        branches = f'source.branch.name="{HEAD}" AND destination.branch.name="{BASE}"'
        assert forge.asked[0].query["q"] == f'{branches} AND source.repository.full_name="shop/manifests"'
        await pulls.update(found, "t", "b")
        assert forge.body(f"PUT {self.PULLS}/7") == {"title": "t", "description": "b", "reviewers": [{"uuid": "{u-1}"}]}

    async def test_it_is_merged_once_every_build_is_successful(self, bitbucket: tuple[Forge, PullRequests]) -> None:
        forge, pulls = bitbucket
        forge.says(f"GET {self.PULLS}/7", self.pull())
        forge.says(f"GET {self.PULLS}/7/statuses", {"values": [{"state": "INPROGRESS"}, {"state": "SUCCESSFUL"}]})
        assert await pulls.merge(await pulls.get(7), "merge") == "waiting"
        forge.says(f"GET {self.PULLS}/7/statuses", {"values": [{"state": "SUCCESSFUL"}]})
        forge.says(f"POST {self.PULLS}/7/merge", self.pull(state="MERGED", merge_commit={"hash": MERGE[:12]}))
        assert await pulls.merge(await pulls.get(7), "squash") == "merged"
        assert forge.body(f"POST {self.PULLS}/7/merge") == {"merge_strategy": "squash"}

    async def test_it_is_commented_on_and_declined(self, bitbucket: tuple[Forge, PullRequests]) -> None:
        forge, pulls = bitbucket
        forge.says(f"GET {self.PULLS}/7", self.pull())
        said = {"id": 5, "content": {"raw": f"old\n\n{hidden('m')}"}, "deleted": False}
        forge.says(f"GET {self.PULLS}/7/comments", {"values": [said]})
        forge.says(f"PUT {self.PULLS}/7/comments/5", {})
        forge.says(f"POST {self.PULLS}/7/decline", self.pull(state="DECLINED"))
        pull = await pulls.get(7)
        await pulls.comment(pull, "m", "new")
        await pulls.close(pull)
        assert forge.calls()[-2:] == [f"PUT {self.PULLS}/7/comments/5", f"POST {self.PULLS}/7/decline"]


class TestBitbucketServer:
    PULLS = "/rest/api/latest/projects/SHOP/repos/manifests/pull-requests"

    def pull(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": 7,
            "version": 3,
            "title": "web 1.4.2",
            "description": "What it is.",
            "state": "OPEN",
            "fromRef": {
                "id": f"refs/heads/{HEAD}",
                "displayId": HEAD,
                "latestCommit": SHA,
                "repository": {"id": 5, "slug": "manifests"},
            },
            "toRef": {"id": f"refs/heads/{BASE}", "displayId": BASE, "repository": {"id": 5, "slug": "manifests"}},
            "reviewers": [{"user": {"name": "ann"}, "role": "REVIEWER"}],
            "links": {"self": [{"href": "https://git.example/projects/SHOP/repos/manifests/pull-requests/7"}]},
            **fields,
        }

    @pytest.fixture
    async def server(self, stack: AsyncExitStack) -> tuple[Forge, PullRequests]:
        return await stack.enter_async_context(serving("bitbucket-server", "scm/SHOP/manifests.git"))

    async def test_one_is_opened(self, server: tuple[Forge, PullRequests]) -> None:
        forge, pulls = server
        forge.says(f"POST {self.PULLS}", self.pull(), status=201)
        made, _ = await pulls.create(WANTED)
        assert (made.number, made.state, made.commit) == (7, "open", SHA)
        body = forge.body(f"POST {self.PULLS}")
        assert body["fromRef"]["id"] == f"refs/heads/{HEAD}"
        assert body["toRef"]["repository"] == {"slug": "manifests", "project": {"key": "SHOP"}}
        assert body["reviewers"] == [{"user": {"name": "ann"}}]

    async def test_the_last_one_of_a_branch_is_found_over_pages(self, server: tuple[Forge, PullRequests]) -> None:
        forge, pulls = server
        other = self.pull(id=9, toRef={"id": "refs/heads/x", "displayId": "x"})
        merged = self.pull(state="MERGED", properties={"mergeCommit": {"id": MERGE, "displayId": MERGE[:11]}})
        forge.says(
            f"GET {self.PULLS}",
            {"values": [other], "isLastPage": False, "nextPageStart": 1},
            {"values": [merged], "isLastPage": True},
        )
        found = await pulls.find(HEAD, BASE)
        assert found is not None
        assert (found.number, found.state, found.merge) == (7, "merged", MERGE)
        assert forge.asked[1].query["start"] == "1"

    async def test_every_change_names_the_version(self, server: tuple[Forge, PullRequests]) -> None:
        forge, pulls = server
        forge.says(f"GET {self.PULLS}/7", self.pull())
        forge.says(f"PUT {self.PULLS}/7", self.pull(version=4))
        forge.says(f"POST {self.PULLS}/7/decline", self.pull(state="DECLINED"))
        pull = await pulls.get(7)
        await pulls.update(pull, "t", "b")
        assert forge.body(f"PUT {self.PULLS}/7") == {
            "version": 3,
            "title": "t",
            "description": "b",
            "reviewers": [{"user": {"name": "ann"}}],
        }
        await pulls.close(pull)
        assert forge.asked[-1].query == {"version": "3"}

    async def test_one_comment_is_changed(self, server: tuple[Forge, PullRequests]) -> None:
        forge, pulls = server
        forge.says(f"GET {self.PULLS}/7", self.pull())
        said = {"action": "COMMENTED", "comment": {"id": 5, "version": 2, "text": f"old\n\n{hidden('m')}"}}
        forge.says(f"GET {self.PULLS}/7/activities", {"values": [{"action": "OPENED"}, said], "isLastPage": True})
        forge.says(f"PUT {self.PULLS}/7/comments/5", {})
        await pulls.comment(await pulls.get(7), "m", "new")
        assert forge.body(f"PUT {self.PULLS}/7/comments/5") == {"text": f"new\n\n{hidden('m')}", "version": 2}

    async def test_it_is_merged_once_its_checks_allow_it(self, server: tuple[Forge, PullRequests]) -> None:
        forge, pulls = server
        forge.says(f"GET {self.PULLS}/7", self.pull())
        forge.says(f"GET {self.PULLS}/7/merge", {"canMerge": False, "vetoes": [{"summaryMessage": "builds"}]})
        assert await pulls.merge(await pulls.get(7), "merge") == "waiting"
        forge.says(f"GET {self.PULLS}/7/merge", {"canMerge": True, "conflicted": False, "vetoes": []})
        builds = f"GET /rest/build-status/latest/commits/stats/{SHA}"
        forge.says(builds, {"successful": 1, "inProgress": 0, "failed": 1})
        assert await pulls.merge(await pulls.get(7), "merge") == "waiting"
        forge.says(builds, {"successful": 2, "inProgress": 0, "failed": 0})
        forge.says(f"POST {self.PULLS}/7/merge", self.pull(state="MERGED"))
        assert await pulls.merge(await pulls.get(7), "merge") == "merged"
        assert forge.asked[-1].query == {"version": "3"}


class TestAzure:
    PULLS = "/shop/_apis/git/repositories/manifests/pullrequests"

    def pull(self, **fields: Any) -> dict[str, Any]:
        return {
            "pullRequestId": 7,
            "status": "active",
            "createdBy": {"id": "d6245f20-2af8-44f4-9451-8107cb2767db"},
            "title": "web 1.4.2",
            "description": "What it is.",
            "sourceRefName": f"refs/heads/{HEAD}",
            "targetRefName": f"refs/heads/{BASE}",
            "lastMergeSourceCommit": {"commitId": SHA},
            "lastMergeCommit": {"commitId": MERGE},
            **fields,
        }

    @pytest.fixture
    async def azure(self, stack: AsyncExitStack) -> tuple[Forge, PullRequests]:
        repository = "https://dev.azure.com/org/shop/_git/manifests"
        return await stack.enter_async_context(serving("azure", repository, api="/org"))

    async def test_one_is_opened(self, azure: tuple[Forge, PullRequests]) -> None:
        forge, pulls = azure
        forge.says(f"POST /org{self.PULLS}", self.pull(), status=201)
        forge.says(f"PUT /org{self.PULLS}/7/reviewers/ann", {})
        made, refused = await pulls.create(WANTED)
        assert (made.number, made.state, made.head, made.commit, made.merge) == (7, "open", HEAD, SHA, "")
        assert made.url == "https://dev.azure.com/org/shop/_git/manifests/pullrequest/7"
        assert refused == ["assignees: Azure DevOps has none"]
        body = forge.body(f"POST /org{self.PULLS}")
        assert body["sourceRefName"] == f"refs/heads/{HEAD}"
        assert body["labels"] == [{"name": "promotion"}, {"name": "image"}]
        assert forge.asked[0].query["api-version"] == "7.1"
        assert forge.asked[0].headers["Authorization"] == "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode()

    async def test_it_is_found_completed_and_abandoned(self, azure: tuple[Forge, PullRequests]) -> None:
        forge, pulls = azure
        forge.says(f"GET /org{self.PULLS}", {"value": [self.pull(status="completed")], "count": 1})
        found = await pulls.find(HEAD, BASE)
        assert found is not None
        assert (found.state, found.merge) == ("merged", MERGE)
        assert forge.asked[0].query["searchCriteria.sourceRefName"] == f"refs/heads/{HEAD}"
        forge.says(f"GET /org{self.PULLS}/7", self.pull())
        forge.says(f"PATCH /org{self.PULLS}/7", self.pull())
        statuses = f"GET /org{self.PULLS.replace('pullrequests', 'commits')}/{SHA}/statuses"
        forge.says(statuses, {"value": [{"state": "succeeded"}, {"state": "failed"}]})
        assert await pulls.merge(await pulls.get(7), "rebase") == "waiting"
        forge.says(statuses, {"value": [{"state": "succeeded"}, {"state": "notApplicable"}]})
        assert await pulls.merge(await pulls.get(7), "rebase") == "scheduled"
        body = forge.body(f"PATCH /org{self.PULLS}/7")
        assert body["autoCompleteSetBy"] == {"id": "d6245f20-2af8-44f4-9451-8107cb2767db"}
        assert body["completionOptions"]["mergeStrategy"] == "rebase"
        await pulls.unschedule(await pulls.get(7))
        assert forge.body(f"PATCH /org{self.PULLS}/7") == {
            "autoCompleteSetBy": {"id": "00000000-0000-0000-0000-000000000000"}
        }
        await pulls.close(await pulls.get(7))
        assert forge.body(f"PATCH /org{self.PULLS}/7") == {"status": "abandoned"}

    async def test_one_thread_is_kept(self, azure: tuple[Forge, PullRequests]) -> None:
        forge, pulls = azure
        forge.says(f"GET /org{self.PULLS}/7", self.pull())
        forge.says(f"GET /org{self.PULLS}/7/threads", {"value": []})
        forge.says(f"POST /org{self.PULLS}/7/threads", {})
        pull = await pulls.get(7)
        await pulls.comment(pull, "m", "one")
        assert forge.body(f"POST /org{self.PULLS}/7/threads")["comments"][0]["content"] == f"one\n\n{hidden('m')}"
        thread = {"id": 4, "comments": [{"id": 1, "content": f"one\n\n{hidden('m')}"}]}
        forge.says(f"GET /org{self.PULLS}/7/threads", {"value": [thread]})
        forge.says(f"PATCH /org{self.PULLS}/7/threads/4/comments/1", {})
        await pulls.comment(pull, "m", "two")
        assert forge.body(f"PATCH /org{self.PULLS}/7/threads/4/comments/1") == {"content": f"two\n\n{hidden('m')}"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("github", "/api/v3/repos/shop/manifests/pulls"),
        ("gitlab", "/api/v4/projects/shop%2Fmanifests/merge_requests"),
        ("bitbucket-server", "/rest/api/latest/projects/shop/repos/manifests/pull-requests"),
    ],
)
@pytest.mark.parametrize("status", [500, 502, 429])
async def test_a_forge_that_is_ill_is_asked_again(stack: AsyncExitStack, name: str, path: str, status: int) -> None:
    forge, pulls = await stack.enter_async_context(serving(name, "shop/manifests.git"))
    forge.says(f"GET {path}", {"message": "try later"}, status=status)
    with pytest.raises(TransientError, match=str(status)):
        await pulls.open()


async def test_a_forge_without_pull_requests_says_so() -> None:
    with pytest.raises(PermanentError, match="generic has no pull requests"):
        async with serving("generic", "shop/manifests.git"):
            pass
