"""Which files a kustomization reads: all of them, and nothing that leads out, is remote, or runs something (threats B2, C3)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.render.memory import LINK, SUBMODULE, commit
from workers.render.commit_tree import RenderError
from workers.render.kustomization import Closure, find, resolve

OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def closure(files: dict[str, str], folder: str = "app") -> Closure:
    return resolve(commit(files), folder)


def read(kustomization: str, **files: str) -> set[str]:
    """What app/kustomization.yaml reads besides itself; ``a__b_yaml`` stands for app/a/b.yaml."""
    named = {"app/" + name.replace("__", "/").replace("_", "."): content for name, content in files.items()}
    return set(closure({"app/kustomization.yaml": kustomization, **named}).files) - {"app/kustomization.yaml"}


def error_of(files: dict[str, object], folder: str = "app") -> str:
    with pytest.raises(RenderError) as caught:
        resolve(commit(files), folder)  # type: ignore[arg-type]
    return str(caught.value)


def refused(kustomization: str) -> str:
    return error_of({"app/kustomization.yaml": kustomization, "app/a.yaml": OBJECT})


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_a_kustomization_by_each_of_its_names(name: str) -> None:
    found = closure({f"app/{name}": "resources: [a.yaml]", "app/a.yaml": OBJECT})
    assert set(found.files) == {f"app/{name}", "app/a.yaml"}


def test_what_must_stay_absent_is_an_input_too() -> None:
    """A second kustomization file, or one in a base, would change the render, or end it."""
    found = closure({"app/kustomization.yaml": "resources: [../base]", "base/Kustomization": ""})
    assert {path for path, oid in found.inputs.items() if oid == ""} == {
        "app/kustomization.yml", "app/Kustomization", "base/kustomization.yaml", "base/kustomization.yml",
    }  # fmt: skip


def test_a_folder_with_two_kustomizations_is_refused() -> None:
    tree = commit({"app/kustomization.yaml": "", "app/Kustomization": ""})
    with pytest.raises(RenderError, match=r"app/Kustomization: stands beside app/kustomization.yaml"):
        find(tree, "app")


@pytest.mark.parametrize(
    "field",
    [
        "resources: [x.yaml]",
        "crds: [x.yaml]",
        "configurations: [x.yaml]",
        "patches: [{path: x.yaml}]",
        "patches: [{path: x.yaml, target: {kind: Deployment}}]",
        "patchesStrategicMerge: [x.yaml]",
        "patchesJson6902: [{target: {kind: A, name: b, version: v1}, path: x.yaml}]",
        "configMapGenerator: [{name: a, files: [x.yaml]}]",
        "configMapGenerator: [{name: a, files: [renamed=x.yaml]}]",
        "configMapGenerator: [{name: a, envs: [x.yaml]}]",
        "configMapGenerator: [{name: a, env: x.yaml}]",
        "secretGenerator: [{name: a, files: [x.yaml]}]",
        "secretGenerator: [{name: a, envs: [x.yaml]}]",
        "replacements: [{path: x.yaml}]",
        "openapi: {path: x.yaml}",
        "Resources: [x.yaml]",
        "RESOURCES: [./x.yaml]",
        "re\u017fources: [x.yaml]",
    ],
)
def test_every_field_that_names_a_file_is_followed(field: str) -> None:
    assert read(field, x_yaml=OBJECT) == {"app/x.yaml"}


@pytest.mark.parametrize("field", ["generators", "transformers", "validators"])
def test_the_files_of_builtin_plugins_are_followed_from_the_kustomization(field: str) -> None:
    plugin = "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: a}\nfiles: [deep/data.txt]\n"
    found = read(f"{field}: [plugins/p.yaml]", plugins__p_yaml=plugin, deep__data_txt="1")
    assert found == {"app/plugins/p.yaml", "app/deep/data.txt"}


def test_an_inline_plugin() -> None:
    plugin = (
        "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: a}\n  path: p.yaml\n"
    )
    assert read(plugin, p_yaml=OBJECT) == {"app/p.yaml"}


def test_a_folder_of_plugins() -> None:
    plugin = "apiVersion: builtin\nkind: PatchStrategicMergeTransformer\nmetadata: {name: a}\npaths: [p.yaml]\n"
    found = read(
        "transformers: [plugins]",
        plugins__kustomization_yaml="resources: [t.yaml]",
        plugins__t_yaml=plugin,
        p_yaml=OBJECT,
    )
    assert found == {"app/plugins/kustomization.yaml", "app/plugins/t.yaml", "app/p.yaml"}


def test_inline_patches_are_no_files() -> None:
    assert (
        read("patchesStrategicMerge:\n- |-\n  kind: A\n  metadata: {name: a}\npatches: [{patch: '- op: add'}]") == set()
    )


def test_bases_and_components_elsewhere_in_the_repository() -> None:
    found = closure(
        {
            "apps/web/prod/kustomization.yaml": "resources: [../../../base/web]\ncomponents: [../../../components/tls]\n",
            "base/web/kustomization.yaml": "bases: [../common]\nresources: [web.yaml]",
            "base/web/web.yaml": OBJECT,
            "base/common/kustomization.yaml": "resources: [c.yaml]",
            "base/common/c.yaml": OBJECT,
            "components/tls/kustomization.yaml": "kind: Component\npatches: [{path: p.yaml}]",
            "components/tls/p.yaml": OBJECT,
            "unrelated/kustomization.yaml": "resources: [u.yaml]",
        },
        "apps/web/prod",
    )
    assert set(found.files) == {
        "apps/web/prod/kustomization.yaml", "base/web/kustomization.yaml", "base/web/web.yaml",
        "base/common/kustomization.yaml", "base/common/c.yaml",
        "components/tls/kustomization.yaml", "components/tls/p.yaml",
    }  # fmt: skip


def test_a_base_that_two_overlays_share_is_no_cycle() -> None:
    found = closure(
        {
            "app/kustomization.yaml": "resources: [../one, ../two]",
            "one/kustomization.yaml": "resources: [../base]",
            "two/kustomization.yaml": "resources: [../base]",
            "base/kustomization.yaml": "",
        }
    )
    assert len(found.files) == 4


def test_a_cycle_is_told_with_its_way() -> None:
    message = error_of({"app/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "components: [../app]"})
    assert message == "app/kustomization.yaml: the kustomization builds upon itself: app -> b -> app"
    assert "builds upon itself" in error_of({"app/kustomization.yaml": "resources: [.]"})


@pytest.mark.parametrize(
    "entry",
    [
        "https://example.com/base.yaml",
        "github.com/org/repo//base?ref=v1",
        "git@github.com:org/repo.git",
        "git::https://example.com/repo",
        "ssh://git@example.com/repo",
    ],
)
@pytest.mark.parametrize("field", ["resources: [{}]", "components: [{}]", "patches: [{{path: {}}}]", "crds: [{}]"])
def test_what_is_remote_is_refused_with_its_line(field: str, entry: str) -> None:
    message = refused("# a comment\n" + field.format(f'"{entry}"'))
    assert message.startswith("app/kustomization.yaml:2: ")
    assert "what is remote is never read" in message


@pytest.mark.parametrize(
    ("kustomization", "message"),
    [
        ("resources: [../../x.yaml]", "app/kustomization.yaml:1: resources[0]: leads out of the repository"),
        ("resources:\n- a.yaml\n- /etc/passwd", "app/kustomization.yaml:3: resources[1]: is an absolute path"),
        ("resources: [b.yaml]", "app/kustomization.yaml:1: resources[0]: there is no app/b.yaml in this commit"),
        ("resources: {a: b}", "resources: expected a list"),
        ("resources: [1]", "resources[0]: expected text"),
        ("patches: [x]", "patches[0]: expected a mapping"),
        ("components: [a.yaml]", "components[0]: there is no app/a.yaml"),
        ("helmCharts: [{name: x, repo: 'https://x'}]", "helmCharts: charts inside of a kustomization are not rendered"),
        ("helmGlobals: {chartHome: x}", "helmGlobals: "),
        ("configMapGenerator: [{name: a, files: [../x]}]", "files[0]: there is no x"),
        ("a: [", "app/kustomization.yaml:2: did not find expected node content"),
        ("- a", "app/kustomization.yaml:1: expected a mapping"),
    ],
)
def test_what_is_wrong_is_told_with_field_and_line(kustomization: str, message: str) -> None:
    assert message in refused(kustomization)


def test_a_file_of_another_folder_is_no_base() -> None:
    message = error_of({"app/kustomization.yaml": "resources: [../other/a.yaml]", "other/a.yaml": OBJECT})
    assert "other/a.yaml is not in or below app" in message


@pytest.mark.parametrize(
    "plugin",
    [
        "apiVersion: someteam.example.com/v1\nkind: Exec\nmetadata: {name: a}",
        "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: a}\nname: x\nrepo: https://x",
        "apiVersion: v1\nkind: X\nmetadata:\n  name: a\n  annotations: {config.kubernetes.io/function: 'exec: {path: ./x}'}",
        "apiVersion: builtin\nkind: X\nmetadata:\n  name: a\n  annotations: {config.kubernetes.io/function: 'container: {}'}",
    ],
)
@pytest.mark.parametrize("field", ["generators", "transformers", "validators"])
def test_what_runs_something_is_refused(field: str, plugin: str) -> None:
    files: dict[str, object] = {"app/kustomization.yaml": f"{field}: [p.yaml]", "app/p.yaml": plugin}
    assert "are not r" in error_of(files)


@pytest.mark.parametrize("kind", [LINK, SUBMODULE])
def test_links_and_submodules_are_refused(kind: str) -> None:
    files: dict[str, object] = {"app/kustomization.yaml": "resources: [x]", "app/x": (kind, "/etc/passwd")}
    assert error_of(files) == f"app/x: is a {'symbolic link' if kind == LINK else 'submodule'}"


def test_bases_of_bases_end_somewhere() -> None:
    files: dict[str, object] = {f"d{i}/kustomization.yaml": f"resources: [../d{i + 1}]" for i in range(80)}
    assert "build upon each other" in error_of(files, "d0")


def test_files_that_become_values_of_secrets_are_known() -> None:
    files = {"app/kustomization.yaml": "secretGenerator: [{name: a, files: [k=p.txt]}]", "app/p.txt": "hunter2"}
    assert closure(files).secret == {"app/p.txt"}


FIELDS = ["resources", "bases", "components", "crds", "generators", "patches", "patchesStrategicMerge", "replacements"]
FIELDS += [
    "configMapGenerator",
    "secretGenerator",
    "openapi",
    "helmCharts",
    "path",
    "files",
    "envs",
    "env",
    "Resources",
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["a.yaml", "..", "../..", "/", "", ".", "{a: b}", "k=", "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
def test_any_kustomization_is_resolved_or_refused(fields: dict[str, Any]) -> None:
    files = {"app/kustomization.yaml": json.dumps(fields), "app/a.yaml": OBJECT, "secret.yaml": OBJECT}
    try:
        found = closure(files)
    except RenderError as error:
        assert str(error)  # noqa: PT017 - either is right
    else:
        assert set(found.files) <= {"app/kustomization.yaml", "app/a.yaml"}
