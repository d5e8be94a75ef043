"""The options of renderers: what names a key or reaches a command line is checked, with its field and line."""

from __future__ import annotations

import pytest

from windlass.documents.parse import parse_documents
from windlass.documents.rendering import HelmOptions, KustomizeOptions, SopsOptions
from windlass.documents.types import Application

HEAD = """\
apiVersion: windlass.dev/v1alpha1
kind: Application
metadata: {name: web}
spec:
  destination: {cluster: here}
  sources:
  - repository: shop
    branch: main
"""


def application(source: str) -> Application:
    read = parse_documents((HEAD + source).encode(), "a.yaml")
    assert read.errors == []
    document = read.documents[0][0]
    assert isinstance(document, Application)
    return document


def errors(source: str) -> list[str]:
    return [str(error) for error in parse_documents((HEAD + source).encode(), "a.yaml").errors]


def test_helm() -> None:
    found = application(
        "    helm: {release: blue, valuesFiles: [../v.yaml, /w.yaml], values: {secret: {name: kept}, count: 1}, skipCrds: true,"
        " kubeVersion: v1.36.0, apiVersions: [monitoring.coreos.com/v1/ServiceMonitor]}\n"
    ).source.helm
    assert found == HelmOptions(
        release="blue",
        values_files=("../v.yaml", "/w.yaml"),
        values={"secret": {"name": "kept"}, "count": 1},
        skip_crds=True,
        kube_version="v1.36.0",
        api_versions=("monitoring.coreos.com/v1/ServiceMonitor",),
    )


def test_an_empty_option_still_names_the_renderer() -> None:
    assert application("    kustomize: {}\n").source.kustomize == KustomizeOptions()
    assert application("    helm: {}\n").source.helm == HelmOptions()
    assert application("").source.helm is None


def test_keys_by_reference() -> None:
    found = application("    sops: {age: [{env: AGE}], cloud: [aws]}\n").source.sops
    assert isinstance(found, SopsOptions)
    assert (found.age[0].env, found.cloud) == ("AGE", ("aws",))


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("helm: {release: --debug}", "helm.release: expected at most 53 lower-case"),
        ("helm: {release: a/b}", "helm.release: "),
        ("helm: {valuesFiles: ['https://x/v.yaml']}", "helm.valuesFiles[0]: expected the path"),
        ('helm: {valuesFiles: ["a\\nb"]}', "helm.valuesFiles[0]: expected the path"),
        ("helm: {kubeVersion: latest}", "helm.kubeVersion: expected a version"),
        ("helm: {apiVersions: ['a,b']}", "helm.apiVersions[0]: expected group/version"),
        ("helm: {postRenderer: ./x}", "helm.postRenderer: unknown field"),
        ("helm: {chart: {repository: 'file:///etc', name: a, version: 1.0.0}}", "helm.chart.repository: expected oci"),
        ("helm: {chart: {repository: 'https://u:p@x', name: a, version: 1.0.0}}", "helm.chart.repository: expected"),
        ("helm: {chart: {repository: 'https://x', name: ../a, version: 1.0.0}}", "helm.chart.name: expected"),
        ("helm: {chart: {repository: 'https://x', name: a, version: ^1}}", "helm.chart.version: expected one version"),
        ("kustomize: {namespace: A}", "kustomize.namespace: expected"),
        ("kustomize: {images: [{name: 'a b'}]}", "kustomize.images[0].name: expected"),
        ("kustomize: {images: [{name: a, newTag: 'x y'}]}", "kustomize.images[0].newTag: expected a tag"),
        ("kustomize: {images: [{name: a, digest: latest}]}", "kustomize.images[0].digest: expected sha256"),
        ("kustomize: {components: ['https://x']}", "kustomize.components[0]: expected a folder"),
        ("kustomize: {enableHelm: true}", "kustomize.enableHelm: unknown field"),
        ("jsonnet: {external: {'a b': c}}", "jsonnet.external.a b: expected the name of a variable"),
        ("sops: {}", "sops: expected at least one of age, pgp and cloud"),
        ("sops: {age: [{env: A, file: b}]}", "sops.age[0]: expected exactly one of env and file"),
        ("sops: {age: [AGE-SECRET-KEY-1]}", "sops.age[0]: expected `object`"),
        ("helm: {}\n    kustomize: {}", "sources[0]: expected at most one of helm, kustomize and jsonnet"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(source: str, error: str) -> None:
    (found,) = errors(f"    {source}\n")
    assert error.replace("`", "") in found.replace("`", "")
    assert "AGE-SECRET-KEY" not in found
