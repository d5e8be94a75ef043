"""The Helm chart, by the real helm on a real control plane: in a namespace where Pod Security's "restricted" is enforced."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from service.app import make_app
from service.follow import Documents
from tests.parts.build import binary
from tests.parts.control_plane import ControlPlane
from tests.parts.windlass import Windlass
from windlass.documents.directory import DocumentDirectory
from windlass.settings import TABLE

pytestmark = pytest.mark.integration

CHART = Path(__file__).parents[2] / "charts/windlass"
OPERATIONS = CHART.parents[1] / "docs/operations.md"
KUBERNETES = "1.36.3"
DOCUMENTED: dict[str, Any] = yaml.safe_load(OPERATIONS.read_text().partition("```yaml\n")[2].partition("```")[0])
VALUES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "as the documentation shows": DOCUMENTED,
    "teams with rights of their own": {
        "rbac": {"scope": "none", "impersonate": [{"namespace": "shop", "names": ["deployer"]}, {"namespace": "blog"}]},
        "settings": {
            "WINDLASS_DEFAULT_SERVICE_ACCOUNT": "deployer",
            "WINDLASS_INSTALLATION": "eu",
            "WINDLASS_POLL": 60,
        },
    },
    "some namespaces": {"rbac": {"scope": "namespaces", "namespaces": ["shop", "blog"]}},
    "an external Redis over TLS": {
        "redis": {"embedded": {"enabled": False}, "external": {"existingSecret": "redis-url", "caSecret": "redis-ca"}}
    },
    "an external Redis by address": {
        "redis": {"embedded": {"enabled": False}, "external": {"url": "rediss://redis.example:6380/0"}}
    },
    "scaled by CPU": {"worker": {"autoscaling": {"type": "hpa"}}},
    "scaled by the queue": {"worker": {"autoscaling": {"type": "keda", "prometheus": "http://prometheus.example"}}},
    "webhooks and scrapes from few": {
        "networkPolicy": {
            "ingressFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        }
    },
    "without a watcher": {"watcher": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
    "custom resources of every namespace": {"resources": {"scope": "cluster", "secrets": ["git"]}},
    "custom resources of some namespaces": {"resources": {"scope": "namespaces", "namespaces": ["shop", "blog"]}},
    "OpenShift": {"route": {"enabled": True, "host": "windlass.apps.example"}},
    "an Ingress": {"ingress": {"enabled": True, "host": "windlass.example", "className": "nginx", "tlsSecret": "tls"}},
    "a Gateway": {"httpRoute": {"enabled": True, "host": "windlass.example", "parentRefs": [{"name": "gateway"}]}},
    "the dashboard": {"dashboard": {"enabled": True, "existingSecret": "dashboard", "prefix": "/queues"}},
    "documents and secrets": {
        "documents": [
            {
                "apiVersion": "windlass.dev/v1alpha1",
                "kind": "Cluster",
                "metadata": {"name": "local"},
                "spec": {"inCluster": True},
            }
        ],
        "secrets": ["shop-git", "dots.in-it", f"{'long-' * 20}a", f"{'long-' * 20}b"],
        "createSecrets": {"blog-git": {"token": "t: {{ x }}", "webhook": "w"}},
        "configs": ["known-hosts", "known.hosts"],
        "checks": "smoke-tests",
    },
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt value": ({"worker": {"replica": 3}}, "replica"),
    "a document of another kind of API": (
        {"documents": [{"apiVersion": "v1", "kind": "Pod", "metadata": {}}]},
        "apiVersion",
    ),
    "a setting that has a value of its own": ({"settings": {"WINDLASS_CONCURRENCY": 4}}, "WINDLASS_CONCURRENCY"),
    "a key that anybody could read": ({"settings": {"WINDLASS_KEY": "k" * 32}}, "WINDLASS_KEY"),
    "an external Redis that is not named": ({"redis": {"embedded": {"enabled": False}}}, "redis.external"),
    "a dashboard that would serve everybody": ({"dashboard": {"enabled": True}}, "dashboard.existingSecret"),
}

PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Pod": "/api/v1/namespaces/{}/pods",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
}

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def helm(kubeconfig: Path, tmp_path: Path) -> Helm:
    def run(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(values or {}))
        files = ["--values", str(tmp_path / "values.yaml")] if values is not None else []
        environment = {"HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig), "PATH": "/usr/bin:/bin"}
        command = [binary("helm"), *arguments, *files]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    return run


@pytest.fixture
def restricted(control_plane: ControlPlane, unique: str) -> Iterator[str]:
    """A namespace where Pod Security refuses, and warns of, whatever is not "restricted"."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": unique, "labels": labels}}
    control_plane.request("POST", "/api/v1/namespaces", body)
    yield unique
    control_plane.request("DELETE", f"/api/v1/namespaces/{unique}")


def template(helm: Helm, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return helm("template", "main", str(CHART), "--namespace", "windlass", "--kube-version", KUBERNETES, values=values)


def objects(rendered: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(rendered) if document]


def test_helm_finds_nothing_to_complain_of(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_set_of_values_renders_what_the_api_server_takes_without_a_warning(
    helm: Helm, control_plane: ControlPlane, restricted: str, values: dict[str, Any]
) -> None:
    done = template(helm, values)
    assert done.returncode == 0, done.stderr
    for item in objects(done.stdout):
        if item["kind"] in ("HTTPRoute", "Route", "ScaledObject"):
            continue  # kinds that no bare control plane has
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = restricted
        warnings = control_plane.warnings(PATHS[item["kind"]].format(restricted), item)
        assert not warnings, f"{item['kind']} {item['metadata']['name']}: {warnings}"


def test_the_documents_that_the_documentation_shows_are_valid(helm: Helm, tmp_path: Path) -> None:
    (folder := tmp_path / "documents").mkdir()
    for item in objects(template(helm, DOCUMENTED).stdout):
        if item["metadata"]["name"] == "main-windlass-documents":
            for name, content in item["data"].items():
                (folder / name).write_text(content)
    catalog = DocumentDirectory(folder).load()
    assert catalog.errors == ()
    assert list(catalog.applications) == ["shop"]


@pytest.mark.parametrize(("values", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, values: dict[str, Any], said: str) -> None:
    done = template(helm, values)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_settings_that_the_values_leave_are_all_known_once(helm: Helm) -> None:
    """What the chart sets itself can't be set again, beside it; all others can."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["propertyNames"]
    refused, known = set(schema["not"]["enum"]), {one.name for one in TABLE if one.name.startswith("WINDLASS_")}
    assert refused <= known
    values = VALUES["the dashboard"] | VALUES["documents and secrets"] | {"resources": {"scope": "cluster"}}
    values["settings"] = dict.fromkeys(known - refused, "x")
    for item in objects(template(helm, values).stdout):
        if item["kind"] == "Deployment":
            (container,) = item["spec"]["template"]["spec"]["containers"]
            names = [one["name"] for one in container["env"]]
            assert len(set(names)) == len(names)
            assert {name for name in names if name.startswith("WINDLASS_")} - known == set()


def test_no_pod_gets_a_token_that_it_does_not_need(helm: Helm) -> None:
    pods = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]
        for item in objects(template(helm, VALUES["the dashboard"]).stdout)
        if item["kind"] in ("Deployment", "StatefulSet")
    }
    with_token = {name for name, pod in pods.items() if pod["automountServiceAccountToken"]}
    assert with_token == {"main-windlass-worker", "main-windlass-watcher"}


def test_the_dashboard_has_no_key_document_or_secret_of_windlass(helm: Helm) -> None:
    values = {**VALUES["the dashboard"], **VALUES["documents and secrets"], **VALUES["an external Redis over TLS"]}
    volumes = {
        item["metadata"]["name"]: {volume["name"] for volume in item["spec"]["template"]["spec"]["volumes"]}
        for item in objects(template(helm, values).stdout)
        if item["kind"] == "Deployment"
    }
    assert volumes["main-windlass-dashboard"] == {"tmp", "redis-ca"}
    assert {"key", "documents", "secret-0", "config-0", "checks"} <= volumes["main-windlass-worker"]


def test_a_service_that_ends_listens_until_nobody_is_led_to_it(helm: Helm) -> None:
    """Its addresses leave the Service while it sleeps; no delivery of a rolling upgrade is refused."""
    rendered = objects(template(helm, {}).stdout)
    (service,) = [
        one for one in rendered if (one["kind"], one["metadata"]["name"]) == ("Deployment", "main-windlass-service")
    ]
    pod = service["spec"]["template"]["spec"]
    program, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    assert 0 < int(seconds) < pod["terminationGracePeriodSeconds"] - 10
    assert service["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("way", ["an Ingress", "a Gateway"])
def test_each_way_in_leads_to_all_that_others_may_call(helm: Helm, way: str) -> None:
    app = make_app(Documents(), Mock(), Mock(), Mock(), key=b"k" * 32, body_limit=1024)
    posts = [route.resource for route in app.router.routes() if route.method == "POST"]
    called = {f"/{resource.canonical.split('/')[1]}" for resource in posts if resource is not None}
    (found,) = [one for one in objects(template(helm, VALUES[way]).stdout) if one["kind"] in ("Ingress", "HTTPRoute")]
    (rule,) = found["spec"]["rules"]
    if way == "an Ingress":
        assert {one["path"] for one in rule["http"]["paths"]} == called
    else:
        assert {one["path"]["value"] for one in rule["matches"]} == called


@pytest.mark.parametrize(
    ("spec", "warned"), [({}, True), ({"namespace": "windlass"}, True), ({"namespace": "gitops"}, False)]
)
def test_the_notes_warn_of_records_where_windlass_has_no_right(helm: Helm, spec: dict[str, str], warned: bool) -> None:
    document = {**VALUES["documents and secrets"]["documents"][0], "spec": {"inCluster": True, **spec}}
    command = ["install", "main", str(CHART), "--namespace", "gitops", "--dry-run=client"]
    done = helm(*command, values={"documents": [document]})
    assert done.returncode == 0, done.stderr
    assert ("`namespace: gitops` to its spec" in done.stdout) is warned


def test_helm_test_asks_a_service_whether_it_is_ready(helm: Helm, redis_url: str, tmp_path: Path) -> None:
    (pod,) = [one for one in objects(template(helm, {}).stdout) if one["kind"] == "Pod"]
    (container,) = pod["spec"]["containers"]
    program, url = container["args"]
    assert url == "http://main-windlass.windlass.svc:80/readyz"
    windlass = Windlass(tmp_path / "windlass", redis_url)
    command = [sys.executable, *container["command"][1:], program, f"{windlass.url}/readyz"]
    try:
        windlass.start_service()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ready"), done.stderr
    finally:
        windlass.stop()
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0


def test_helm_test_reaches_a_service_that_few_may_call(helm: Helm) -> None:
    rendered = objects(template(helm, VALUES["webhooks and scrapes from few"]).stdout)
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in rendered}
    (rule,) = by_name["NetworkPolicy", "main-windlass-service"]["spec"]["ingress"]
    assert {"ipBlock": {"cidr": "192.0.2.0/24"}} in rule["from"]
    labels = by_name["Pod", "main-windlass-test"]["metadata"]["labels"]
    selected = [one["podSelector"]["matchLabels"] for one in rule["from"] if "podSelector" in one]
    assert [one.items() <= labels.items() for one in selected] == [True]


def test_secrets_of_the_values_are_made_and_mounted_as_they_are(helm: Helm) -> None:
    rendered = objects(template(helm, VALUES["documents and secrets"]).stdout)
    made = {one["metadata"]["name"]: one for one in rendered if one["kind"] == "Secret"}
    assert made["blog-git"]["stringData"] == {"token": "t: {{ x }}", "webhook": "w"}
    (worker,) = [
        one for one in rendered if (one["kind"], one["metadata"]["name"]) == ("Deployment", "main-windlass-worker")
    ]
    pod = worker["spec"]["template"]["spec"]
    secrets = {one["name"]: one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
    places = {secrets.get(one["name"]): one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert places["blog-git"] == "/etc/windlass/secrets/blog-git"
    assert places["shop-git"] == "/etc/windlass/secrets/shop-git"


def test_the_programs_of_checks_are_in_the_workers_and_can_be_run(helm: Helm) -> None:
    found = {}
    for item in objects(template(helm, VALUES["documents and secrets"]).stdout):
        if item["kind"] == "Deployment":
            pod = item["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            names = {one["name"]: one.get("value") for one in container["env"]}
            places = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
            volumes = {one["name"]: one for one in pod["volumes"]}
            found[container["name"]] = names.get("WINDLASS_CHECKS"), places.get("checks"), volumes.get("checks")
    volume = {"name": "checks", "configMap": {"name": "smoke-tests", "defaultMode": 0o555}}
    assert found.pop("worker") == ("/etc/windlass/checks", "/etc/windlass/checks", volume)
    assert set(found.values()) == {(None, None, None)}


@pytest.mark.parametrize("resources", [{"scope": "cluster"}, {"scope": "namespaces", "namespaces": ["shop"]}])
def test_with_custom_resources_the_service_has_an_account_that_reads_secrets_only(
    helm: Helm, resources: dict[str, Any]
) -> None:
    rendered = objects(template(helm, {"resources": resources}).stdout)
    pods = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in rendered if one["kind"] == "Deployment"}
    assert pods["main-windlass-service"]["serviceAccountName"] == "main-windlass-service"
    assert pods["main-windlass-watcher"]["serviceAccountName"] == "main-windlass"
    roles = {(one["kind"], one["metadata"]["name"]): one["rules"] for one in rendered if one["kind"].endswith("Role")}
    bound = [
        (one["roleRef"]["kind"], one["roleRef"]["name"])
        for one in rendered
        if one["kind"].endswith("Binding")
        and "main-windlass-service" in [subject["name"] for subject in one["subjects"]]
    ]
    assert bound
    assert all(roles[role] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}] for role in bound)


def test_install_upgrade_and_uninstall(helm: Helm, control_plane: ControlPlane, restricted: str) -> None:
    """Everything becomes ready; an upgrade keeps the key and the password; nothing is left."""
    values = {"redis": {"embedded": {"persistence": {"enabled": False}}}}
    where = ["main", str(CHART), "--namespace", restricted, "--wait", "--timeout", "90s"]
    done = helm("install", *where, values=values)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    assert f"main-windlass.{restricted}.svc" in done.stdout
    before = [secret(control_plane, restricted, name) for name in ("main-windlass-key", "main-windlass-redis")]
    done = helm("upgrade", *where, values={**values, "worker": {"replicas": 3}})
    assert done.returncode == 0, done.stderr
    assert [secret(control_plane, restricted, name) for name in ("main-windlass-key", "main-windlass-redis")] == before
    assert helm("uninstall", "main", "--namespace", restricted, "--wait").returncode == 0
    for kind in ("Deployment", "StatefulSet", "Service", "Secret"):
        assert not control_plane.request("GET", PATHS[kind].format(restricted))["items"], kind


def secret(control_plane: ControlPlane, namespace: str, name: str) -> bytes:
    found: Any = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    (value,) = found["data"].values()
    content = base64.b64decode(value)
    assert len(content) >= 32
    return content


def may(control_plane: ControlPlane, account: str, verb: str, group: str, resource: str, namespace: str = "") -> bool:
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "resourceAttributes": attributes},
    }
    answer: Any = control_plane.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def test_teams_with_rights_of_their_own_leave_windlass_almost_none(
    helm: Helm, control_plane: ControlPlane, restricted: str
) -> None:
    """It keeps its records, acts as the accounts that are listed, and reads where they are; nothing else."""
    team = f"{restricted}-team"
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": team}})
    values = {"rbac": {"scope": "none", "impersonate": [{"namespace": team, "names": ["deployer"]}]}}
    done = helm("install", "main", str(CHART), "--namespace", restricted, values=values)
    assert done.returncode == 0, done.stderr
    account = f"system:serviceaccount:{restricted}:main-windlass"
    assert may(control_plane, account, "patch", "", "configmaps", restricted)
    assert not may(control_plane, account, "patch", "", "configmaps", team)
    assert not may(control_plane, account, "get", "", "secrets", restricted)
    assert may(control_plane, account, "list", "", "secrets", team)
    assert may(control_plane, account, "watch", "apps", "deployments", team)
    assert not may(control_plane, account, "list", "apps", "deployments", restricted)
    assert not may(control_plane, account, "delete", "apps", "deployments", team)
    assert not may(control_plane, account, "create", "", "pods", team)
    assert not may(control_plane, account, "impersonate", "", "users")
    assert not may(control_plane, account, "impersonate", "", "serviceaccounts", restricted)
    control_plane.request("DELETE", f"/api/v1/namespaces/{team}")
    assert helm("uninstall", "main", "--namespace", restricted).returncode == 0


def test_the_schema_knows_every_value(helm: Helm) -> None:
    """Both ways: a default that the schema doesn't know, or a property without a default, is a mistake."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(place: str, properties: dict[str, Any], values: dict[str, Any]) -> None:
        assert set(properties) - {"global"} == set(values), place
        for name, value in values.items():
            if isinstance(value, dict) and "properties" in properties[name]:
                compare(f"{place}.{name}", properties[name]["properties"], value)

    compare("values", schema["properties"], defaults)


def test_alerts_and_dashboard_ask_only_for_series_that_there_are(helm: Helm) -> None:
    values = {"metrics": {name: {"enabled": True} for name in ("podMonitor", "rules", "dashboard")}}
    parts = ("PrometheusRule", "PodMonitor", "ConfigMap")
    rendered = [item for item in objects(template(helm, values).stdout) if item["kind"] in parts]
    found = {item["kind"]: item for item in rendered if not item["metadata"]["name"].endswith("-documents")}
    assert set(found) == {"PrometheusRule", "PodMonitor", "ConfigMap"}
    asked = json.dumps(found["PrometheusRule"]["spec"]) + found["ConfigMap"]["data"]["windlass.json"]
    names = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"windlass_[a-z_]+", asked)}
    documented = set(re.findall(r"^\| `(windlass_[a-z_]+)`", OPERATIONS.read_text(), re.MULTILINE))
    assert names <= documented
