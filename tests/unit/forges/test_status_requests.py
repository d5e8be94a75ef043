"""Each forge's commit status call, as its API documents it."""

from __future__ import annotations

import base64

import pytest

from windlass.errors import PermanentError
from windlass.forges import FORGES, forge
from windlass.forges.status import Status, StatusRequest

COMMIT = "b" * 40


def request(name: str, url: str, **changes: str | None) -> StatusRequest:
    fields = {
        "url": url,
        "commit": COMMIT,
        "state": "failure",
        "context": "windlass/production",
        "description": "shop: no such image",
        "target_url": "https://windlass.example/",
        "token": "t0ken",
        **changes,
    }
    made = forge(name).status_request(Status(**fields))  # type: ignore[arg-type]
    assert made is not None
    return made


def test_github() -> None:
    made = request("github", "git@github.com:octo-shop/manifests.git")
    assert made.url == f"https://api.github.com/repos/octo-shop/manifests/statuses/{COMMIT}"
    assert made.headers["Authorization"] == "Bearer t0ken"
    assert made.headers["X-GitHub-Api-Version"] == "2022-11-28"
    assert made.body == {
        "state": "failure",
        "context": "windlass/production",
        "description": "shop: no such image",
        "target_url": "https://windlass.example/",
    }


def test_github_enterprise_server() -> None:
    made = request("github", "https://github.example/octo-shop/manifests.git")
    assert made.url == f"https://github.example/api/v3/repos/octo-shop/manifests/statuses/{COMMIT}"


@pytest.mark.parametrize("name", ["gitea", "forgejo"])
@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("http://git.example:3000/shop/manifests.git", "http://git.example:3000/api/v1"),
        ("https://example.org/git/shop/manifests", "https://example.org/git/api/v1"),
        ("ssh://git@git.example:2222/shop/manifests.git", "https://git.example/api/v1"),
        ("git@git.example:shop/manifests.git", "https://git.example/api/v1"),
    ],
)
def test_gitea(name: str, url: str, api: str) -> None:
    made = request(name, url)
    assert made.url == f"{api}/repos/shop/manifests/statuses/{COMMIT}"
    assert made.headers["Authorization"] == "token t0ken"
    assert made.body["state"] == "failure"


def test_gitlab() -> None:
    made = request("gitlab", "https://gitlab.example/shop/platform/manifests.git")
    assert made.url == f"https://gitlab.example/api/v4/projects/shop%2Fplatform%2Fmanifests/statuses/{COMMIT}"
    assert made.headers["Authorization"] == "Bearer t0ken"
    assert made.body == {
        "state": "failed",
        "name": "windlass/production",
        "description": "shop: no such image",
        "target_url": "https://windlass.example/",
    }


def test_bitbucket_cloud_needs_a_url_and_a_short_key() -> None:
    made = request("bitbucket", "https://bitbucket.org/octo-shop/manifests.git", target_url=None)
    assert made.url == f"https://api.bitbucket.org/2.0/repositories/octo-shop/manifests/commit/{COMMIT}/statuses/build"
    assert made.body["state"] == "FAILED"
    assert made.body["url"] == "https://bitbucket.org/octo-shop/manifests"
    assert made.body["key"] == "windlass/production"
    long = request("bitbucket", "https://bitbucket.org/o/m.git", context="windlass/" + "x" * 63)
    assert len(long.body["key"]) == 40
    assert long.body["name"] == "windlass/" + "x" * 63


def test_bitbucket_server() -> None:
    made = request("bitbucket-server", "https://bitbucket.example/scm/shop/manifests.git")
    assert made.url == (
        f"https://bitbucket.example/rest/api/latest/projects/shop/repos/manifests/commits/{COMMIT}/builds"
    )
    assert made.body["state"] == "FAILED"


@pytest.mark.parametrize(
    "url",
    [
        "https://dev.azure.com/octo/Web%20Shop/_git/manifests",
        "git@ssh.dev.azure.com:v3/octo/Web%20Shop/manifests",
        "https://octo.visualstudio.com/DefaultCollection/Web%20Shop/_git/manifests",
    ],
)
def test_azure(url: str) -> None:
    made = request("azure", url)
    assert made.url == (
        "https://dev.azure.com/octo/Web%20Shop/_apis/git/repositories/manifests/"
        f"commits/{COMMIT}/statuses?api-version=7.1"
    )
    assert base64.b64decode(made.headers["Authorization"].removeprefix("Basic ")) == b":t0ken"
    assert made.body["context"] == {"name": "production", "genre": "windlass"}
    assert made.body["state"] == "failed"


@pytest.mark.parametrize("state", ["pending", "success", "failure", "error"])
@pytest.mark.parametrize("name", [name for name in FORGES if name != "generic"])
def test_every_state_has_a_word_of_the_forges_own(name: str, state: str) -> None:
    url = "https://dev.azure.com/octo/shop/_git/manifests" if name == "azure" else "https://git.example/shop/manifests"
    assert request(name, url, state=state).body["state"]


def test_an_api_elsewhere_is_used_as_it_is_written() -> None:
    made = request("gitea", "ssh://git@git.example/shop/manifests.git", api="http://gitea.internal:3000/api/v1")
    assert made.url == f"http://gitea.internal:3000/api/v1/repos/shop/manifests/statuses/{COMMIT}"


def test_what_the_generic_forge_cannot_do_it_does_not_do() -> None:
    status = Status("https://git.example/m.git", COMMIT, "success", "c", "d", None, "t")
    assert forge("generic").status_request(status) is None


@pytest.mark.parametrize("url", ["file:///srv/git/manifests", "https://git.example/manifests.git"])
def test_a_repository_without_an_owner_has_no_such_api(url: str) -> None:
    with pytest.raises(PermanentError):
        request("gitea", url)
