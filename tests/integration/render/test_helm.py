"""Helm's own program on exactly a chart's files; what it says of where objects come from leads to the repository."""

from __future__ import annotations

import pytest

from tests.integration.render.conftest import LINK, TARGET, Committer, named, source
from tests.integration.render.files import CHART, RANDOM, deployment
from tests.unit.render.test_chart import archive
from windlass.documents.rendering import ChartSource, HelmOptions
from workers.render.commit_tree import RenderError
from workers.render.renderer import Renderer, inputs_unchanged

pytestmark = pytest.mark.integration


async def test_a_chart_with_crds_hooks_and_a_dependency_in_another_folder(
    renderer: Renderer, commit: Committer
) -> None:
    output = await renderer.render(commit(CHART), source("charts/web"), TARGET)
    files = {f"{manifest.kind}/{manifest.name}": manifest.file for manifest in output.manifests}
    assert files == {
        "CustomResourceDefinition/widgets.shop.example": "charts/web/crds/widget.yaml",
        "ConfigMap/common": "charts/common/templates/config.yaml",
        "Deployment/shop-web": "charts/web/templates/deployment.yaml",
        "Job/migrate": "charts/web/templates/migrate.yaml",
    }
    hook = next(manifest for manifest in output.manifests if manifest.kind == "Job")
    assert hook.body["metadata"]["annotations"] == {"helm.sh/hook": "pre-upgrade", "helm.sh/hook-weight": "5"}
    web = next(manifest for manifest in output.manifests if manifest.kind == "Deployment")
    assert (web.namespace, web.body["metadata"]["labels"]) == ("shop-prod", {"part-of": "shop"})
    assert web.body["metadata"]["annotations"] == {"kubernetes": "v1.36.3", "monitored": "true", "greeting": "hello"}
    assert (output.random, output.warnings) == ((), ())


async def test_values_files_from_elsewhere_and_inline_values_count_in_their_order(
    renderer: Renderer, commit: Committer
) -> None:
    options = HelmOptions(
        release="blue",
        values_files=("../../values/prod.yaml", "/values/shop.yaml"),
        values={"image": "nginx:2"},
        skip_crds=True,
        skip_hooks=True,
        kube_version="v1.30.0",
    )
    output = await renderer.render(commit(CHART), source("charts/web", helm=options), TARGET)
    assert named(output) == ["ConfigMap/common", "Deployment/blue-web"]
    web = output.manifests[1].body
    assert (web["spec"]["replicas"], web["metadata"]["annotations"]["greeting"]) == (3, "from prod")
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    assert web["metadata"]["annotations"]["kubernetes"] == "v1.30.0"


async def test_the_chart_its_values_and_its_dependency_are_the_inputs(renderer: Renderer, commit: Committer) -> None:
    asked = source("charts/web", helm=HelmOptions(values_files=("/values/prod.yaml",)))
    before = await renderer.render(commit(CHART), asked, TARGET)
    for path in ("values/shop.yaml", "README.md", "charts/other/Chart.yaml"):
        assert inputs_unchanged(before.inputs, commit({**CHART, path: "# changed\n"})), path
    for path in ("values/prod.yaml", "charts/web/values.yaml", "charts/common/templates/config.yaml"):
        assert not inputs_unchanged(before.inputs, commit({**CHART, path: "# changed\n"})), path


async def test_another_cluster_is_another_render(renderer: Renderer, commit: Committer) -> None:
    tree = commit(CHART)
    one = await renderer.render(tree, source("charts/web"), TARGET)
    assert await renderer.render(tree, source("charts/web"), TARGET) is one
    other = await renderer.render(tree, source("charts/web"), TARGET._replace(kube_version="v1.35.0"))
    assert other.digest != one.digest


async def test_vendored_dependencies_unpacked_and_archived(renderer: Renderer, commit: Committer) -> None:
    redis = archive(
        {
            "redis/Chart.yaml": b"apiVersion: v2\nname: redis\nversion: 1.2.3\n",
            "redis/templates/a.yaml": deployment("redis").encode(),
        }
    )
    files = {
        "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n"
        "- {name: redis, version: 1.x.x, repository: 'https://charts.example'}\n"
        "- {name: lib, version: 1.0.0, repository: 'https://charts.example'}\n",
        "web/charts/redis-1.2.3.tgz": redis,
        "web/charts/lib/Chart.yaml": "apiVersion: v2\nname: lib\nversion: 1.0.0\n",
        "web/charts/lib/templates/b.yaml": deployment("lib"),
    }
    output = await renderer.render(commit(files), source("web"), TARGET)
    assert {manifest.name: manifest.file for manifest in output.manifests} == {
        "lib": "web/charts/lib/templates/b.yaml",
        "redis": "web/charts/redis/templates/a.yaml",
    }


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("https://charts.example", "charts of https://charts.example are not allowed: vendor it"),
        ("oci://registry.example/charts", "charts of oci://registry.example/charts are not allowed"),
        ("'@stable'", "names no repository"),
        ("file://../../../etc", "leads out of the repository"),
        ("file:///etc", "leads out of the repository"),
        ("file://../nowhere", "there is no folder nowhere"),
        ("file://.", "leads back to web"),
    ],
)
async def test_a_dependency_from_elsewhere_is_refused_with_its_line(
    renderer: Renderer, commit: Committer, repository: str, message: str
) -> None:
    files = {
        "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n"
        f"- name: redis\n  version: 1.2.3\n  repository: {repository}\n"
    }
    with pytest.raises(RenderError) as caught:
        await renderer.render(commit(files), source("web"), TARGET)
    assert str(caught.value).startswith("web/Chart.yaml:5: the dependency redis")
    assert message in str(caught.value)


async def test_a_random_render_is_found_and_its_fields_are_named(renderer: Renderer, commit: Committer) -> None:
    output = await renderer.render(commit(RANDOM), source("db"), TARGET)
    assert [str(field) for field in output.random] == ["Secret login: stringData.password"]
    again = await renderer.render(commit({**RANDOM, "README.md": "x"}), source("db"), TARGET)
    assert again is output, "equal inputs keep the value that was rendered"


async def test_a_chart_that_looks_up_is_told_so(renderer: Renderer, commit: Committer) -> None:
    files = {**RANDOM, "db/templates/secret.yaml": '{{ $found := lookup "v1" "Secret" "a" "b" }}\n'}
    output = await renderer.render(commit(files), source("db"), TARGET)
    assert named(output) == ["ConfigMap/settings"]
    assert "lookup" in output.warnings[0]


async def test_an_error_is_at_its_template(renderer: Renderer, commit: Committer) -> None:
    files = {**CHART, "charts/common/templates/config.yaml": "a: b\nc: {{ .Values.a.b.c }}\n"}
    with pytest.raises(RenderError) as caught:
        await renderer.render(commit(files), source("charts/web"), TARGET)
    assert (caught.value.file, caught.value.line) == ("charts/common/templates/config.yaml", 2)
    assert "nil pointer" in caught.value.message
    assert "windlass-render" not in caught.value.message


async def test_a_secret_value_is_not_in_an_error(renderer: Renderer, commit: Committer) -> None:
    files = {
        **RANDOM,
        "db/values.yaml": "password: hunter2-of-the-shop\n",
        "db/templates/secret.yaml": '{{ fail (printf "can\'t use %s" .Values.password) }}',
    }
    with pytest.raises(RenderError) as caught:
        await renderer.render(commit(files), source("db"), TARGET)
    assert "can't use ***" in str(caught.value)


async def test_values_that_the_schema_refuses(renderer: Renderer, commit: Committer) -> None:
    schema = '{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"replicas": {"type": "integer"}}}'
    asked = source("db", helm=HelmOptions(values={"replicas": "many"}))
    with pytest.raises(RenderError, match="replicas"):
        await renderer.render(commit({**RANDOM, "db/values.schema.json": schema}), asked, TARGET)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (HelmOptions(values_files=("../../x.yaml",)), "leads out of the repository"),
        (HelmOptions(values_files=("missing.yaml",)), "db/missing.yaml: there is no such file"),
        (HelmOptions(chart=ChartSource("https://charts.example", "redis", "1.2.3")), "are not allowed"),
    ],
)
async def test_options_that_lead_elsewhere(
    renderer: Renderer, commit: Committer, options: HelmOptions, message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        await renderer.render(commit(RANDOM), source("db", helm=options), TARGET)


@pytest.mark.parametrize("path", ["db/Chart.lock", "db/templates/link.yaml", "db/charts/evil"])
async def test_a_link_in_a_chart_is_refused(renderer: Renderer, commit: Committer, path: str) -> None:
    with pytest.raises(RenderError, match=f"^{path}: is a symbolic link$"):
        await renderer.render(commit({**RANDOM, path: LINK + "/proc/self/environ"}), source("db"), TARGET)


async def test_a_chart_reads_no_file_outside_of_it(renderer: Renderer, commit: Committer) -> None:
    template = (
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ .Files.Get "../README.md" | quote }}}\n'
    )
    files = {**RANDOM, "README.md": "outside", "db/templates/secret.yaml": template}
    output = await renderer.render(commit(files), source("db"), TARGET)
    assert next(m for m in output.manifests if m.name == "a").body["data"] == {"a": ""}
