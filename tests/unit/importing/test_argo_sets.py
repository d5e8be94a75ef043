"""ApplicationSets: the Applications that their list and git generators make now."""

from __future__ import annotations

import pytest

from tests.unit.importing.support import documents, imported, lost


def of(
    generators: str, *, name: str, go: bool = False, path: str = "guestbook", files: dict[str, str] | None = None
) -> object:
    text = f"""
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {{name: guestbook}}
spec:
  goTemplate: {str(go).lower()}
  generators:
{generators}
  template:
    metadata: {{name: '{name}'}}
    spec:
      source: {{repoURL: https://git.example.com/demo/apps.git, targetRevision: main, path: '{path}'}}
      destination: {{server: https://kubernetes.default.svc, namespace: guestbook}}
"""
    result = imported(text, files)
    return {name: spec["sources"][0].get("path", "") for name, spec in documents(result).items()} or lost(result)


LIST = """
  - list:
      elements:
      - {cluster: dev, values: {tier: low}}
      - {cluster: prod, values: {tier: high}}
"""


def test_a_list_makes_an_application_of_each_element() -> None:
    made = of(LIST, name="{{cluster}}-guestbook", path="{{ cluster }}/{{values.tier}}")
    assert made == {"dev-guestbook": "dev/low", "prod-guestbook": "prod/high"}


def test_a_list_with_go_templates() -> None:
    made = of(LIST, name="{{.cluster}}-guestbook", path="{{ .cluster | upper }}/{{.values.tier}}", go=True)
    assert made == {"dev-guestbook": "DEV/low", "prod-guestbook": "PROD/high"}


def test_a_selector_chooses_elements() -> None:
    made = of(LIST + "    selector: {matchLabels: {cluster: prod}}", name="{{cluster}}")
    assert made == {"prod": "guestbook"}


ADDONS = {
    "addons/argo/a.yaml": "",
    "addons/prometheus/deep/b.yaml": "",
    "addons/Old_One/c.yaml": "",
    "apps/web/d.yaml": "",
    ".github/workflows/e.yaml": "",
}
GIT = """
  - git:
      repoURL: https://git.example.com/demo/apps.git
      revision: HEAD
"""


def test_directories_of_a_checkout() -> None:
    made = of(
        GIT + "      directories: [{path: addons/*}]", name="{{path.basenameNormalized}}", path="{{path}}", files=ADDONS
    )
    assert made == {"argo": "addons/argo", "old-one": "addons/Old_One", "prometheus": "addons/prometheus"}


def test_directories_that_are_excluded_whatever_the_order() -> None:
    directories = "      directories: [{path: addons/prometheus, exclude: true}, {path: addons/*}, {path: '*'}]"
    made = of(
        GIT + directories,
        name='{{.path.basename | lower | replace "_" "-"}}',
        path="{{.path.path}}",
        go=True,
        files=ADDONS,
    )
    assert made == {"addons": "addons", "apps": "apps", "argo": "addons/argo", "old-one": "addons/Old_One"}


FILES = {
    "clusters/dev/config.json": '{"cluster": {"name": "dev", "nodes": 3}, "tags": ["a", "b"]}',
    "clusters/prod/config.json": '{"cluster": {"name": "prod", "nodes": 30}, "tags": ["a", "c"]}',
    "clusters/prod/other.yaml": "cluster: {name: wrong}",
    "clusters/none/config.json": "[",
}


@pytest.mark.parametrize(
    ("go", "name", "path"),
    [
        (False, "{{cluster.name}}-{{path.basename}}", "{{path}}/{{tags.1}}-{{cluster.nodes}}"),
        (True, "{{.cluster.name}}-{{.path.basename}}", "{{.path.path}}/{{index .tags 1}}-{{.cluster.nodes}}"),
        (
            True,
            "{{.cluster.name}}-{{index .path.segments 1}}",
            '{{printf "%s/%s-%v" .path.path (index .tags 1) .cluster.nodes}}',
        ),
    ],
)
def test_files_of_a_checkout_give_parameters(go: bool, name: str, path: str) -> None:
    made = of(GIT + "      files: [{path: clusters/**/config.json}]", name=name, path=path, go=go, files=FILES)
    assert made == {"dev-dev": "clusters/dev/b-3", "prod-prod": "clusters/prod/c-30"}


def test_prefixes_and_values_of_a_git_generator() -> None:
    generator = (
        GIT
        + "      directories: [{path: addons/argo}]\n      pathParamPrefix: my\n      values: {of: 'the-{{my.path.basename}}'}"
    )
    made = of(generator, name="{{values.of}}", path="{{my.path[0]}}", files=ADDONS)
    assert made == {"the-argo": "addons"}


def test_without_a_checkout_a_git_generator_makes_nothing_and_says_so() -> None:
    assert "spec.generators[0].git.repoURL" in of(GIT + "      directories: [{path: '*'}]", name="{{path}}")  # type: ignore[operator]


@pytest.mark.parametrize(
    "template",
    [
        "{{ if .x }}a{{ end }}",
        "{{ .missing }}",
        "{{ .cluster | env }}",
        "{{ range .x }}",
        "{{ .values }}",
        "{{ trunc }}",
    ],
)
def test_a_template_that_is_not_understood_makes_nothing(template: str) -> None:
    said = of(LIST, name="{{.cluster}}", path=template, go=True)
    assert set(said) == {"spec.template"}  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["clusters", "matrix", "merge", "scmProvider", "pullRequest", "plugin"])
def test_other_generators_are_said(kind: str) -> None:
    assert set(of(f"  - {kind}: {{values: {{a: b}}}}", name="x")) == {f"spec.generators[0].{kind}"}  # type: ignore[call-overload]


def test_the_template_of_a_generator_goes_over_the_sets() -> None:
    generators = """
  - list:
      elements: [{cluster: dev}]
      template: {metadata: {name: '{{cluster}}-own'}, spec: {}}
"""
    assert of(generators, name="{{cluster}}") == {"dev-own": "guestbook"}
