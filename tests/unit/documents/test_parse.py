"""Documents read from YAML: typed, strict, each fault with its file, line and field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.parse import SPECS, parse_documents
from windlass.documents.types import Application, Cluster, Repository, SecretRef

REPOSITORY = """\
apiVersion: windlass.dev/v1alpha1
kind: Repository
metadata:
  name: shop
spec:
  url: https://git.example/shop/manifests.git
  forge: gitea
  webhook:
    secrets:
      - env: NEW
      - file: /run/secrets/old
  credentials:
    token: {env: TOKEN}
"""
CLUSTER = """\
apiVersion: windlass.dev/v1alpha1
kind: Cluster
metadata:
  name: here
spec:
  inCluster: true
"""
APPLICATION = """\
apiVersion: windlass.dev/v1alpha1
kind: Application
metadata:
  name: shop
spec:
  sources:
    - repository: shop
      branch: main
      path: deploy
  destination:
    cluster: here
    namespace: shop
"""


def read(text: str) -> list[Any]:
    found = parse_documents(text.encode(), "a.yaml")
    assert [str(error) for error in found.errors] == []
    return [document for document, _ in found.documents]


def errors(text: str) -> list[str]:
    return [str(error) for error in parse_documents(text.encode(), "a.yaml").errors]


def spec(kind: str, text: str, name: str = "x") -> str:
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    return f"apiVersion: windlass.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{lines}"


def test_a_repository() -> None:
    (repository,) = read(REPOSITORY)
    assert isinstance(repository, Repository)
    assert repository.spec.webhook is not None
    assert repository.spec.webhook.secrets == (SecretRef(env="NEW"), SecretRef(file="/run/secrets/old"))


def test_a_cluster() -> None:
    (cluster,) = read(CLUSTER)
    assert isinstance(cluster, Cluster)
    assert (cluster.spec.namespace, cluster.spec.max_concurrent_requests) == ("windlass", 32)


def test_labels_and_annotations_are_strings_or_nothing() -> None:
    for metadata in ("annotations: {a.example/b: '7'}", "labels: {}", "labels:", "annotations: null"):
        (document,) = read(CLUSTER.replace("name: here", f"name: here\n  {metadata}"))
        assert document.name == "here"


def test_an_application() -> None:
    (application,) = read(APPLICATION)
    assert isinstance(application, Application)
    assert application.source.ref == "refs/heads/main"
    assert application.manager == "windlass/shop"
    assert (application.spec.sync.prune, application.spec.sync.force) == (True, False)


@pytest.mark.parametrize(
    ("field", "ref"),
    [("branch: a/b", "refs/heads/a/b"), ("tag: v1", "refs/tags/v1"), ("commit: " + "a" * 40, "a" * 40)],
)
def test_the_ref_that_an_application_follows(field: str, ref: str) -> None:
    (application,) = read(APPLICATION.replace("branch: main", field))
    assert application.source.ref == ref


def test_several_documents_and_the_line_of_each() -> None:
    found = parse_documents("---\n".join((REPOSITORY, CLUSTER, APPLICATION)).encode(), "a.yaml")
    assert [(type(document).__name__, line) for document, line in found.documents] == [
        ("Repository", 1),
        ("Cluster", 15),
        ("Application", 22),
    ]


def test_a_wrong_document_disables_itself_only() -> None:
    found = parse_documents("---\n".join((CLUSTER, "kind: x\n", APPLICATION)).encode(), "a.yaml")
    assert [document.name for document, _ in found.documents] == ["here", "shop"]
    assert [error.line for error in found.errors] == [8]


def test_a_file_that_is_no_yaml_disables_all_of_it() -> None:
    found = parse_documents((CLUSTER + "---\na: [\n").encode(), "a.yaml")
    assert found.documents == []
    assert [str(error) for error in found.errors] == ["a.yaml:9: did not find expected node content"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("text", "1: expected a document, a mapping with apiVersion, kind, metadata and spec"),
        ("kind: Cluster", "1: apiVersion: expected windlass.dev/v1alpha1, found nothing"),
        (CLUSTER.replace("v1alpha1", "v2"), "1: apiVersion: expected windlass.dev/v1alpha1, found 'windlass.dev/v2'"),
        (
            CLUSTER.replace("Cluster", "Klaster"),
            f"2: kind: expected one of {', '.join(SPECS)}, found 'Klaster'",
        ),
        (
            CLUSTER.replace("Cluster", "[a]"),
            f"2: kind: expected one of {', '.join(SPECS)}, found a list",
        ),
        (CLUSTER + "status: {}\n", "7: status: unknown field"),
        (CLUSTER.replace("name: here", "name: here\n  uid: x"), "5: metadata.uid: unknown field"),
        (CLUSTER.replace("  name: here\n", "  labels: {}\n"), "3: metadata.name: expected at most 63 lower-case"),
        (CLUSTER.replace("here", "Here"), "4: metadata.name: expected at most 63 lower-case"),
        (CLUSTER.replace("here", "a" * 10_000), "4: metadata.name: expected at most 63 lower-case"),
        (CLUSTER.replace("here", "1"), "4: metadata.name: expected at most 63 lower-case"),
        (
            CLUSTER.replace("name: here", "name: here\n  annotations: 7"),
            "5: metadata.annotations: expected a mapping of strings, found an int",
        ),
        (
            CLUSTER.replace("name: here", "name: here\n  labels: [1]"),
            "5: metadata.labels: expected a mapping of strings, found a list",
        ),
        (
            CLUSTER.replace("name: here", "name: here\n  annotations:\n    a: b\n    build: 7"),
            "7: metadata.annotations.build: expected a string, found an int (quote it)",
        ),
        (
            CLUSTER.replace("name: here", "name: here\n  labels: {team: [shop]}"),
            "5: metadata.labels.team: expected a string, found a list",
        ),
        (CLUSTER + "  nonsense: 1\n", "7: spec.nonsense: unknown field"),
        (CLUSTER.replace("inCluster: true", "inCluster: maybe"), "6: spec.inCluster: expected bool, got str"),
        (
            CLUSTER.replace("  inCluster: true\n", "  {}\n"),
            "5: spec: expected exactly one of inCluster, kubeconfig and server",
        ),
        (CLUSTER[: CLUSTER.index("spec:")], "1: spec: expected object, got null"),
        (APPLICATION.replace("main", "1.10"), "8: spec.sources[0].branch: expected str | null, got float (quote it)"),
        (
            APPLICATION.replace("      branch: main\n", ""),
            "7: spec.sources[0]: expected exactly one of branch, tag, commit and semver",
        ),
        (
            APPLICATION.replace("branch: main", "branch: --output=x"),
            "8: spec.sources[0].branch: not a valid name of a Git ref",
        ),
        (
            APPLICATION.replace("branch: main", "commit: abc1234"),
            "8: spec.sources[0].commit: expected 40 lower-case hexadecimal digits",
        ),
        (
            APPLICATION.replace("path: deploy", "path: ../.."),
            "9: spec.sources[0].path: expected a folder of the repository",
        ),
        (
            APPLICATION.replace("    - repository: shop\n", "    - {}\n#").split("#")[0],
            "7: spec.sources[0]: the field repository is missing",
        ),
        (
            APPLICATION.replace("namespace: shop", "namespace: Shop"),
            "12: spec.destination.namespace: expected at most 63 lower-case",
        ),
        (APPLICATION + "  adopts: shop\n", "13: spec.adopts: an application can't adopt itself"),
        (APPLICATION + "  adopts: Shop\n", "13: spec.adopts: expected at most 63 lower-case"),
        (APPLICATION + "  sync: {prune: 1}\n", "13: spec.sync.prune: expected bool, got int"),
        (APPLICATION + "  sync:\n    interval: 1x\n", "14: spec.sync.interval: unknown field"),
        (REPOSITORY.replace("gitea", "sourceforge"), "7: spec.forge: expected one of github, gitlab, gitea, forgejo, "),
        (REPOSITORY.replace("https://", "file://"), "6: spec.url: expected https://host/path"),
        (
            REPOSITORY.replace("env: NEW", "env: NEW\n        file: x"),
            "10: spec.webhook.secrets[0]: expected exactly one of env and file",
        ),
        (
            REPOSITORY.replace("env: NEW", "env: A=B"),
            "10: spec.webhook.secrets[0].env: expected the name of an environment variable",
        ),
        (REPOSITORY.replace("env: NEW", "{}"), "10: spec.webhook.secrets[0]: expected exactly one of env and file"),
        (
            REPOSITORY.replace("    secrets:", "    name: a/b\n    secrets:"),
            "9: spec.webhook.name: expected at most 63 letters, digits, dots",
        ),
        (
            REPOSITORY.replace("token: {env: TOKEN}", "token: TOKEN"),
            "13: spec.credentials.token: expected object | null, got str",
        ),
        (REPOSITORY + "  status: {}\n", "14: spec.status: the field token is missing"),
        (APPLICATION + "  sync: {rollback: yes please}\n", "13: spec.sync.rollback: expected one of automatic"),
    ],
)
def test_a_fault_has_a_file_a_line_and_a_field(text: str, error: str) -> None:
    (found,) = errors(text)
    assert found.startswith(f"a.yaml:{error}")


@pytest.mark.parametrize(
    ("kind", "text", "field"),
    [
        ("Repository", "url: https://h/x\nverify: {}", "spec.verify"),
        ("Cluster", "inCluster: true\nrequestLimits: {}", "spec.requestLimits"),
        ("Application", "sources: [{repository: a, branch: b, chart: {}}]", "spec.sources[0].chart"),
    ],
)
def test_a_field_whose_behaviour_is_not_built_yet_is_refused_by_name(kind: str, text: str, field: str) -> None:
    (error,) = parse_documents(spec(kind, text).encode(), "a.yaml").errors
    assert (error.field, error.message) == (field, "not built yet: Windlass would ignore it, so it refuses it")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("credentials: {token: {secret: {name: a, key: b}}}", "spec.credentials.token.secret"),
        ("webhook: {secrets: [{secret: {name: a, key: b}}]}", "spec.webhook.secrets[0].secret"),
        (
            "signedCommits: {keys: [{kind: gpg, secret: {name: a, key: b}}]}",
            "spec.signedCommits.keys[0].secret",
        ),
    ],
)
def test_a_file_names_no_secret_of_a_cluster(text: str, field: str) -> None:
    (error,) = parse_documents(spec("Repository", f"url: https://h/x\n{text}").encode(), "a.yaml").errors
    assert (error.field, error.message.partition(":")[2]) == (field, " expected env or file")


def test_every_fault_of_a_document_is_told_at_once() -> None:
    text = spec("Repository", "url: file:///x\nwebhook: {name: /}\nstatus: {}")
    assert [error.split(": ")[1] for error in errors(text)] == ["spec.url", "spec.webhook.name", "spec.status"]


@pytest.mark.parametrize(
    ("url", "credentials", "fault"),
    [
        ("https://h/x", "{token: {env: A}}", None),
        ("https://h/x", "{username: a, password: {env: A}}", None),
        ("git@h:x", "{sshKey: {file: a}, knownHosts: {file: b}}", None),
        ("https://h/x", "{}", "exactly one of token, password"),
        ("https://h/x", "{token: {env: A}, password: {env: B}}", "exactly one of token, password"),
        ("https://h/x", "{password: {env: B}}", "the field username is missing"),
        ("https://h/x", "{username: 'a:b', password: {env: B}}", "without colons"),
        ("https://h/x", "{sshKey: {file: a}, knownHosts: {file: b}}", "sshKey with an SSH URL"),
        ("git@h:x", "{token: {env: A}}", "sshKey with an SSH URL"),
        ("git@h:x", "{sshKey: {file: a}}", "does not trust a host key on first sight"),
        ("https://h/x", "{token: {env: A}, knownHosts: {file: b}}", "goes with sshKey only"),
    ],
)
def test_credentials(url: str, credentials: str, fault: str | None) -> None:
    found = errors(spec("Repository", f"url: {url}\ncredentials: {credentials}"))
    assert [fault in error for error in found] == [True] if fault else found == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kubeconfig: /etc/kube\ncontext: a", None),
        ("server: https://api:6443\ntoken: {env: T}\ncaFile: /ca", None),
        ("inCluster: true\nkubeconfig: a", "exactly one of inCluster"),
        ("inCluster: true\ncontext: a", "chosen from a kubeconfig"),
        ("inCluster: true\ncaFile: /ca", "goes with server only"),
        ("server: https://api:6443", "go together"),
        ("server: api:6443\ntoken: {env: T}", "expected an http(s) URL"),
        ("kubeconfig: ''", "expected the path of a file"),
        ("inCluster: true\nnamespace: ../x", "RFC 1123"),
        ("inCluster: true\nmaxConcurrentRequests: 0", "expected 1 to 1000"),
    ],
)
def test_clusters(text: str, fault: str | None) -> None:
    found = errors(spec("Cluster", text))
    assert [fault in error for error in found] == [True] if fault else found == []


def test_a_fault_repeats_no_structure_and_no_long_text() -> None:
    text = CLUSTER.replace("windlass.dev/v1alpha1", "{password: canary}") + "---\nkind: " + "k" * 9000
    assert all("canary" not in error and len(error) < 200 for error in errors(text))


def test_a_thousand_wrong_documents_are_located_in_one_reading() -> None:
    found = parse_documents(("---\n".join([CLUSTER + "  nonsense: 1\n"] * 1000)).encode(), "a.yaml")
    assert [error.line for error in found.errors] == [7 + 8 * index for index in range(1000)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["{env: A}", "shop", "main"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["url", "sources", "path", "token", "env", "sync", "secret", "name"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


FIELDS = ["url", "sources", "destination", "sync", "webhook", "credentials", "inCluster", "server", "status", "adopts"]


@given(st.sampled_from(["Repository", "Cluster", "Application"]), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_spec_is_a_document_or_faults(kind: str, fields: dict[str, Any]) -> None:
    found = parse_documents(spec(kind, json.dumps(fields)).encode(), "a.yaml")
    assert bool(found.documents) != bool(found.errors)
    assert all(error.line >= 1 and error.file == "a.yaml" for error in found.errors)
