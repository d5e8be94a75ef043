"""How a repository's forge is called for pull requests: by a token, or as a GitHub App. Pure data and its rules."""

from __future__ import annotations

from collections.abc import Iterator

from windlass.documents import syntax
from windlass.documents.base import SecretRef, Strict
from windlass.yamls import Path


class GithubApp(Strict, frozen=True):
    """A GitHub App: its id, its private key (PEM), and its installation; without one, the repository's own is asked for."""

    id: str
    private_key: SecretRef
    installation: str | None = None


class PullRequestApi(Strict, frozen=True):
    """Exactly one of ``token`` and ``app``; ``api`` where it isn't the forge's usual address.

    ``username`` goes with a token that is a user's password (Bitbucket Cloud's app passwords and API tokens).
    """

    token: SecretRef | None = None
    app: GithubApp | None = None
    username: str | None = None
    api: str | None = None
    plan: bool = True  # each pull request is told what merging it would change


def violations(spec: PullRequestApi, forge: str) -> Iterator[tuple[Path, str]]:
    """What is wrong with ``pullRequests`` of a repository on ``forge``; references are judged by `windlass.documents.rules`."""
    if (spec.token is None) == (spec.app is None):
        yield (), "expected exactly one of token and app"
    if forge == "generic":
        yield (), "forge: generic has no pull requests; name the repository's forge"
    if spec.app is not None:
        if forge != "github":
            yield ("app",), "goes with forge: github only"
        for field, value in (("id", spec.app.id), ("installation", spec.app.installation)):
            if value is not None and not (value.isascii() and value.isalnum() and len(value) <= 64):
                yield ("app", field), "expected an id of letters and digits"
    if spec.username is not None and (":" in spec.username or not spec.username.isprintable()):
        yield ("username",), "expected a user name without colons and control characters"
    if spec.username is not None and spec.token is None:
        yield ("username",), "goes with token only"
    if spec.api is not None and not syntax.valid_http(spec.api):
        yield ("api",), "expected an http(s) URL, without user name and query"
