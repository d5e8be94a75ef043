"""How a worker calls the forges for pull requests: one warm session, a token or a GitHub App's, by the Repository's document."""

from __future__ import annotations

import aiohttp

from windlass.documents.types import Repository
from windlass.errors import PermanentError
from windlass.forges.pulls import Credential, Place, PullRequests, pull_requests
from windlass.forges.pulls.github_app import GithubApps
from windlass.secrets import Secrets
from workers.addresses import guarded

SECONDS = 30.0


class ForgeAccess:
    """Opened when first needed."""

    def __init__(self, secrets: Secrets, seal: bytes) -> None:
        """``seal``: the installation's key, by which comments are known to be ours."""
        self._secrets, self._seal, self._apps = secrets, seal, GithubApps()
        self._session: aiohttp.ClientSession | None = None

    @property
    def plain(self) -> aiohttp.ClientSession:
        """The session; what it sends carries no credential but those of the call itself."""
        if self._session is None:
            self._session = guarded(private=True, seconds=SECONDS)  # a forge may well be the cluster's own
        return self._session

    async def pull_requests(self, document: Repository) -> PullRequests:
        """
        :raises PermanentError: the document says no way, or the forge has none.
        :raises TransientError: a secret isn't there, or GitHub is away.
        """
        api = document.spec.pull_requests
        if api is None:
            raise PermanentError(f"Repository {document.name} has no pullRequests")
        place = Place(document.spec.url, api.api.rstrip("/") if api.api else None)
        if api.app is not None:
            key = self._secrets.resolve(api.app.private_key)
            token = await self._apps.token(
                self.plain, place, app=api.app.id, key=key, installation=api.app.installation
            )
        else:
            assert api.token is not None, "the documents' rules hold"
            token = self._secrets.resolve(api.token).decode(errors="replace")
        return pull_requests(self.plain, document.spec.forge, place, Credential(token, api.username, self._seal))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
