"""Deliveries that no forge sends, signed or not: each has one clear answer, and the service goes on (threats A3 to A5)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from multidict import CIMultiDict

from tests.integration.intake import LIMIT, OTHER, SECRET, Intake, documents, shop
from tests.unit.forges.test_forge_payloads import paths, replaced
from tests.webhooks import Sample, sample, samples, signature, signed

pytestmark = pytest.mark.integration

A, B, GONE = "a" * 40, "b" * 40, "0" * 40
WORTHLESS: list[Any] = [
    None, True, 7, -1, 1.5, 1 << 70, "", "x" * 5000, "\x00", "refs/heads/\ud800", "://", "https://[", "git@h:x",
    [], [None], [[]], {}, {"": None}, "refs/heads/main", A, GONE,
]  # fmt: skip


async def spoken(intake: Intake, said: bytes) -> list[int]:
    """The statuses of all answers to these bytes on one connection, in their order, until it ends."""
    host, _, port = intake.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said + b"GET /healthz HTTP/1.1\r\nHost: windlass\r\nConnection: close\r\n\r\n")
    answers = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]
    return statuses[:-1] if answers.endswith(b'{"status":"ok"}') else statuses


def request(body: bytes, *fields: tuple[str, str], path: str = "/webhooks/shop", length: bool = True) -> bytes:
    """A request's bytes, with just these fields in this order."""
    lines = [f"POST {path} HTTP/1.1", "Host: windlass", *(f"{name}: {value}" for name, value in fields)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def by_gitea(body: bytes, secret: str = SECRET) -> list[tuple[str, str]]:
    headers = {**sample("gitea-push").headers, **signature("gitea", secret.encode(), body)}
    return list(headers.items())


class TestSeveralRefsInOnePush:
    async def test_each_followed_one_counts_and_the_others_do_not(self, intake: Intake) -> None:
        intake.write(*documents(shop(), branches=("main", "staging", "gone")))
        updates = [
            {"ref": "refs/heads/main", "after": A},
            {"ref": "refs/heads/staging", "after": B},
            {"ref": "refs/heads/gone", "after": GONE},
            {"ref": "refs/heads/nobodys", "after": A},
            {"ref": "refs/tags/v1.4.2", "after": A},
        ]
        generic = sample("generic-push")
        intake.write(*documents(shop(forge="generic", url=generic.url), branches=("main", "staging", "gone")))
        status, answer = await intake.deliver(generic, updates=updates)
        assert status == 202
        refs = sorted(row["ref"] for row in answer["sources"])
        assert refs == ["refs/heads/main", "refs/heads/staging", "refs/tags/v1.4.2"]
        assert len(await intake.jobs()) == 3

    async def test_a_push_of_more_refs_than_anybody_has(self, intake: Intake) -> None:
        generic = sample("generic-push")
        intake.write(*documents(shop(forge="generic", url=generic.url)))
        updates = [{"ref": f"refs/heads/b{n}", "after": A} for n in range(1500)]
        status, answer = await intake.deliver(generic, updates=[*updates, {"ref": "refs/heads/main", "after": A}])
        assert (status, len(answer["sources"])) == (202, 1)

    async def test_the_same_ref_twice_is_one_source(self, intake: Intake) -> None:
        generic = sample("generic-push")
        intake.write(*documents(shop(forge="generic", url=generic.url)))
        updates = [{"ref": "refs/heads/main", "after": commit} for commit in (A, B)]
        _, answer = await intake.deliver(generic, updates=updates)
        assert [row["generation"] for row in answer["sources"]] == [1]


class TestSignatures:
    async def test_of_two_signatures_the_first_is_the_one(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        body = sample("gitea-push").raw
        right, wrong = ("X-Gitea-Signature", by_gitea(body)[-1][1]), ("X-Gitea-Signature", "0" * 64)
        others = [field for field in by_gitea(body) if field[0] != "X-Gitea-Signature"]
        assert ("X-Gitea-Signature", right[1]) in by_gitea(body)
        assert await spoken(intake, request(body, *others, wrong, wrong)) == [401]
        assert await spoken(intake, request(body, *others, wrong, right)) == [401]
        assert await spoken(intake, request(body, *others, right, wrong)) == [202]

    async def test_a_signature_belongs_to_its_bytes_and_its_endpoint(self, intake: Intake) -> None:
        intake.write(*documents(shop(), shop("http://git.example:3000/a/b.git", name="other", secrets=["OTHER"])))
        item = sample("gitea-push")
        assert (await intake.post("shop", item.raw + b"\n", signed(item, SECRET.encode())))[0] == 401
        assert (await intake.post("other", item.raw, signed(item, SECRET.encode())))[0] == 401
        assert (await intake.post("shop", item.raw, signed(item, OTHER.encode())))[0] == 401
        assert await intake.keys() == set()

    @pytest.mark.parametrize(
        "value", ["sha256=" + "f" * 7000, "\x80\xff", "{}", "sha256=\u00e9".encode().decode("latin-1")]
    )
    async def test_a_malformed_one_is_none(self, intake: Intake, value: str) -> None:
        intake.write(*documents(shop()))
        assert await spoken(intake, request(b"{}", ("X-Gitea-Event", "push"), ("X-Gitea-Signature", value))) == [401]

    async def test_one_endpoint_for_repositories_of_two_forges(self, intake: Intake) -> None:
        github = sample("github-push")
        intake.write(
            *documents(shop(endpoint="all"), shop(github.url, "github", name="hub", endpoint="all", secrets=["OTHER"]))
        )
        _, answer = await intake.deliver(sample("gitea-push"), name="all")
        assert [row["source"].rsplit("-", 2)[0] for row in answer["sources"]] == ["shop"]
        _, answer = await intake.deliver(github, name="all", secret=OTHER)
        assert [row["source"].rsplit("-", 2)[0] for row in answer["sources"]] == ["hub"]
        assert (await intake.deliver(github, name="all"))[0] == 401

    async def test_one_secret_for_two_forges_on_one_endpoint(self, intake: Intake) -> None:
        """Gitea signs in GitHub's way too: its own repository is found all the same."""
        hub = shop("https://github.com/a/b.git", "github", name="hub", endpoint="all")
        intake.write(*documents(hub, shop(endpoint="all")))
        item = sample("gitea-push")
        headers = signed(item, SECRET.encode())
        headers.update(signature("github", SECRET.encode(), item.raw))
        status, answer = await intake.post("all", item.raw, headers)
        assert status == 202
        assert [row["source"].rsplit("-", 2)[0] for row in answer["sources"]] == ["shop"]


class TestAzure:
    """Basic authentication is all that Azure DevOps offers."""

    @pytest.fixture
    def azure(self, intake: Intake) -> Sample:
        item = sample("azure-push")
        intake.write(*documents(shop(item.url, "azure")))
        return item

    @pytest.mark.parametrize(
        ("value", "status"),
        [
            ("Basic " + base64.b64encode(f"anybody:{SECRET}".encode()).decode(), 202),
            ("basic " + base64.b64encode(f":{SECRET}".encode()).decode(), 202),
            ("Basic " + base64.b64encode(SECRET.encode()).decode(), 401),
            ("Basic " + base64.b64encode(f"{SECRET}:".encode()).decode(), 401),
            ("Basic " + base64.b64encode(b"anybody:").decode(), 401),
            ("Basic " + base64.b64encode(b"\xff:\xfe").decode(), 401),
            ("Basic " + base64.b64encode(f"a:{SECRET}".encode()).decode() + "!", 401),
            ("Basic", 401),
            (f"Bearer {SECRET}", 401),
            (SECRET, 401),
        ],
    )
    async def test_the_password_and_nothing_else(self, intake: Intake, azure: Sample, value: str, status: int) -> None:
        assert (await intake.post("shop", azure.raw, {**azure.headers, "Authorization": value}))[0] == status


class TestContentTypes:
    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/octet-stream", "", "a" * 500, "application/json; charset=latin-1"]
    )
    async def test_json_is_json_whatever_it_is_called(self, intake: Intake, kind: str) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        headers = signed(item, SECRET.encode())
        headers["Content-Type"] = kind
        assert (await intake.post("shop", item.raw, headers))[0] == 202

    async def test_githubs_form_is_signed_as_it_is_sent(self, intake: Intake) -> None:
        item = sample("github-push")
        intake.write(*documents(shop(item.url, "github")))
        body = urlencode({"payload": item.raw.decode()}).encode()
        headers = signed(item, SECRET.encode(), body)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        assert (await intake.post("shop", body, headers))[0] == 202

    @pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
    async def test_what_is_not_json_is_400_once_verified(self, intake: Intake, kind: str) -> None:
        item = sample("github-push")
        intake.write(*documents(shop(item.url, "github")))
        body = b'--x\r\nContent-Disposition: form-data; name="payload"\r\n\r\n{}\r\n--x--\r\n'
        headers = signed(item, SECRET.encode(), body)
        headers["Content-Type"] = kind
        assert (await intake.post("shop", body, headers))[0] == 400
        headers["X-Hub-Signature-256"] = "sha256=" + "0" * 64
        assert (await intake.post("shop", body, headers))[0] == 401


class TestOnTheWire:
    async def test_pipelined_deliveries_are_answered_in_order_and_each_judged_alone(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        bodies = [json.dumps(sample("gitea-push").body | {"after": f"{n:040x}"}).encode() for n in range(1, 4)]
        unsigned = request(bodies[1], *by_gitea(bodies[0]))
        first, _, last = (request(body, *by_gitea(body)) for body in bodies)
        assert await spoken(intake, first + unsigned + last) == [202, 401, 202]
        (job,) = await intake.jobs()
        assert await intake.queue.generation(job.removesuffix("-1")) == 2

    @pytest.mark.parametrize("refused", [("Content-Encoding", "gzip"), ("Content-Length", str(LIMIT + 1))])
    async def test_a_body_that_is_not_read_is_no_request(self, intake: Intake, refused: tuple[str, str]) -> None:
        intake.write(*documents(shop()))
        body = sample("gitea-push").raw
        inner = request(body, *by_gitea(body))
        outer = request(inner, refused, length=refused[0] != "Content-Length")
        (status,) = await spoken(intake, outer)
        assert status in (413, 415)
        assert await intake.keys() == set()

    @pytest.mark.parametrize(
        "fields",
        [
            [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
            [("Content-Length", "5"), ("Content-Length", "6")],
            [("Transfer-Encoding", "chunked, identity")],
            [("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "3")],
            [("Content-Length", "+5")],
            [("Content-Length", "5 5")],
        ],
        ids=lambda fields: "+".join(f"{name}={value}" for name, value in fields),
    )
    async def test_a_length_that_can_be_read_in_two_ways_is_400(
        self, intake: Intake, fields: list[tuple[str, str]]
    ) -> None:
        intake.write(*documents(shop()))
        body = b"0\r\n\r\n" + request(sample("gitea-push").raw, *by_gitea(sample("gitea-push").raw))
        assert await spoken(intake, request(body, *fields, length=False)) == [400]
        assert await intake.keys() == set()

    @pytest.mark.parametrize(
        "path",
        ["/webhooks/", "/webhooks/%ff%fe", "/webhooks/shop/x", "/webhooks/shop%2f", "/webhooks/..%2fhealthz", "//shop",
         "/webhooks/" + "a" * 5000, "/webhooks/%00", "/webhooks/shop%0d%0aX:y", "/WEBHOOKS/shop", "*"],
    )  # fmt: skip
    async def test_another_path_is_no_endpoint(self, intake: Intake, path: str) -> None:
        intake.write(*documents(shop()))
        body = sample("gitea-push").raw
        (status,) = await spoken(intake, request(body, *by_gitea(body), path=path))
        assert 400 <= status < 500
        assert await intake.keys() == set()

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", "FOO"])
    async def test_another_method_is_refused(self, intake: Intake, method: str) -> None:
        intake.write(*documents(shop()))
        body = sample("gitea-push").raw
        statuses = await spoken(intake, request(body, *by_gitea(body)).replace(b"POST", method.encode(), 1))
        assert statuses
        assert all(400 <= status < 500 for status in statuses)
        assert await intake.keys() == set()

    @pytest.mark.parametrize(
        "said", [b"PRI / HTTP/1.1\r\n\r\n", b"POST /\x00 HTTP/1.1\r\n\r\n", b"POST / HTTP/9\r\n\r\n"]
    )
    async def test_what_is_no_http_makes_no_error_of_ours(
        self, intake: Intake, said: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert await spoken(intake, said) == [400]
        assert [record.levelname for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert not any(record.exc_info for record in caplog.records if record.levelno > logging.DEBUG)


class TestSignedGarbage:
    @pytest.mark.parametrize("name", sorted({item.name for item in samples()}))
    async def test_any_damage_to_any_field_is_an_answer_and_never_an_error_of_ours(
        self, intake: Intake, name: str
    ) -> None:
        item, dice = sample(name), random.Random(name)
        intake.write(*documents(shop(item.url, item.forge), branches=("main", "staging")))
        for path in dice.sample(places := paths(item.body), min(25, len(places))):
            value = dice.choice(WORTHLESS)
            body = json.dumps(replaced(item.body, path, value, drop=bool(path) and dice.random() < 0.3)).encode()
            headers = CIMultiDict({**item.headers, **signature(item.forge, SECRET.encode(), body)})
            status, _ = await intake.post("shop", body, headers)
            assert status in (200, 202, 400), (path, value)
        assert (await intake.deliver(item))[0] in (200, 202)

    @pytest.mark.parametrize(
        "body",
        [b"\xff\xfe\xfd", b'{"ref": "\xff"}', b'{"ref": "\\ud800"}', b"\x00" * 100, b"[" * 200_000, b'{"a":' * 40_000,
         b'{"ref":' + b"9" * 200_000 + b"}", b"", b" ", b"null", b'"' + b"\\u0000" * 10_000 + b'"', b"NaN", b"{}{}"],
        ids=lambda body: f"{body[:8]!r}x{len(body)}",
    )  # fmt: skip
    @pytest.mark.parametrize(
        "forge", ["github", "gitea", "gitlab", "bitbucket", "bitbucket-server", "azure", "generic"]
    )
    async def test_bytes_that_are_no_payload(self, intake: Intake, forge: str, body: bytes) -> None:
        item = sample(f"{forge}-push")
        intake.write(*documents(shop(item.url, forge)))
        status, answer = await intake.post("shop", body, signed(item, SECRET.encode(), body))
        assert status == 400
        assert 0 < len(answer["error"]) <= 500
        assert await intake.keys() == set()
