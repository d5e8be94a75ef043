"""Jsonnet through its own library, in the sandbox: imports come from the commit, and from nowhere else."""

from __future__ import annotations

import pytest

from tests.integration.render.conftest import TARGET, Committer, named, source
from windlass.documents.rendering import JsonnetOptions
from workers.render.commit_tree import RenderError
from workers.render.renderer import Renderer, inputs_unchanged

pytestmark = pytest.mark.integration

CONFIG = "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: %s}, data: {a: %s}}"
FILES = {
    "app/main.jsonnet": "local lib = import '../lib/config.libsonnet';\nlocal k = import \"k.libsonnet\";\n"
    "function(team='x') {one: lib.config('one', importstr 'data.txt'), more: [k.config(team, std.extVar('stage'))]}\n",
    "app/data.txt": "from a file",
    "lib/config.libsonnet": "{config(name, a):: " + CONFIG % ("name", "a") + "}",
    "vendor/k.libsonnet": "import '../lib/config.libsonnet'",
    "unrelated.jsonnet": "{}",
}
OPTIONS = JsonnetOptions(libraries=("/vendor",), external={"stage": "prod"}, arguments={"team": "shop"})


async def test_a_program_with_imports_libraries_variables_and_arguments(renderer: Renderer, commit: Committer) -> None:
    output = await renderer.render(commit(FILES), source("app", jsonnet=OPTIONS), TARGET)
    assert named(output) == ["ConfigMap/shop", "ConfigMap/one"]
    assert [manifest.body["data"]["a"] for manifest in output.manifests] == ["prod", "from a file"]
    assert {manifest.file for manifest in output.manifests} == {"app/main.jsonnet"}


async def test_what_it_imports_and_looks_for_are_the_inputs(renderer: Renderer, commit: Committer) -> None:
    before = await renderer.render(commit(FILES), source("app", jsonnet=OPTIONS), TARGET)
    assert inputs_unchanged(before.inputs, commit({**FILES, "unrelated.jsonnet": "1"}))
    for path in ("app/data.txt", "lib/config.libsonnet", "vendor/k.libsonnet", "app/k.libsonnet"):
        assert not inputs_unchanged(before.inputs, commit({**FILES, path: "{}"})), path


@pytest.mark.parametrize(
    ("program", "message", "line"),
    [
        ("import '/etc/passwd'", "there is no /etc/passwd in this commit", 1),
        ("{}\n+ import '../../../../etc/passwd'", "there is no ../../../../etc/passwd in this commit", 2),
        ("\n{a: error 'no'}", "no", 2),
        ("{a: 1}", "expected Kubernetes objects", 0),
        ("std.extVar('missing')", "missing", 1),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(
    renderer: Renderer, commit: Committer, program: str, message: str, line: int
) -> None:
    with pytest.raises(RenderError) as caught:
        await renderer.render(commit({"app/main.jsonnet": program}), source("app", jsonnet=JsonnetOptions()), TARGET)
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == ("app/main.jsonnet", line)


async def test_a_program_that_takes_memory_is_stopped(renderer: Renderer, commit: Committer) -> None:
    program = "local f(s, n) = if n == 0 then s else f(s + s, n - 1); {a: f('xxxxxxxxxx', 40)}"
    with pytest.raises(RenderError, match="more memory than"):
        await renderer.render(commit({"app/main.jsonnet": program}), source("app", jsonnet=JsonnetOptions()), TARGET)
