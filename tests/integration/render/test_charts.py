"""Charts from a real registry (a forge's, Helm's format and OCI), and what an address must not lead to (threat D4)."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.render.conftest import TARGET, Committer, named, programs, source
from tests.parts.build import binary
from tests.parts.gitea import ADMIN, PASSWORD, Gitea
from tests.unit.render.test_chart import archive
from windlass.documents.rendering import ChartSource, HelmOptions
from windlass.errors import TransientError, WindlassError
from windlass.secrets import Secrets
from workers.render.charts import Charts
from workers.render.commit_tree import RenderError
from workers.render.renderer import Renderer

pytestmark = pytest.mark.integration

CONFIG = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-elsewhere}\ndata: {a: {{ .Values.a | default 1 | quote }}}\n"
META = b"apiVersion: v2\nname: elsewhere\nversion: 1.2.3\n"
PACKED = archive({"elsewhere/Chart.yaml": META, "elsewhere/templates/a.yaml": CONFIG})


@pytest.fixture(scope="module")
def registry(gitea: Gitea, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A Helm and an OCI repository that hold the chart."""
    packed = tmp_path_factory.mktemp("chart") / "elsewhere-1.2.3.tgz"
    packed.write_bytes(PACKED)
    helm_repository = f"{gitea.url}/api/packages/{ADMIN}/helm"
    upload = urllib.request.Request(f"{helm_repository}/api/charts", data=PACKED, method="POST")
    upload.add_header("Authorization", f"token {gitea.token}")
    upload.add_header("Content-Type", "application/gzip")
    urllib.request.urlopen(upload, timeout=60).close()
    host, home = gitea.url.removeprefix("http://"), str(packed.parent)
    helm = [str(binary("helm")), "--registry-config", f"{home}/registry.json"]
    login = [*helm, "registry", "login", host, "-u", ADMIN, "-p", PASSWORD, "--plain-http"]
    push = [*helm, "push", str(packed), f"oci://{host}/{ADMIN}", "--plain-http"]
    for command in (login, push):
        done = subprocess.run(command, env={"HOME": home}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return helm_repository, f"oci://{host}/{ADMIN}"


def allowed(repository: str) -> str:
    return repository.replace("oci://", "oci+http://")


@pytest.mark.parametrize("kind", [0, 1], ids=["helm", "oci"])
async def test_a_chart_is_pulled_once(registry: tuple[str, str], kind: int, tmp_path: Path, commit: Committer) -> None:
    repository = registry[kind]
    charts = Charts([allowed(repository)], tmp_path / "charts")
    renderer = Renderer(Secrets(), programs=programs(), pull=charts.pull)
    await renderer.open()
    asked = HelmOptions(chart=ChartSource(repository, "elsewhere", "1.2.3"), values_files=("/v.yaml",))
    output = await renderer.render(commit({"v.yaml": "a: 7\n"}), source("", helm=asked), TARGET)
    assert named(output) == ["ConfigMap/from-elsewhere"]
    assert output.manifests[0].body["data"] == {"a": "7"}
    assert output.manifests[0].file == f"{repository}/elsewhere/templates/a.yaml"
    renderer.close()
    await charts.close()
    offline = Charts(["https://charts.example", allowed(repository)], tmp_path / "charts")
    assert await offline.pull(ChartSource(repository, "elsewhere", "1.2.3")) == PACKED
    assert offline._session is None, "it was kept"


async def test_a_dependency_is_pulled_at_the_version_that_is_locked(
    registry: tuple[str, str], commit: Committer
) -> None:
    charts = Charts([registry[0]])
    renderer = Renderer(Secrets(), programs=programs(), pull=charts.pull)
    await renderer.open()
    files = {
        "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n"
        f"- {{name: elsewhere, version: 1.x.x, repository: '{registry[0]}'}}\n",
    }
    with pytest.raises(RenderError, match=r"web/Chart.yaml:5: .*'1\.x\.x' is not one version"):
        await renderer.render(commit(files), source("web"), TARGET)
    files["web/Chart.lock"] = f"dependencies: [{{name: elsewhere, version: 1.2.3, repository: '{registry[0]}'}}]\n"
    output = await renderer.render(commit(files), source("web"), TARGET)
    assert named(output) == ["ConfigMap/from-elsewhere"]
    renderer.close()
    await charts.close()


@pytest.mark.parametrize("kind", [0, 1], ids=["helm", "oci"])
async def test_a_version_that_is_not_there(registry: tuple[str, str], kind: int) -> None:
    charts = Charts([allowed(registry[kind])])
    with pytest.raises(RenderError, match=r"has no elsewhere 9\.9\.9|is not there"):
        await charts.pull(ChartSource(registry[kind], "elsewhere", "9.9.9"))
    await charts.close()


@pytest.mark.parametrize(
    "address",
    [
        "https://charts.example",
        "https://charts.example/stable-evil",
        "https://charts.example/stable/../other",
        "https://charts.example/stable/%2e%2e/other",
        "https://charts.example@evil.example/stable",
        "https://charts.example.evil.example/stable",
        "http://charts.example/stable",
        "oci://charts.example/stable",
        "http://169.254.169.254/latest",
        "https://[::1]/stable",
        "file:///etc",
    ],
)
async def test_what_is_not_allowed_is_never_asked(address: str) -> None:
    charts = Charts(["https://charts.example/stable"])
    with pytest.raises(RenderError, match="are not allowed"):
        await charts.pull(ChartSource(address, "a", "1.0.0"))
    assert charts._session is None


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def hostile() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """A server that answers as it likes; its address."""
    runners: list[web.AppRunner] = []

    async def serve(answer: Answer) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield serve
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("way", ["redirect", "index", "realm", "blob"])
async def test_no_answer_leads_to_another_server(hostile: Callable[[Answer], Awaitable[str]], way: str) -> None:
    asked: list[str] = []

    async def other(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"token": "x"})

    target = await hostile(other)

    async def answer(request: web.Request) -> web.Response:
        if way == "redirect":
            return web.Response(status=302, headers={"Location": f"{target}/stable/index.yaml"})
        if way == "index":
            return web.Response(text=f"entries: {{a: [{{version: 1.0.0, urls: ['{target}/a.tgz']}}]}}")
        if way == "realm":
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{target}/token",service="x"'})
        if "/blobs/" in request.path:
            return web.Response(status=307, headers={"Location": f"{target}/blob"})
        layer = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": "sha256:" + "0" * 64}
        return web.json_response({"layers": [layer]})

    server = await hostile(answer)
    repository = server + "/stable" if way in ("redirect", "index") else server.replace("http", "oci") + "/stable"
    charts = Charts([allowed(repository)])
    with pytest.raises(RenderError, match="are not allowed"):
        await charts.pull(ChartSource(repository, "a", "1.0.0"))
    assert asked == []
    await charts.close()


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (200, b"entries: {a: [{version: 1.0.0, urls: [a.tgz], digest: '" + b"0" * 64 + b"'}]}", RenderError, "digest"),
        (200, b"x" * (11 << 20), RenderError, "more than"),
        (200, b"a: [", RenderError, "can't be read"),
        (403, b"", RenderError, "not for everybody"),
        (503, b"", TransientError, "answered 503"),
    ],
)
async def test_an_answer_that_is_no_chart(
    hostile: Callable[[Answer], Awaitable[str]], status: int, body: bytes, kind: type[WindlassError], message: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    repository = await hostile(answer)
    charts = Charts([repository])
    with pytest.raises(kind, match=message):
        await charts.pull(ChartSource(repository, "a", "1.0.0"))
    await charts.close()


async def test_a_server_that_is_away_is_worth_another_try() -> None:
    charts = Charts(["http://127.0.0.1:1"])
    with pytest.raises(TransientError, match="can't be reached"):
        await charts.pull(ChartSource("http://127.0.0.1:1", "a", "1.0.0"))
    await charts.close()
