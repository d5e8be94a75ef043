"""A GitHub App's token: a JWT of ours, signed with the App's key, is traded for one of the installation's, good for an hour.

API: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App", "Authenticating as a GitHub App installation".
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import NamedTuple

import aiohttp
import msgspec

from windlass.errors import PermanentError
from windlass.forges.calls import call
from windlass.forges.pulls.github import HEADERS, api_of
from windlass.forges.pulls.model import Place, named
from windlass.forges.status import bearer

SKEW = 60.0
"""Seconds that GitHub's clock may be behind ours; its JWTs live 10 minutes at most."""
LIFETIME = 540.0
SPARE = 300.0
"""Seconds before its end at which a token is no longer used."""


class _Token(NamedTuple):
    value: str
    until: float


class GithubApps:
    """The installation tokens of this process, kept for as long as they are good."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    async def token(
        self, session: aiohttp.ClientSession, place: Place, *, app: str, key: bytes, installation: str | None
    ) -> str:
        """A token for the repository at ``place``, and for no other.

        :raises PermanentError: the key is none, or GitHub doesn't know the App there.
        :raises TransientError: GitHub is away.
        """
        name = app, installation or "", place.url
        known = self._tokens.get(name)
        if known is not None and known.until > time.time():
            return known.value
        proof = _proof(app, key)
        headers = {**HEADERS, **bearer(proof)}
        api = api_of(place)
        if installation is None:
            found = await call(
                session,
                "GET",
                f"{api}/repos/{place.owner}/{place.name}/installation",
                headers=headers,
                secrets=(proof,),
            )
            installation = str(found.value["id"])
        made = await call(
            session,
            "POST",
            f"{api}/app/installations/{installation}/access_tokens",
            headers=headers,
            body={"repositories": [place.name]},
            secrets=(proof,),
        )
        token = _Token(named(made.value, "token"), _end(named(made.value, "expires_at")))
        if not token.value:
            raise PermanentError("GitHub gave the App no token")
        self._tokens[name] = token
        return token.value


def _proof(app: str, key: bytes) -> str:
    import jwt  # with all of cryptography: only Apps need it

    now = time.time()
    claims = {"iat": int(now - SKEW), "exp": int(now + LIFETIME), "iss": app}
    try:
        return jwt.encode(claims, key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise PermanentError(f"the private key of GitHub App {app} is not an RSA key in PEM") from None


def _end(expires_at: str) -> float:
    try:
        return msgspec.convert(expires_at, datetime).timestamp() - SPARE
    except msgspec.ValidationError:
        return 0.0
