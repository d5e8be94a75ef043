"""Intake on real HTTP and a real Redis: what is believed, what is queued, what is answered, and what it may cost us."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import pytest
import yaml

from tests.integration.intake import LIMIT, MANIFESTS, OLD, OTHER, SECRET, TAG, Intake, documents, shop
from tests.parts.redis_server import RedisServer
from tests.parts.windlass import Windlass, repository
from tests.webhooks import Sample, sample, samples, signature, signed
from windlass.queue import LeaseKeeper, Run, SourceQueue

pytestmark = pytest.mark.integration


class TestWhatIsBelieved:
    @pytest.mark.parametrize("item", samples(), ids=lambda item: item.name)
    async def test_every_documented_delivery_signed_and_forged(self, intake: Intake, item: Sample) -> None:
        intake.write(*documents(shop(item.url, item.forge), branches=("main", "staging")))
        status, _ = await intake.deliver(item, secret=OTHER)
        assert status == 401
        assert await intake.keys() == set()

        status, answer = await intake.deliver(item)
        if "ignored" in item.expect or item.expect["kind"] in ("open", "close"):
            assert status == 200
            assert item.expect.get("ignored", "pull requests from") in answer["ignored"]
            assert await intake.keys() == set()
            return
        assert status == 202
        assert answer["event"] == item.expect["delivery"]
        followed = [update for update in item.expect["updates"] if update["after"].strip("0") or not update["after"]]
        assert {row["ref"] for row in answer["sources"]} == {update["ref"] for update in followed}
        assert {row["outcome"] for row in answer["sources"]} == {"queued"}
        assert await intake.jobs() == [f"{row['source']}-1" for row in answer["sources"]]

    async def test_nothing_is_parsed_before_it_is_verified(
        self, intake: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        intake.write(*documents(shop()))

        def parse(*_: object) -> None:
            pytest.fail("unverified bytes reached the parser")

        monkeypatch.setattr("windlass.forges.gitea.parse", parse)
        for body in (b"{", b"[" * 100_000, b"", json.dumps(sample("gitea-push").body).encode()):
            for headers in (
                {},
                {"X-Gitea-Signature": ""},
                {"X-Gitea-Signature": "0" * 64},
                {"X-Hub-Signature": "sha1=" + "0" * 40},
            ):
                assert (await intake.post("shop", body, headers))[0] == 401

    async def test_both_secrets_of_a_rotation(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        assert (await intake.deliver(item, secret=OLD))[0] == 202
        assert (await intake.deliver(item, secret=SECRET))[0] == 202

    async def test_a_rotated_secret_file_is_valid_at_once(self, intake: Intake, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_text("first\n")
        intake.write(*documents(repository("shop", MANIFESTS, webhook={"secrets": [{"file": str(file)}]})))
        item = sample("gitea-push")
        assert (await intake.deliver(item, secret="first"))[0] == 202
        file.write_text("second-one\n")
        assert (await intake.deliver(item, secret="first"))[0] == 401
        assert (await intake.deliver(item, secret="second-one"))[0] == 202

    async def test_no_secret_no_endpoint(self, intake: Intake) -> None:
        catalog = intake.write(*documents(repository("shop", MANIFESTS, webhook={"secrets": []})))
        status, _ = await intake.deliver(sample("gitea-push"))
        assert status == 404
        assert (await intake.deliver(sample("gitea-push"), name="other"))[0] == 404
        assert any("shop" in warning for warning in catalog.warnings)

    async def test_a_secret_that_cannot_be_read_believes_nobody(self, intake: Intake) -> None:
        intake.write(*documents(shop(secrets=["UNSET"])))
        for secret in ("", SECRET):
            assert (await intake.deliver(sample("gitea-push"), secret=secret))[0] == 503
        assert await intake.keys() == set()

    async def test_a_verified_but_malformed_delivery_names_the_field(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        status, answer = await intake.deliver(sample("gitea-push"), ref=7)
        assert status == 400
        assert "$.ref" in answer["error"]
        body = b'{"ref":' * 20_000
        headers = {**sample("gitea-push").headers, **signature("gitea", SECRET.encode(), body)}
        assert (await intake.post("shop", body, headers))[0] == 400


class TestOneEndpointForSeveralRepositories:
    async def test_the_payload_selects_among_exactly_those(self, intake: Intake) -> None:
        intake.write(
            *documents(
                shop(endpoint="organisation"),
                shop("http://git.example:3000/shop/other.git", name="other", endpoint="organisation"),
                shop(name="elsewhere"),
            )
        )
        status, answer = await intake.deliver(sample("gitea-push"), name="organisation")
        assert status == 202
        assert [row["source"].rsplit("-", 2)[0] for row in answer["sources"]] == ["shop"]

    async def test_two_documents_of_one_repository_are_both_marked(self, intake: Intake) -> None:
        intake.write(*documents(shop(endpoint="both"), shop(name="again", endpoint="both")))
        _, answer = await intake.deliver(sample("gitea-push"), name="both")
        assert {row["source"].rsplit("-", 2)[0] for row in answer["sources"]} == {"shop", "again"}

    async def test_a_repositorys_secret_speaks_for_that_repository_only(self, intake: Intake) -> None:
        other = shop("http://git.example:3000/shop/other.git", name="other", endpoint="organisation", secrets=["OTHER"])
        intake.write(*documents(shop(endpoint="organisation"), other))
        status, answer = await intake.deliver(sample("gitea-push"), name="organisation", secret=OTHER)
        assert status == 200
        assert "no repository" in answer["ignored"]
        assert await intake.keys() == set()

    @pytest.mark.parametrize(
        "url",
        [
            "http://git.example:3000/.*",
            "http://git.example:3000/shop/manifests2",
            "https://evil.com/x?http://git.example:3000/shop/manifests",
            "http://git.example:3000@evil.com/shop/manifests",
            "http://git.example/shop/manifests",
        ],
    )
    async def test_another_address_matches_nothing(self, intake: Intake, url: str) -> None:
        intake.write(*documents(shop()))
        status, answer = await intake.deliver(sample("gitea-push"), repository={"clone_url": url})
        assert status == 200
        assert "no repository of this endpoint" in answer["ignored"]
        assert await intake.keys() == set()


class TestWhatIsQueued:
    async def test_a_ref_that_nobody_follows(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        status, answer = await intake.deliver(sample("gitea-push"), ref="refs/heads/feature")
        assert (status, answer["ignored"]) == (200, "no application follows refs/heads/feature")
        assert await intake.keys() == set()

    async def test_a_tag_is_not_the_branch_of_its_name(self, intake: Intake) -> None:
        content = documents(shop())
        content[-2]["spec"]["sources"][0]["branch"] = "v1.4.2"  # type: ignore[index]
        intake.write(*content)
        _, branch = await intake.deliver(sample("gitea-push"), ref="refs/heads/v1.4.2")
        _, tag = await intake.deliver(sample("gitea-push-tag"))
        assert [row["ref"] for row in branch["sources"] + tag["sources"]] == ["refs/heads/v1.4.2", TAG]
        assert branch["sources"][0]["source"] != tag["sources"][0]["source"]

    async def test_a_hundred_pushes_are_one_job(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        answers = await asyncio.gather(
            *[intake.deliver(sample("gitea-push"), after=f"{n:040x}") for n in range(1, 101)]
        )
        assert {status for status, _ in answers} == {202}
        outcomes = [answer["sources"][0]["outcome"] for _, answer in answers]
        assert sorted(outcomes) == ["coalesced"] * 99 + ["queued"]
        assert {answer["sources"][0]["generation"] for _, answer in answers} == set(range(1, 101))
        assert len(await intake.jobs()) == 1

    async def test_the_job_and_the_hint_carry_the_event(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        _, answer = await intake.deliver(item)
        source = answer["sources"][0]["source"]
        job = await intake.redis.hgetall(f"rq:job:{source}-1")
        assert job[b"description"].decode() == f"reconcile {source} (push {item.body['after'][:8]})"
        (hint,) = [orjson.loads(raw) for raw in await intake.redis.lrange(f"windlass:source:{source}:hints", 0, -1)]
        assert hint["event"] == answer["event"] == item.expect["delivery"]
        assert (hint["commit"], hint["before"]) == (item.body["after"], item.body["before"])
        assert abs(hint["received_at"] - time.time()) < 60

    async def test_an_unfit_delivery_id_is_replaced(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        headers = {**signed(item, SECRET.encode()), "X-Gitea-Delivery": "x" * 65}
        _, answer = await intake.post("shop", item.raw, headers)
        assert len(answer["event"]) == 32
        assert int(answer["event"], 16)


class TestRedelivery:
    """Threat A6, by invariant 13: of what is applied it queues nothing; of anything else it retries now."""

    @pytest.fixture
    async def keeper(self, intake: Intake, redis_url: str) -> AsyncIterator[LeaseKeeper]:
        keeper = LeaseKeeper(intake.redis, redis_url)
        await SourceQueue(intake.redis, keeper=keeper).epoch(fresh=True)
        yield keeper
        keeper.close()

    async def begin(self, intake: Intake, keeper: LeaseKeeper, answer: dict[str, Any]) -> Run:
        row = answer["sources"][0]
        run = await SourceQueue(intake.redis, keeper=keeper).begin(
            f"{row['source']}-{row['generation']}", row["source"]
        )
        assert isinstance(run, Run)
        await intake.redis.delete("rq:queue:windlass")
        return run

    async def apply(
        self, intake: Intake, keeper: LeaseKeeper, answer: dict[str, Any], *, dirty: tuple[str, ...] = ()
    ) -> None:
        run = await self.begin(intake, keeper, answer)
        queue = SourceQueue(intake.redis, keeper=keeper)
        commit = run.hints[-1].commit if run.hints else run.processed
        await queue.advance(run, commit=commit, documents="d", dirty=dirty)
        await queue.finish(run, error="it failed" if dirty else "")

    async def test_of_what_is_applied_queues_nothing(self, intake: Intake, keeper: LeaseKeeper) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        _, answer = await intake.deliver(item)
        await self.apply(intake, keeper, answer)
        for _ in range(3):
            status, again = await intake.deliver(item)
            assert status == 200
            assert [row["outcome"] for row in again["sources"]] == ["applied"]
            assert again["sources"][0]["generation"] == 1
        assert await intake.jobs() == []

    async def test_of_what_failed_retries_now(self, intake: Intake, keeper: LeaseKeeper) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        _, answer = await intake.deliver(item)
        await self.apply(intake, keeper, answer, dirty=("shop-main",))
        status, again = await intake.deliver(item)
        assert (status, again["sources"][0]["outcome"]) == (202, "queued")
        assert len(await intake.jobs()) == 1

    async def test_of_an_older_commit_makes_no_hint(self, intake: Intake, keeper: LeaseKeeper) -> None:
        intake.write(*documents(shop()))
        old, new = sample("gitea-push"), "f" * 40
        _, answer = await intake.deliver(old)
        await self.apply(intake, keeper, answer)
        _, answer = await intake.deliver(old, after=new, before=old.body["after"])
        await self.apply(intake, keeper, answer)
        status, answer = await intake.deliver(old)
        assert status == 202
        run = await self.begin(intake, keeper, answer)
        assert run.hints == ()
        assert run.processed == new

    async def test_another_delivery_id_is_still_the_same_delivery(self, intake: Intake, keeper: LeaseKeeper) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        _, answer = await intake.deliver(item)
        await intake.post("shop", item.raw, {**signed(item, SECRET.encode()), "X-Gitea-Delivery": "forged"})
        source = answer["sources"][0]["source"]
        assert await intake.redis.llen(f"windlass:source:{source}:hints") == 1

    async def test_a_push_while_a_run_is_held_is_coalesced(self, intake: Intake, keeper: LeaseKeeper) -> None:
        intake.write(*documents(shop()))
        _, answer = await intake.deliver(sample("gitea-push"))
        run = await self.begin(intake, keeper, answer)
        _, answer = await intake.deliver(sample("gitea-push"), after="f" * 40)
        assert answer["sources"][0]["outcome"] == "coalesced"
        assert await intake.jobs() == []
        queue = SourceQueue(intake.redis, keeper=keeper)
        await queue.advance(run, commit=run.hints[-1].commit, documents="d", dirty=())
        assert await queue.finish(run) == 2
        assert len(await intake.jobs()) == 1


class TestRedisAway:
    async def test_503_and_nothing_claimed(self, intake: Intake, redis_server: RedisServer) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        assert (await intake.deliver(item))[0] == 202
        redis_server.kill()
        try:
            started = time.monotonic()
            answers = await asyncio.gather(*[intake.deliver(item) for _ in range(100)])
            assert {status for status, _ in answers} == {503}
            assert all("nothing was queued" in answer["error"] and "sources" not in answer for _, answer in answers)
            assert time.monotonic() - started < 8
            async with intake.session.post(
                f"{intake.url}/webhooks/shop", data=item.raw, headers=signed(item, SECRET.encode())
            ) as answer:
                assert int(answer.headers["Retry-After"]) > 0
            assert (await self.probe(intake, "readyz"))[0] == 503
            assert (await self.probe(intake, "healthz"))[0] == 200
            assert (await intake.deliver(item, secret=OTHER))[0] == 401
        finally:
            redis_server.start()
        assert (await self.probe(intake, "readyz"))[0] == 200
        assert (await intake.deliver(item))[0] == 202
        assert len(await intake.jobs()) == 1

    @staticmethod
    async def probe(intake: Intake, name: str) -> tuple[int, Any]:
        async with intake.session.get(f"{intake.url}/{name}") as answer:
            return answer.status, await answer.json()

    async def test_not_ready_before_the_documents_are_read(self, intake: Intake) -> None:
        assert (await self.probe(intake, "readyz"))[0] == 503
        intake.write(*documents(shop()))
        assert await self.probe(intake, "readyz") == (200, {"status": "ready", "documents": True, "redis": True})


class TestDocumentsChange:
    async def test_new_endpoints_appear_and_changed_sources_are_looked_at(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        follower = asyncio.create_task(intake.documents.follow(intake.directory, intake.queue))
        content = documents(shop(), shop("http://git.example:3000/shop/other.git", name="other"))
        (intake.folder / "documents.yaml").write_text(yaml.safe_dump_all(content))
        async with asyncio.timeout(10):
            while len(await intake.jobs()) < 2:
                await asyncio.sleep(0.05)
        follower.cancel()
        assert all(job.startswith("other-") for job in await intake.jobs())
        assert (await intake.post("other", b"{}", {}))[0] == 401

    async def test_an_emptied_directory_changes_nothing(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        (intake.folder / "documents.yaml").unlink()
        catalog = intake.directory.reload_if_changed()
        if catalog is not None:
            intake.documents.use(catalog)
        assert (await intake.deliver(sample("gitea-push")))[0] == 202


class Raw:
    """A client that says what no HTTP library would, over a socket of its own."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = host, int(port)

    async def send(
        self, head: str, body: Callable[[], bytes] | None = None, *, pieces: int = 0, seconds: float = 60
    ) -> int:
        """Send a head and up to ``pieces`` pieces of a body until there is an answer; its status, 0 without one."""
        reader, writer = await asyncio.open_connection(*self._address)
        answer = asyncio.create_task(reader.readline())
        try:
            async with asyncio.timeout(seconds):
                writer.write(head.encode("latin-1"))
                for _ in range(pieces):
                    if answer.done() or body is None:
                        break
                    writer.write(body())
                    await writer.drain()
                return self._status(await answer)
        except ConnectionError:
            return self._status(answer.result()) if answer.done() and not answer.exception() else 0
        except TimeoutError:
            return 0
        finally:
            answer.cancel()
            writer.close()

    @staticmethod
    def _status(line: bytes) -> int:
        parts = line.split(b" ")
        return int(parts[1]) if len(parts) > 1 else 0


HEAD = "POST /webhooks/shop HTTP/1.1\r\nHost: windlass\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20


@pytest.fixture
def process(redis_url: str, tmp_path: Path) -> Any:
    """`windlass service` as a process of its own, so that its memory and its loop can be measured."""
    windlass = Windlass(tmp_path / "windlass", redis_url)
    windlass.write(*documents(repository("shop", MANIFESTS)))
    windlass.start_service()
    yield windlass
    windlass.stop()


class Stalls:
    """Asks for /healthz all the time, and remembers the longest wait."""

    def __init__(self, url: str) -> None:
        self._url, self.longest = url, 0.0

    async def __aenter__(self) -> Stalls:
        self._session = aiohttp.ClientSession()
        self._task = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await self._session.close()

    async def _ask(self) -> None:
        while True:
            started = time.perf_counter()
            async with self._session.get(f"{self._url}/healthz") as answer:
                await answer.read()
            self.longest = max(self.longest, time.perf_counter() - started)
            await asyncio.sleep(0.01)


class TestHostileBodies:
    """Threats A1 and A2."""

    async def test_a_hundred_endless_bodies_are_413_and_take_little_memory(self, process: Windlass) -> None:
        service = psutil.Process(process.service.pid)  # type: ignore[union-attr]
        piece = b"%x\r\n" % 65536 + b"a" * 65536 + b"\r\n"
        peak = before = service.memory_info().rss

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, service.memory_info().rss)
                await asyncio.sleep(0.02)

        watcher = asyncio.create_task(watch())
        statuses = await asyncio.gather(
            *[Raw(process.url).send(CHUNKED, lambda: piece, pieces=16384) for _ in range(100)]
        )
        watcher.cancel()
        assert statuses == [413] * 100
        assert peak - before < 20 * MIB, f"grew by {(peak - before) / MIB:.1f} MiB"
        assert await self.still_works(process)

    async def test_a_declared_size_over_the_limit_is_413_at_once(self, process: Windlass) -> None:
        assert await Raw(process.url).send(HEAD + f"Content-Length: {1 << 40}\r\n\r\n") == 413

    async def test_the_limit_itself_is_read(self, intake: Intake) -> None:
        intake.write(*documents(shop()))
        item = sample("gitea-push")
        for extra, status in ((0, 202), (1, 413)):
            body = item.raw + b" " * (LIMIT - len(item.raw) + extra)
            headers = signed(item, SECRET.encode(), body)
            assert (await intake.post("shop", body, headers))[0] == status

            async def pieces(body: bytes = body) -> AsyncIterator[bytes]:
                for start in range(0, len(body), 10_000):
                    yield body[start : start + 10_000]

            async with intake.session.post(f"{intake.url}/webhooks/shop", data=pieces(), headers=headers) as answer:
                assert answer.status == status

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity"])
    async def test_compressed_bodies_are_415(self, process: Windlass, encoding: str) -> None:
        head = HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: 20\r\n\r\n"
        assert await Raw(process.url).send(head, lambda: b"\x1f\x8b" + b"\0" * 18, pieces=1) == 415

    async def test_a_million_one_byte_chunks_hold_nobody_up(self, process: Windlass) -> None:
        piece = b"1\r\na\r\n" * 10_000
        async with Stalls(process.url) as stalls:
            status = await Raw(process.url).send(CHUNKED, lambda: piece, pieces=100)
        assert status in (0, 400, 401, 408, 413)
        assert stalls.longest < 0.3
        assert await self.still_works(process)

    async def test_a_multipart_bomb_is_never_parsed(self, process: Windlass) -> None:
        field = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        body = field * 40_000 + b"--x--\r\n"
        head = (
            HEAD.replace("application/json", "multipart/form-data; boundary=x") + f"Content-Length: {len(body)}\r\n\r\n"
        )
        async with Stalls(process.url) as stalls:
            assert await Raw(process.url).send(head, lambda: body, pieces=1) == 401
        assert stalls.longest < 0.3

    @pytest.mark.parametrize(
        "extra",
        [
            "".join(f"X-{n}: a\r\n" for n in range(100_000)),
            "X-Long: " + "a" * 1_000_000 + "\r\n",
            "X-Bad\r\n",
            "Content-Length: -1\r\n",
        ],
        ids=["many", "long", "no-colon", "negative"],
    )
    async def test_hostile_headers_are_4xx(self, process: Windlass, extra: str) -> None:
        async with Stalls(process.url) as stalls:
            status = await Raw(process.url).send(HEAD + extra + "\r\n")
        assert 400 <= status < 500 or status == 0
        assert stalls.longest < 0.3
        assert await self.still_works(process)

    async def test_a_body_that_breaks_off_is_nothing(self, process: Windlass) -> None:
        assert (
            await Raw(process.url).send(HEAD + "Content-Length: 100\r\n\r\n", lambda: b"{", pieces=1, seconds=0.5) == 0
        )
        # Refused at once, or, where it came after the head, given up as what never arrived.
        assert await Raw(process.url).send(CHUNKED, lambda: b"zz\r\n", pieces=1) in (400, 408)
        assert await self.still_works(process)

    @staticmethod
    async def still_works(process: Windlass) -> bool:
        item = sample("gitea-push")
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{process.url}/webhooks/shop", data=item.raw, headers=signed(item, process.secret.encode())
            ) as answer,
        ):
            return answer.status in (200, 202)


class TestTheProcess:
    async def test_sigterm_answers_what_has_begun_and_ends(self, process: Windlass) -> None:
        item, service = sample("gitea-push"), process.service
        assert service is not None
        half = len(item.raw) // 2
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        fields = "".join(f"{name}: {value}\r\n" for name, value in signed(item, process.secret.encode()).items())
        writer.write(
            f"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(item.raw)}\r\n\r\n".encode()
        )
        writer.write(item.raw[:half])
        await writer.drain()
        await asyncio.sleep(0.3)
        service.terminate()
        await asyncio.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", process.port), timeout=1).close()
        writer.write(item.raw[half:])
        assert b" 202 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        assert await asyncio.to_thread(service.wait, 15) == 0
