"""Flux's Kustomizations and HelmReleases in Windlass' words."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from tests.unit.importing.support import documents, imported, lost, only

GIT = """
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo, namespace: flux-system}
spec: {interval: 1m, url: "https://git.example.com/demo/podinfo", ref: {branch: main}}
"""


def kustomization(spec: str = "", name: str = "podinfo", source: str = GIT) -> str:
    return (
        source
        + textwrap.dedent(f"""
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: flux-system}}
spec:
  interval: 10m
  path: ./deploy/
  prune: true
  wait: true
  sourceRef: {{kind: GitRepository, name: podinfo}}
""")
        + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ")
        + "\n"
    )


def test_a_kustomization_of_a_git_repository() -> None:
    result = imported(kustomization())
    assert only(result) == {
        "sources": [{"repository": "podinfo", "branch": "main", "path": "deploy"}],
        "destination": {"cluster": "in-cluster"},
    }
    assert documents(result, "Repository") == {"podinfo": {"url": "https://git.example.com/demo/podinfo"}}
    assert lost(result) == {}


METADATA = (
    '{"apiVersion": "v1", "kind": "Any", "metadata": '
    '{"name": "any", "labels": {"team": "shop"}, "annotations": {"on-call": "shop"}}}'
)


def test_what_a_kustomization_lays_over_its_folder() -> None:
    spec = """
    targetNamespace: shop
    namePrefix: prod-
    nameSuffix: "-1"
    commonMetadata: {labels: {team: shop}, annotations: {on-call: shop}}
    images: [{name: podinfo, newName: registry.example.com/podinfo, newTag: 6.5.0}]
    components: [../tls]
    patches:
    - patch: |
        - {op: add, path: /spec/replicas, value: 3}
      target: {kind: Deployment, name: podinfo}
    timeout: 5m0s
    serviceAccountName: deployer
    force: true
    """
    result = imported(kustomization(spec), {"deploy/kustomization.yaml": ""})
    made = only(result)
    assert made["sources"][0]["kustomize"] == {
        "namespace": "shop",
        "namePrefix": "prod-",
        "nameSuffix": "-1",
        "images": [{"name": "podinfo", "newName": "registry.example.com/podinfo", "newTag": "6.5.0"}],
        "components": ["../tls"],
        "patches": [
            {
                "patch": "- {op: add, path: /spec/replicas, value: 3}\n",
                "target": {"kind": "Deployment", "name": "podinfo"},
            },
            {"patch": METADATA, "target": {"kind": ".*"}},  # pod templates don't get them
        ],
    }
    assert made["destination"] == {
        "cluster": "in-cluster",
        "namespace": "shop",
        "serviceAccount": "flux-system:deployer",
    }
    assert made["sync"] == {"timeout": "5m0s", "replace": True}
    assert lost(result) == {}


def test_an_overlay_of_a_folder_without_a_kustomization_is_said() -> None:
    result = imported(kustomization("targetNamespace: shop"), {"deploy/a.yaml": ""})
    assert "kustomization" in lost(result)["spec.path"]


@pytest.mark.parametrize("field", ["postBuild: {substitute: {region: eu}}"])
def test_half_an_application_waits_for_a_person(field: str) -> None:
    result = imported(kustomization(field))
    assert only(result)["sync"]["automatic"] is False
    assert list(lost(result)) == ["spec.postBuild"]


def test_what_is_suspended_is_not_automatic() -> None:
    assert only(imported(kustomization("suspend: true")))["sync"] == {"automatic": False}


def test_dependencies_wait_for_health_where_flux_does() -> None:
    text = kustomization("dependsOn: [{name: infra}, {name: crds}, {name: gone}]")
    text += kustomization(name="infra", source="---")
    text += kustomization(name="crds", source="---").replace("wait: true", "wait: false")
    result = imported(text)
    assert documents(result)["podinfo"]["sync"]["dependsOn"] == ["infra", {"application": "crds", "until": "applied"}]
    assert list(lost(result)) == ["spec.dependsOn[2].name"]


def test_health_expressions_and_sops() -> None:
    spec = """
    healthCheckExprs:
    - apiVersion: cert-manager.io/v1
      kind: ClusterIssuer
      current: status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')
    decryption: {provider: sops, secretRef: {name: sops-age}}
    """
    made = only(imported(kustomization(spec)))
    assert made["health"] == [
        {
            "kind": "ClusterIssuer",
            "group": "cert-manager.io",
            "current": "status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')",
        }
    ]
    assert made["sources"][0]["sops"] == {"age": [{"file": "/etc/windlass/secrets/sops-age/age.agekey"}]}


@pytest.mark.parametrize(
    ("ref", "followed"),
    [
        ("{branch: next}", {"branch": "next"}),
        ("{tag: v1.0.0, branch: main}", {"tag": "v1.0.0"}),
        ("{semver: '>=1.0.0', tag: v1.0.0}", {"semver": ">=1.0.0"}),
        ("{name: refs/heads/x}", {"branch": "x"}),
        (
            "{commit: 0123456789abcdef0123456789abcdef01234567, branch: main}",
            {"commit": "0123456789abcdef0123456789abcdef01234567"},
        ),
        ("{}", {"branch": "master"}),
    ],
)
def test_what_of_a_repository_is_followed(ref: str, followed: dict[str, str]) -> None:
    (source,) = only(imported(kustomization(source=GIT.replace("{branch: main}", ref))))["sources"]
    assert source == {"repository": "podinfo", "path": "deploy", **followed}


def test_credentials_are_named_by_the_files_of_the_mounted_secret() -> None:
    https = GIT.replace("interval: 1m", "interval: 1m, secretRef: {name: git-auth}")
    ssh = https.replace("https://git.example.com/demo/podinfo", "ssh://git@git.example.com/demo/podinfo")
    folder = "/etc/windlass/secrets/git-auth"
    assert only(imported(kustomization(source=https)), "Repository")["credentials"] == {
        "username": "git",
        "password": {"file": f"{folder}/password"},
    }
    assert only(imported(kustomization(source=ssh)), "Repository")["credentials"] == {
        "sshKey": {"file": f"{folder}/identity"},
        "knownHosts": {"file": f"{folder}/known_hosts"},
    }


def test_a_source_that_is_not_here_makes_nothing() -> None:
    result = imported(kustomization(source=""))
    assert result.applications == 0
    assert "GitRepository flux-system/podinfo" in lost(result)["spec.sourceRef"]


# -- HelmRelease ----------------------------------------------------------------------------------------------------

HELM = """---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: podinfo, namespace: apps}
spec: {interval: 5m, url: "https://charts.example.com/podinfo"}
"""


def release(
    spec: str = "", chart: str = "chart: podinfo\nversion: 6.5.0\nsourceRef: {kind: HelmRepository, name: podinfo}"
) -> str:
    return (
        GIT
        + HELM
        + """---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: apps}
spec:
  interval: 10m
  chart:
    spec:
"""
        + textwrap.indent(textwrap.dedent(chart), "      ")
        + "\n"
        + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ")
        + "\n"
    )


def source_of(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    result = imported(text)
    return only(result)["sources"][0], lost(result)


def test_a_release_of_a_chart_of_a_helm_repository() -> None:
    spec = """
    values: {replicaCount: 2, ui: {message: hello}}
    install: {crds: Skip, disableHooks: true, remediation: {retries: 3}}
    driftDetection:
      mode: enabled
      ignore: [{paths: [/spec/replicas], target: {kind: Deployment, name: "podinfo-.*"}}]
    """
    result = imported(release(spec))
    made = only(result)
    assert made["sources"] == [
        {
            "repository": "podinfo",
            "branch": "main",
            "helm": {
                "release": "podinfo",
                "chart": {"repository": "https://charts.example.com/podinfo", "name": "podinfo", "version": "6.5.0"},
                "values": {"replicaCount": 2, "ui": {"message": "hello"}},
                "skipCrds": True,
                "skipHooks": True,
            },
        }
    ]
    assert made["destination"] == {"cluster": "in-cluster", "namespace": "apps"}
    assert made["sync"] == {"ignore": [{"kind": "Deployment", "name": "podinfo-*", "jsonPointers": ["/spec/replicas"]}]}
    assert lost(result) == {}


def test_the_name_of_a_release_into_another_namespace() -> None:
    source, _ = source_of(release("targetNamespace: shop"))
    assert source["helm"]["release"] == "shop-podinfo"
    source, _ = source_of(release("targetNamespace: shop\nreleaseName: web"))
    assert source["helm"]["release"] == "web"


def test_drift_that_nobody_asked_to_undo_is_reported_only() -> None:
    assert only(imported(release()))["sync"]["selfHeal"] is False


def test_a_chart_in_a_git_repository() -> None:
    chart = """
chart: ./charts/podinfo
sourceRef: {kind: GitRepository, name: podinfo, namespace: flux-system}
valuesFiles: [./charts/podinfo/values-prod.yaml]"""
    source, losses = source_of(release(chart=chart))
    assert source == {
        "repository": "podinfo",
        "branch": "main",
        "path": "charts/podinfo",
        "helm": {"release": "podinfo", "valuesFiles": ["/charts/podinfo/values-prod.yaml"]},
    }
    assert losses == {}


def test_a_chart_that_is_an_oci_artifact() -> None:
    text = (
        GIT
        + """---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: podinfo, namespace: apps}
spec: {interval: 5m, url: "oci://ghcr.io/demo/charts/podinfo", ref: {tag: 6.5.0}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: podinfo, namespace: apps}
spec: {interval: 10m, chartRef: {kind: OCIRepository, name: podinfo}}
"""
    )
    source, _ = source_of(text)
    assert source["helm"]["chart"] == {"repository": "oci://ghcr.io/demo/charts", "name": "podinfo", "version": "6.5.0"}


@pytest.mark.parametrize("field", ["valuesFrom: [{kind: Secret, name: values}]", "postRenderers: [{kustomize: {}}]"])
def test_values_that_are_not_read_hold_the_release_back(field: str) -> None:
    result = imported(release(field))
    assert only(result)["sync"]["automatic"] is False
    assert list(lost(result)) == [f"spec.{field.partition(':')[0]}"]


def test_a_kustomization_and_a_release_of_one_name_are_two_applications() -> None:
    text = release() + "---\n" + kustomization(source="").strip().removeprefix("---")
    assert len(documents(imported(text))) == 2


def test_what_windlass_has_in_other_words_is_said() -> None:
    text = (
        kustomization()
        + "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: p}\nspec: {}\n"
    )
    result = imported(text)
    assert "Promotion" in lost(result)[""]


def test_no_value_of_a_secret_is_repeated() -> None:
    text = kustomization() + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: canary-value}\n"
    result = imported(text)
    assert result.others == 1
    assert "canary-value" not in repr(result)
