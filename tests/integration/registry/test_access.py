"""How a registry is asked: real ones with passwords and tokens, and one that answers as it likes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.registry.catalog import catalog, registry
from tests.integration.registry.hostile import Hostile, serving
from tests.parts.registry import OCI_CONFIG, OCI_MANIFEST, Registry
from tests.parts.token_service import TokenService
from windlass.errors import PermanentError, TransientError
from windlass.forges.calls import RefusedError
from windlass.secrets import Secrets
from workers.registry.access import Access
from workers.registry.api import RegistryApi, Tags

pytestmark = pytest.mark.integration

PASSWORD = "an old pass"
BCRYPT = "$2b$04$wDbspRAudo5I.OOLZdpM6eqZrDNaFUCd4ll5refMtWAO9e/rQpWuu"
Asks = Callable[..., RegistryApi]


@pytest.fixture
async def asks(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asks]:
    """Makes access to a registry at this address, by documents that say more."""
    monkeypatch.setenv("PASSWORD", PASSWORD)
    made: list[RegistryApi] = []

    def make(url: str, *, login: bool = False, **more: Any) -> RegistryApi:
        if login:
            more["credentials"] = {"username": "windlass", "password": {"env": "PASSWORD"}}
        spec = catalog(registry("registry.example", url, **more)).registries["ours"].spec
        made.append(RegistryApi(Access(spec, Secrets())))
        return made[-1]

    yield make
    for api in made:
        await api.close()


@pytest.fixture(scope="module")
def basic(parts_folder: Path) -> Iterator[Registry]:
    folder = parts_folder / "registry-basic"
    folder.mkdir()
    (folder / "htpasswd").write_text(f"windlass:{BCRYPT}\n")
    with Registry(folder, auth={"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}) as server:
        server.login("windlass", PASSWORD)
        server.push("shop/web", "1.0.0")
        yield server


class TestRealRegistries:
    """CNCF Distribution with each of its two ways to know who asks."""

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[TokenService]:
        with TokenService(tmp_path, {"windlass": PASSWORD}) as service:
            yield service

    @pytest.fixture
    def bearer(self, tmp_path: Path, service: TokenService) -> Iterator[Registry]:
        with Registry(tmp_path / "registry", auth=service.auth) as server:
            server.headers["Authorization"] = f"Bearer {service.token('repository:shop/web:pull,push')}"
            server.push("shop/web", "1.0.0")
            yield server

    async def test_with_a_password(self, basic: Registry, asks: Asks) -> None:
        api = asks(basic.url, login=True)
        assert await api.tags("shop/web") == Tags(("1.0.0",), "")
        assert (await api.made("shop/web", "1.0.0")).at > 0

    async def test_a_wrong_password_is_an_error_that_does_not_repeat_it(
        self, basic: Registry, asks: Asks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PASSWORD", "wr0ng")
        with pytest.raises(RefusedError, match="lets not user windlass repository:shop/web:pull") as caught:
            await asks(basic.url, login=True).tags("shop/web")
        assert "wr0ng" not in str(caught.value)

    async def test_a_password_that_was_changed_is_used_at_once(
        self, basic: Registry, asks: Asks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = asks(basic.url, login=True)
        monkeypatch.setenv("PASSWORD", "wr0ng")
        with pytest.raises(RefusedError):
            await api.tags("shop/web")
        monkeypatch.setenv("PASSWORD", PASSWORD)
        assert await api.tags("shop/web")

    async def test_with_a_token_of_a_service_that_the_document_trusts(
        self, bearer: Registry, service: TokenService, asks: Asks
    ) -> None:
        api = asks(bearer.url, login=True, trusted=[service.host])
        assert await api.tags("shop/web") == Tags(("1.0.0",), "")
        assert (await api.made("shop/web", "1.0.0")).at > 0
        assert service.asked == [("windlass", "repository:shop/web:pull")], "one token serves all"

    async def test_a_token_that_is_over_is_asked_for_again(
        self, bearer: Registry, service: TokenService, asks: Asks
    ) -> None:
        service.lives = -3600  # as the registry sees it; what we are told of is taken for a minute
        api = asks(bearer.url, login=True, trusted=[service.host])
        with pytest.raises(RefusedError):
            await api.tags("shop/web")
        service.lives = 60
        assert await api.tags("shop/web")
        assert len(service.asked) == 2

    async def test_no_other_service_hears_of_the_credentials(
        self, bearer: Registry, service: TokenService, asks: Asks
    ) -> None:
        with pytest.raises(
            PermanentError, match=f"for a token to http://{service.host}/token; if that is right, name it"
        ):
            await asks(bearer.url, login=True).tags("shop/web")
        assert service.asked == []


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    async with serving() as made:
        yield made


TAGS = "/v2/shop/web/tags/list"


class TestPages:
    """Link (RFC 8288), as the specification and real registries write it."""

    async def test_all_pages_are_read(self, hostile: Hostile, asks: Asks) -> None:
        hostile.says(f"{TAGS}?n=1000", {"tags": ["b", "a"]}, Link=f'<{TAGS}?n=1000&last=b>; rel="next"')
        hostile.says(
            f"{TAGS}?n=1000&last=b", {"tags": ["c"]}, Link=f"<{hostile.url}{TAGS}?last=c%2F>; rel=next", ETag='"x"'
        )
        hostile.says(f"{TAGS}?last=c%2F", {"tags": ["d", "b"]})
        assert await asks(hostile.url).tags("shop/web") == Tags(("a", "b", "c", "d"), "")

    async def test_a_page_that_follows_itself_ends(self, hostile: Hostile, asks: Asks) -> None:
        hostile.says(TAGS, {"tags": ["a"]}, Link=f'<{TAGS}?n=1000>; rel="next"')
        assert await asks(hostile.url).tags("shop/web") == Tags(("a",), "")

    async def test_pages_without_an_end_are_an_error(self, hostile: Hostile, asks: Asks) -> None:
        hostile.says(TAGS, {"tags": ["a"]}, Link=f'<{TAGS}?n=1>; rel="next"')
        hostile.says(f"{TAGS}?n=1", {"tags": ["a"]}, Link=f'<{TAGS}?n=2>; rel="next"')
        hostile.says(f"{TAGS}?n=2", {"tags": ["a"]}, Link=f'<{TAGS}?n=1>; rel="next"')
        with pytest.raises(PermanentError, match="more tags than 100 pages"):
            await asks(hostile.url).tags("shop/web")

    async def test_no_page_is_somewhere_else(self, hostile: Hostile, asks: Asks) -> None:
        async with serving() as other:
            hostile.says(TAGS, {"tags": ["a"]}, Link=f'<{other.url}/x>; rel="next"')
            with pytest.raises(PermanentError, match="sends us to"):
                await asks(hostile.url).tags("shop/web")
            assert other.asked == []


async def test_a_list_that_did_not_change_is_not_sent_again(hostile: Hostile, asks: Asks) -> None:
    hostile.says(TAGS, {"tags": ["a"]}, ETag='"one"')
    api = asks(hostile.url)
    assert await api.tags("shop/web") == Tags(("a",), '"one"')
    hostile.says(TAGS, status=304, raw=b"")
    assert await api.tags("shop/web", '"one"') is None
    assert hostile.asked[-1].headers["If-None-Match"] == '"one"'


async def test_who_asks_for_patience_is_given_it(hostile: Hostile, asks: Asks) -> None:
    hostile.says(TAGS, {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}, status=429, Retry_After="42")
    with pytest.raises(TransientError, match="429: slow down") as caught:
        await asks(hostile.url).tags("shop/web")
    assert caught.value.retry_after == 42


@pytest.mark.parametrize(
    "answer", [None, [], {"tags": None}, {"tags": "abc"}, {"tags": [1, {}, "a b", "../x", "", "-x"]}]
)
async def test_what_is_no_tag_is_none(answer: Any, hostile: Hostile, asks: Asks) -> None:
    hostile.says(TAGS, answer)
    assert await asks(hostile.url).tags("shop/web") == Tags((), "")


async def test_a_digest_that_is_none_is_not_believed(hostile: Hostile, asks: Asks) -> None:
    hostile.says("/v2/shop/web/manifests/1", Docker_Content_Digest="sha256:../../x")
    assert await asks(hostile.url).digest("shop/web", "1") == ""
    assert await asks(hostile.url).digest("shop/web", "2") is None


class TestSentElsewhere:
    """Whatever a registry says, credentials stay with it, and we do not ask around in our own network."""

    REALM = 'Bearer realm="{}",service="x",scope="repository:*:*"'

    @pytest.mark.parametrize(
        "realm",
        ["http://127.0.0.1:1/token", "http://169.254.169.254/latest", "file:///etc/passwd", "", "http://[::1", "//x/y",
         "http://windlass@{host}/token", "https://registry.example.evil.example/token"],
    )  # fmt: skip
    async def test_a_token_is_asked_for_nowhere_else(self, realm: str, hostile: Hostile, asks: Asks) -> None:
        challenge = self.REALM.format(realm.format(host=hostile.url.removeprefix("http://")))
        hostile.says(TAGS, status=401, WWW_Authenticate=challenge)
        with pytest.raises(PermanentError, match="sends us for a token to"):
            await asks(hostile.url, login=True).tags("shop/web")
        assert not any("Authorization" in request.headers for request in hostile.asked)

    async def test_the_scope_is_ours_whatever_the_challenge_says(self, hostile: Hostile, asks: Asks) -> None:
        hostile.says(TAGS, status=401, WWW_Authenticate=self.REALM.format(f"{hostile.url}/token"))
        hostile.says("/token", {"access_token": "abc"})
        with pytest.raises(RefusedError):
            await asks(hostile.url).tags("shop/web")
        assert [r.query["scope"] for r in hostile.asked if r.path == "/token"] == ["repository:shop/web:pull"]
        assert hostile.asked[-1].headers["Authorization"] == "Bearer abc"

    @pytest.mark.parametrize("token", [None, 7, "a\r\nHost: x", "ä"])
    async def test_what_is_no_token_is_refused(self, token: Any, hostile: Hostile, asks: Asks) -> None:
        hostile.says(TAGS, status=401, WWW_Authenticate=self.REALM.format(f"{hostile.url}/token"))
        hostile.says("/token", {"token": token})
        with pytest.raises(PermanentError, match="gives no token"):
            await asks(hostile.url).tags("shop/web")

    async def test_a_list_is_not_fetched_from_where_it_is_redirected_to(self, hostile: Hostile, asks: Asks) -> None:
        async with serving() as other:
            hostile.says(TAGS, status=307, Location=f"{other.url}{TAGS}")
            with pytest.raises(PermanentError, match="redirects to another host"):
                await asks(hostile.url, login=True, trusted=[f"127.0.0.1:{other.port}"]).tags("shop/web")
            assert other.asked == []

    async def test_a_blob_in_our_own_network_is_not_fetched(self, hostile: Hostile, asks: Asks) -> None:
        async with serving() as other:
            for location in (
                f"{other.url}/blob",
                f"http://localhost:{other.port}/blob",
                f"http://[::ffff:127.0.0.1]:{other.port}/",
            ):
                self.image(hostile, location)
                with pytest.raises((PermanentError, TransientError)) as caught:
                    await asks(hostile.url).made("shop/web", "1")
                assert "redirects to" in str(caught.value) or "localhost" in str(caught.value)
            assert other.asked == []

    async def test_a_trusted_storage_is_asked_without_credentials(self, hostile: Hostile, asks: Asks) -> None:
        async with serving() as other:
            content = self.image(hostile, f"{other.url}/blob?signed=1")
            other.says("/blob", raw=content)
            hostile.says("/v2/shop/web/manifests/2", status=401, WWW_Authenticate='Basic realm="x"')
            api = asks(hostile.url, login=True, trusted=[f"127.0.0.1:{other.port}"])
            with pytest.raises(RefusedError):
                await api.made("shop/web", "2")  # from now on it is asked with the password
            assert (await api.made("shop/web", "1")).at > 0
            assert "Authorization" in hostile.asked[-1].headers
            assert [request.headers.get("Authorization") for request in other.asked] == [None]

    async def test_a_blob_is_what_its_digest_says(self, hostile: Hostile, asks: Asks) -> None:
        self.image(hostile, "/elsewhere")
        hostile.says("/elsewhere", raw=b'{"created": "2999-01-01T00:00:00Z"}')
        with pytest.raises(PermanentError, match="is not what its digest says"):
            await asks(hostile.url).made("shop/web", "1")

    def image(self, hostile: Hostile, location: str) -> bytes:
        """An image whose configuration is at ``location``."""
        content = json.dumps({"created": "2026-01-02T03:04:05.123456789Z"}).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        config = {"mediaType": OCI_CONFIG, "digest": digest, "size": len(content)}
        hostile.says("/v2/shop/web/manifests/1", {"mediaType": OCI_MANIFEST, "config": config})
        hostile.says(f"/v2/shop/web/blobs/{digest}", status=307, Location=location)
        return content


@pytest.mark.parametrize(
    "labels",
    [
        {"org.opencontainers.image.revision": "x; rm -rf /"},
        {"org.opencontainers.image.source": "javascript:alert(1)"},
        7,
        None,
    ],
)
async def test_labels_that_are_no_commit_and_no_address_are_not_taken(
    labels: Any, hostile: Hostile, asks: Asks
) -> None:
    content = json.dumps({"created": 7, "config": {"Labels": labels}}).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    hostile.says("/v2/shop/web/manifests/1", {"config": {"digest": digest}})
    hostile.says(f"/v2/shop/web/blobs/{digest}", raw=content)
    assert await asks(hostile.url).made("shop/web", "1") == (0.0, "", "")
