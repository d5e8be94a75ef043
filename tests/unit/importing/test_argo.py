"""Argo CD's Applications in Windlass' words: each field is translated, or said to be lost where it stands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.importing.support import argo, documents, imported, lost, only
from windlass.documents.catalog import Placed, build
from windlass.documents.parse import parse_documents
from windlass.importing.convert import convert, dump


def test_a_folder_of_manifests() -> None:
    result = imported(argo(spec="syncPolicy: {automated: {prune: true, selfHeal: true}}"))
    assert only(result) == {
        "sources": [{"repository": "apps", "branch": "main", "path": "guestbook"}],
        "destination": {"cluster": "in-cluster", "namespace": "guestbook"},
    }
    assert documents(result, "Repository") == {"apps": {"url": "https://git.example.com/demo/apps.git"}}
    assert documents(result, "Cluster") == {"in-cluster": {"inCluster": True}}
    assert lost(result) == {}


@pytest.mark.parametrize(
    ("policy", "sync"),
    [
        ("{}", {"automatic": False, "prune": False, "selfHeal": False}),
        ("{automated: {}}", {"prune": False, "selfHeal": False}),
        ("{automated: {enabled: false, prune: true}}", {"automatic": False, "selfHeal": False}),
        ("{automated: {prune: true, selfHeal: true}, syncOptions: [Replace=true]}", {"replace": True}),
        ("{automated: {prune: true, selfHeal: true}, syncOptions: [ServerSideApply=true, PruneLast=true]}", {}),
    ],
)
def test_the_sync_policy(policy: str, sync: dict[str, Any]) -> None:
    result = imported(argo(spec=f"syncPolicy: {policy}"))
    assert only(result).get("sync", {}) == sync
    assert lost(result) == {}


def test_an_option_that_windlass_lacks_is_lost_by_its_place() -> None:
    result = imported(
        argo(spec="syncPolicy: {automated: {}, syncOptions: [PruneLast=true, CreateNamespace=true, New=1]}")
    )
    assert set(lost(result)) == {"spec.syncPolicy.syncOptions[1]", "spec.syncPolicy.syncOptions[2]"}


def test_a_field_that_nobody_knows_is_said_with_its_line() -> None:
    result = imported(argo(source="path: guestbook\nfuture: {field: 1}"))
    (finding,) = [one for one in result.findings if one.lost]
    assert (finding.file, finding.line, finding.object) == ("given.yaml", 11, "Application guestbook")
    assert finding.path == "spec.source.future"


@pytest.mark.parametrize(
    ("revision", "ref"),
    [
        ("main", {"branch": "main"}),
        ("refs/heads/next", {"branch": "next"}),
        ("v1.2.3", {"tag": "v1.2.3"}),
        ("refs/tags/release", {"tag": "release"}),
        ("'1.*'", {"semver": "1.*"}),
        ("'>=1.2.0 <2.0.0'", {"semver": ">=1.2.0 <2.0.0"}),
        ("0123456789abcdef0123456789abcdef01234567", {"commit": "0123456789abcdef0123456789abcdef01234567"}),
    ],
)
def test_what_a_revision_names(revision: str, ref: dict[str, str]) -> None:
    text = argo().replace("targetRevision: main", f"targetRevision: {revision}")
    (source,) = only(imported(text))["sources"]
    assert source == {"repository": "apps", "path": "guestbook", **ref}


def test_head_is_the_branch_of_a_checkout_and_otherwise_assumed() -> None:
    text = argo().replace("targetRevision: main", "targetRevision: HEAD")
    assert "spec.source.targetRevision" in lost(imported(text))
    assert "spec.source.targetRevision" not in lost(imported(text, {"guestbook/a.yaml": ""}))


def test_ignored_differences_are_left_to_others() -> None:
    spec = """
    ignoreDifferences:
      - {group: apps, kind: Deployment, name: web, jsonPointers: [/spec/replicas]}
      - {group: "*", kind: "*", managedFieldsManagers: [kube-controller-manager]}
      - {kind: Secret, jqPathExpressions: ['.data["tls.crt"]', '.data | keys']}
    """
    result = imported(argo(spec=spec))
    assert only(result)["sync"]["ignore"] == [
        {"kind": "Deployment", "group": "apps", "name": "web", "jsonPointers": ["/spec/replicas"]},
        {"kind": "*", "managers": ["kube-controller-manager"]},
        {"kind": "Secret", "group": "", "jsonPointers": ["/data/tls.crt"]},
    ]
    assert list(lost(result)) == ["spec.ignoreDifferences[2].jqPathExpressions[1]"]


# -- Helm -----------------------------------------------------------------------------------------------------------


def helm(options: str, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    indented = "\n".join(f"  {line}" for line in options.strip().splitlines())
    result = imported(argo(source=f"path: charts/web\nhelm:\n{indented}"), **more)
    return only(result)["sources"][0].get("helm", {}), lost(result)


def test_a_chart_of_the_repository_with_all_that_sets_its_values() -> None:
    options, losses = helm(r"""
releaseName: web
valueFiles: [values-prod.yaml, /shared/values.yaml]
values: |
  ingress: {enabled: true, hosts: [a.example.com]}
parameters:
- {name: "ingress.annotations.kubernetes\\.io/tls-acme", value: "true", forceString: true}
- {name: ingress.enabled, value: "false"}
- {name: replicas, value: "3"}
skipCrds: true
kubeVersion: "1.36"
apiVersions: [monitoring.coreos.com/v1]
""")
    assert options == {
        "release": "web",
        "valuesFiles": ["values-prod.yaml", "/shared/values.yaml"],
        "values": {
            "ingress": {
                "enabled": False,
                "hosts": ["a.example.com"],
                "annotations": {"kubernetes.io/tls-acme": "true"},
            },
            "replicas": 3,
        },
        "skipCrds": True,
        "kubeVersion": "1.36",
        "apiVersions": ["monitoring.coreos.com/v1"],
    }
    assert losses == {}


def test_values_as_an_object_count_instead_of_the_text() -> None:
    assert helm("values: 'a: 1'\nvaluesObject: {b: 2}")[0]["values"] == {"b": 2}


def test_what_helm_options_windlass_lacks() -> None:
    _, losses = helm("""
fileParameters: [{name: config, path: files/config.json}]
ignoreMissingValueFiles: true
valueFiles: [https://example.com/values.yaml]
values: "- no\\n- mapping"
""")
    assert set(losses) == {
        f"spec.source.helm.{field}"
        for field in ("fileParameters", "ignoreMissingValueFiles", "valueFiles[0]", "values")
    }


MULTI = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: metrics}
spec:
  sources:
  - repoURL: https://charts.example.com/stable
    chart: prometheus
    targetRevision: 15.7.1
    helm:
      valueFiles: [$values/charts/prometheus/values.yaml]
  - repoURL: https://git.example.com/demo/config.git
    targetRevision: dev
    ref: values
  destination: {server: "https://kubernetes.default.svc", namespace: metrics}
  syncPolicy: {automated: {prune: true, selfHeal: true}}
"""


def test_values_of_another_repository_make_one_source_there() -> None:
    result = imported(MULTI)
    assert only(result)["sources"] == [
        {
            "repository": "config",
            "branch": "dev",
            "helm": {
                "release": "metrics",
                "chart": {"repository": "https://charts.example.com/stable", "name": "prometheus", "version": "15.7.1"},
                "valuesFiles": ["/charts/prometheus/values.yaml"],
            },
        }
    ]
    assert lost(result) == {}


def test_a_values_file_of_another_repository_than_the_charts_own_is_lost() -> None:
    text = MULTI.replace("chart: prometheus", "path: prometheus").replace("15.7.1", "main")
    assert "another repository" in lost(imported(text))["spec.sources[0].helm.valueFiles[0]"]


def test_several_folders_and_a_repository_with_a_ref_that_is_a_source_too() -> None:
    text = MULTI.replace("    ref: values", "    ref: values\n    path: manifests")
    first, second = only(imported(text))["sources"]
    assert first["helm"]["chart"]["name"] == "prometheus"
    assert second == {"repository": "config", "branch": "dev", "path": "manifests"}


CHART = """
chart: podinfo
"""


def test_a_chart_needs_a_git_repository_to_stand_in() -> None:
    text = (
        argo(source=CHART)
        .replace("https://git.example.com/demo/apps.git", "ghcr.io/charts")
        .replace("targetRevision: main", "targetRevision: 6.5.0")
    )
    assert imported(text).applications == 0
    result = imported(text, repository="https://git.example.com/demo/fleet.git")
    (source,) = only(result)["sources"]
    assert source["repository"] == "fleet"
    assert source["helm"]["chart"] == {"repository": "oci://ghcr.io/charts", "name": "podinfo", "version": "6.5.0"}


def test_a_range_of_a_charts_versions_is_left_out_with_the_reason() -> None:
    result = imported(MULTI.replace("15.7.1", "15.*"))
    assert result.applications == 0
    assert "one version" in lost(result)["spec.sources[0].helm.chart.version"]


# -- Kustomize, Jsonnet, plugins --------------------------------------------------------------------------------------


def test_what_is_laid_over_a_kustomization() -> None:
    source = """
    path: overlays/prod
    kustomize:
      namePrefix: prod-
      nameSuffix: "-1"
      namespace: shop
      images: [registry.example.com:5000/shop/web:1.2.3, nginx=registry.example.com/nginx@sha256:%s]
      commonLabels: {team: shop}
      labelWithoutSelector: true
      labelIncludeTemplates: true
      commonAnnotations: {on-call: shop}
      components: [../../components/tls]
      patches:
      - target: {kind: Deployment, name: web}
        patch: '[{"op": "remove", "path": "/spec/replicas"}]'
      replicas: [{name: web, count: 3}]
    """ % ("a" * 64)
    result = imported(argo(source=source))
    options = only(result)["sources"][0]["kustomize"]
    assert options["images"] == [
        {"name": "registry.example.com:5000/shop/web", "newTag": "1.2.3"},
        {"name": "nginx", "newName": "registry.example.com/nginx", "digest": f"sha256:{'a' * 64}"},
    ]
    assert [patch["target"]["name"] for patch in options["patches"]] == ["web", "web"]
    assert options | {"images": [], "patches": []} == {
        "namePrefix": "prod-",
        "nameSuffix": "-1",
        "namespace": "shop",
        "labels": {"team": "shop"},
        "annotations": {"on-call": "shop"},
        "components": ["../../components/tls"],
        "images": [],
        "patches": [],
    }
    assert lost(result) == {}


def test_labels_that_would_go_into_selectors_are_said() -> None:
    result = imported(argo(source="path: a\nkustomize: {commonLabels: {a: b}}"))
    assert "selectors" in lost(result)["spec.source.kustomize.commonLabels"]


def test_each_jsonnet_program_of_a_checkout_is_a_source() -> None:
    source = """
    path: jsonnet
    directory:
      jsonnet:
        extVars: [{name: env, value: prod}, {name: size, value: "3", code: true}]
        tlas: [{name: host, value: a.example.com}]
        libs: [vendor]
    """
    files = {"jsonnet/a.jsonnet": "", "jsonnet/b.jsonnet": "", "jsonnet/lib/c.jsonnet": "", "vendor/d.libsonnet": ""}
    sources = only(imported(argo(source=source), files))["sources"]
    assert [source["jsonnet"]["file"] for source in sources] == ["a.jsonnet", "b.jsonnet"]
    assert sources[0]["jsonnet"] == {
        "file": "a.jsonnet",
        "libraries": ["/vendor"],
        "external": {"env": "prod"},
        "externalCode": {"size": "3"},
        "arguments": {"host": "a.example.com"},
    }


def test_folders_below_are_said_where_argo_cd_leaves_them_out() -> None:
    files = {"guestbook/a.yaml": "", "guestbook/below/b.yaml": ""}
    assert list(lost(imported(argo(), files))) == ["spec.source.directory.recurse"]
    assert lost(imported(argo(source="path: guestbook\ndirectory: {recurse: true}"), files)) == {}
    assert lost(imported(argo(), {"guestbook/a.yaml": ""})) == {}
    assert lost(imported(argo(), {**files, "guestbook/kustomization.yaml": ""})) == {}


@pytest.mark.parametrize("source", ["plugin: {name: cdk8s}", "path: ../outside", "path: .git"])
def test_what_can_not_be_imported_makes_nothing(source: str) -> None:
    result = imported(argo(source=source))
    assert result.documents == [] or result.applications == 0
    assert result.lost


# -- clusters and projects ------------------------------------------------------------------------------------------------


def test_another_cluster_is_reached_by_a_mounted_secret() -> None:
    text = argo().replace("https://kubernetes.default.svc", "https://prod.example.com:6443")
    assert documents(imported(text), "Cluster") == {
        "prod-example-com": {
            "server": "https://prod.example.com:6443",
            "token": {"file": "/etc/windlass/secrets/prod-example-com/token"},
            "caFile": "/etc/windlass/secrets/prod-example-com/ca.crt",
        }
    }


PROJECT = """
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: shop, namespace: argocd}
spec:
  sourceRepos: [https://git.example.com/demo/*]
  destinations: [{server: "https://kubernetes.default.svc", namespace: shop-*}]
  namespaceResourceBlacklist: [{group: "", kind: ResourceQuota}, {group: networking.k8s.io, kind: NetworkPolicy}]
"""


def in_project(project: str = PROJECT, namespace: str = "shop-web") -> str:
    return argo(spec="project: shop").replace("namespace: guestbook", f"namespace: {namespace}") + project


def test_a_project_limits_the_repositories_that_its_applications_follow() -> None:
    result = imported(in_project() + "---\n" + argo(name="other"))
    repositories = documents(result, "Repository")
    assert set(repositories) == {"apps", "apps-shop"}
    assert "limits" not in repositories["apps"]
    assert repositories["apps-shop"]["limits"] == {
        "clusters": ["in-cluster"],
        "namespaces": ["shop-*"],
        "kinds": {"deny": ["ResourceQuota", "NetworkPolicy.networking.k8s.io"]},
    }
    assert documents(result)["guestbook"]["sources"][0]["repository"] == "apps-shop"


def test_an_application_outside_of_its_project_is_left_out() -> None:
    assert imported(in_project(namespace="kube-system")).applications == 0
    assert imported(in_project(PROJECT.replace("demo/*", "other/*"))).applications == 0


def test_a_project_never_gets_wider_in_silence() -> None:
    pairs = PROJECT.replace(
        "namespace: shop-*}]", "namespace: shop-*}, {server: https://prod.example.com, namespace: web}]"
    )
    assert "spec.destinations" in lost(imported(in_project(pairs)))
    denied = PROJECT.replace("namespace: shop-*}]", 'namespace: shop-*}, {server: "*", namespace: "!shop-x"}]')
    assert "spec.destinations[1]" in lost(imported(in_project(denied)))
    some = PROJECT + "  clusterResourceWhitelist: [{group: '', kind: Namespace}]\n"
    result = imported(in_project(some))
    assert "spec.clusterResourceWhitelist" in lost(result)
    assert "clusterScoped" not in documents(result, "Repository")["apps-shop"]["limits"]


def test_the_account_of_a_destination() -> None:
    project = PROJECT + (
        "  destinationServiceAccounts:\n"
        "  - {server: 'https://kubernetes.default.svc', namespace: 'shop-*', defaultServiceAccount: 'shop:deployer'}\n"
    )
    assert only(imported(in_project(project)))["destination"]["serviceAccount"] == "shop:deployer"


# -- whatever is given --------------------------------------------------------------------------------------------------

WORDS = """
source sources repoURL path chart helm values valuesObject parameters name value kustomize images patches directory jsonnet
destination syncPolicy automated syncOptions ignoreDifferences jsonPointers generators list git elements directories template
metadata spec project targetRevision ref target dependsOn sourceRef chartRef decryption secretRef interval namespace server
"""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=4),
    max_leaves=12,
)
KINDS = [
    *(("argoproj.io/v1alpha1", kind) for kind in ("Application", "ApplicationSet", "AppProject")),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
    *(("source.toolkit.fluxcd.io/v1", kind) for kind in ("GitRepository", "HelmRepository", "OCIRepository")),
]


@given(st.lists(st.tuples(st.sampled_from(KINDS), values), max_size=4))
def test_anything_at_all_ends_in_valid_documents_or_in_none(objects: list[tuple[tuple[str, str], Any]]) -> None:
    given_objects = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": f"x{index}", "namespace": "y"}, "spec": spec}
        for index, ((version, kind), spec) in enumerate(objects)
    ]
    result = convert([("any.yaml", dump(given_objects))])
    read = parse_documents(dump(result.documents), "result.yaml")
    catalog = build((Placed(document, "result.yaml", line) for document, line in read.documents), read.errors)
    assert catalog.errors == ()
    assert len(catalog.applications) == result.applications
