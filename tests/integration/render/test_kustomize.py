"""Kustomize's own program on exactly the files that are followed."""

from __future__ import annotations

import pytest

from tests.integration.render.conftest import LINK, TARGET, Committer, named, source
from tests.integration.render.files import OVERLAY, deployment
from windlass.documents.rendering import KustomizeImage, KustomizeOptions, KustomizePatch
from workers.render.commit_tree import RenderError
from workers.render.renderer import Renderer, inputs_unchanged

pytestmark = pytest.mark.integration


async def test_an_overlay_with_base_component_generators_images_and_patches(
    renderer: Renderer, commit: Committer
) -> None:
    output = await renderer.render(commit(OVERLAY), source("apps/prod"), TARGET)
    by_kind = {manifest.kind: manifest for manifest in output.manifests}
    assert sorted(by_kind) == ["ConfigMap", "Deployment", "Secret", "Service"]
    assert by_kind["Deployment"].name == "prod-web"
    assert by_kind["Deployment"].namespace == "shop"
    spec = by_kind["Deployment"].body["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (3, "nginx:1.29")
    assert by_kind["Service"].body["spec"]["type"] == "ClusterIP"
    assert by_kind["ConfigMap"].body["data"] == {"LOG_LEVEL": "info"}
    assert {(manifest.file, manifest.line) for manifest in output.manifests} == {("apps/prod/kustomization.yaml", 0)}


async def test_only_a_commit_that_changes_a_file_which_is_read_changes_the_inputs(
    renderer: Renderer, commit: Committer
) -> None:
    before = await renderer.render(commit(OVERLAY), source("apps/prod"), TARGET)
    for path in ("unrelated/a.yaml", "apps/prod/README.md", "base/web/README.md", "apps/other.yaml"):
        assert inputs_unchanged(before.inputs, commit({**OVERLAY, path: "# changed\n"})), path
    for path in (
        "base/web/deployment.yaml",
        "components/debug/patch.yaml",
        "apps/prod/settings.env",
        "apps/prod/kustomization.yaml",
        "base/web/kustomization.yml",
        "apps/prod/Chart.yaml",
    ):
        assert not inputs_unchanged(before.inputs, commit({**OVERLAY, path: "# changed\n"})), path


async def test_equal_inputs_are_rendered_once(renderer: Renderer, commit: Committer) -> None:
    one = await renderer.render(commit(OVERLAY), source("apps/prod"), TARGET)
    other = await renderer.render(commit({**OVERLAY, "unrelated/a.yaml": ""}), source("apps/prod"), TARGET)
    assert other is one
    changed = {**OVERLAY, "apps/prod/settings.env": "LOG_LEVEL=debug\n"}
    third = await renderer.render(commit(changed), source("apps/prod"), TARGET)
    assert third.digest != one.digest
    same = [manifest.body for manifest in third.manifests if manifest.kind == "Service"]
    assert same[0] is next(manifest.body for manifest in one.manifests if manifest.kind == "Service")


async def test_what_the_application_lays_over_it(renderer: Renderer, commit: Committer) -> None:
    options = KustomizeOptions(
        namespace="tenant",
        name_suffix="-blue",
        labels={"team": "shop"},
        images=(KustomizeImage("nginx", new_name="registry.example/nginx", new_tag="2"),),
        components=("../../components/debug",),
        patches=(KustomizePatch('[{"op": "add", "path": "/spec/paused", "value": true}]', {"kind": "Deployment"}),),
    )
    output = await renderer.render(commit(OVERLAY), source("base/web", kustomize=options), TARGET)
    by_kind = {manifest.kind: manifest for manifest in output.manifests}
    web = by_kind["Deployment"]
    assert (web.name, web.namespace) == ("web-blue", "tenant")
    assert web.body["metadata"]["labels"] == {"team": "shop"}
    assert (web.body["spec"]["replicas"], web.body["spec"]["paused"]) == (3, True)
    assert web.body["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/nginx:2"
    assert web.body["spec"]["selector"] == {"matchLabels": {"app": "web"}}


async def test_a_kustomization_at_the_root(renderer: Renderer, commit: Committer) -> None:
    files = {"kustomization.yaml": "resources: [a.yaml, base]", "a.yaml": deployment("a")}
    files |= {"base/Kustomization": "resources: [b.yaml]", "base/b.yaml": deployment("b")}
    assert named(await renderer.render(commit(files), source(""), TARGET)) == ["Deployment/a", "Deployment/b"]
    laid = source("", kustomize=KustomizeOptions(name_prefix="x-"))
    assert named(await renderer.render(commit(files), laid, TARGET)) == ["Deployment/x-a", "Deployment/x-b"]


async def test_builtin_plugins_in_files(renderer: Renderer, commit: Committer) -> None:
    files = {
        "app/kustomization.yaml": "resources: [a.yaml]\ngenerators: [gen.yaml]\ntransformers: [plugins]\n",
        "app/a.yaml": deployment("a"),
        "app/gen.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nname: g\nfiles: [x/data.txt]\n",
        "app/x/data.txt": "1",
        "app/plugins/kustomization.yaml": "resources: [prefix.yaml, patch.yaml]",
        "app/plugins/prefix.yaml": "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: p}\nprefix: z-\n"
        "fieldSpecs: [{path: metadata/name}]\n",
        "app/plugins/patch.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: q}\npath: replicas.yaml\n"
        "target: {kind: Deployment}\n",
        "app/replicas.yaml": "- {op: replace, path: /spec/replicas, value: 7}\n",
    }
    output = await renderer.render(commit(files), source("app"), TARGET)
    assert sorted(manifest.name.split("-")[1] for manifest in output.manifests) == ["a", "g"]
    assert next(m for m in output.manifests if m.kind == "Deployment").body["spec"]["replicas"] == 7


async def test_kustomizes_own_complaint_names_no_path_of_this_machine_and_no_secret(
    renderer: Renderer, commit: Committer
) -> None:
    patch = "apiVersion: v1\nkind: Secret\nmetadata: {name: nobody}\nstringData: {password: hunter2-of-the-shop}\n"
    files = {**OVERLAY, "apps/prod/kustomization.yaml": "resources: [../../base/web]\npatches: [{path: s.yaml}]\n"}
    with pytest.raises(RenderError) as caught:
        await renderer.render(commit({**files, "apps/prod/s.yaml": patch}), source("apps/prod"), TARGET)
    message = str(caught.value)
    assert message.startswith("apps/prod: ")
    assert "no resource matches" in message or "no matches" in message
    assert "hunter2" not in message
    assert "windlass-render" not in message


async def test_a_file_that_was_not_followed_is_missing_and_never_read_from_elsewhere(
    renderer: Renderer, commit: Committer
) -> None:
    """A plugin that another one generates is beyond the resolver: kustomize has to fail."""
    plugin = "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: q}\ntarget: {kind: Deployment}\n"
    patch = "- {op: add, path: /path, value: hidden.yaml}\n"
    files = {
        "app/kustomization.yaml": "resources: [a.yaml]\ntransformers: [plugins]\n",
        "app/a.yaml": deployment("a"),
        "app/hidden.yaml": "- {op: replace, path: /spec/replicas, value: 7}\n",
        "app/plugins/kustomization.yaml": "resources: [t.yaml]\npatches: [{path: p.yaml, target: {name: q}}]",
        "app/plugins/t.yaml": plugin,
        "app/plugins/p.yaml": patch,
    }
    with pytest.raises(RenderError, match=r"hidden\.yaml"):
        await renderer.render(commit(files), source("app"), TARGET)


@pytest.mark.parametrize("target", ["/proc/self/environ", "../../../etc/passwd", "a.yaml", "x.yaml"])
async def test_a_link_is_refused(renderer: Renderer, commit: Committer, target: str) -> None:
    files = {
        "app/kustomization.yaml": "resources: [x.yaml]",
        "app/x.yaml": LINK + target,
        "app/a.yaml": deployment("a"),
    }
    with pytest.raises(RenderError, match=r"^app/x\.yaml: is a symbolic link$"):
        await renderer.render(commit(files), source("app"), TARGET)


async def test_warnings_are_handed_on(renderer: Renderer, commit: Committer) -> None:
    files = {"app/kustomization.yaml": "resources: [a.yaml]\ncommonLabels: {a: b}\n", "app/a.yaml": deployment("a")}
    output = await renderer.render(commit(files), source("app"), TARGET)
    assert any("commonLabels" in warning for warning in output.warnings)
