"""Plain manifests: every object of a file, as Git says it; what is wrong, with file and line."""

from __future__ import annotations

import time

import pytest

from workers.render.plain import Manifest, ManifestError, is_manifest, parse_file

CONFIG = b"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: shop
  labels:
    app.kubernetes.io/name: web
  annotations:
    example.com/note: "hand written"
data:
  LOG_LEVEL: info
  TIMEOUT: "30"
  URL: http://example.com/path
  FEATURE_A: "true"
  app.conf: |
    listen 80
    root /srv
    gzip on
  MAX: "10"
"""


def named(data: bytes) -> list[str]:
    return [f"{m.kind}/{m.name}:{m.line}" for m in parse_file(data, "a.yaml")]


def error_of(data: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        parse_file(data, "base/a.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "yes"),
    [
        ("a.yaml", True),
        ("base/a.yml", True),
        ("a.json", True),
        ("README.md", False),
        ("yaml", False),
        ("a.yaml.tmpl", False),
        ("a.YAML", False),
    ],
)
def test_which_files_are_manifests(path: str, yes: bool) -> None:
    assert is_manifest(path) is yes


def test_an_object() -> None:
    (manifest,) = parse_file(CONFIG, "base/settings.yaml")
    assert manifest[:4] == ("v1", "ConfigMap", "shop", "settings")
    assert manifest.body["data"]["TIMEOUT"] == "30"
    assert manifest.body["data"]["app.conf"] == "listen 80\nroot /srv\ngzip on\n"
    assert (manifest.file, manifest.line) == ("base/settings.yaml", 1)


def test_several_documents_each_with_its_line() -> None:
    assert named(b"# all\n---\n" + CONFIG + b"---\n# none\n---\n" + CONFIG) == [
        "ConfigMap/settings:3",
        "ConfigMap/settings:25",
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"---\n", b"# nothing\n", b"\xef\xbb\xbf", b"kind: List\nitems: []\n"])
def test_files_of_nothing(data: bytes) -> None:
    assert parse_file(data, "a.yaml") == []


def test_a_list_is_its_items_each_with_its_line() -> None:
    data = b"""\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
- apiVersion: v1
  kind: List
  items:
  - {apiVersion: v1, kind: Secret, metadata: {name: b}}
"""
    assert named(data) == ["ConfigMap/a:4", "Secret/b:10"]


def test_items_of_a_typed_list_take_its_kind() -> None:
    data = b"apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n"
    (manifest,) = parse_file(data, "a.yaml")
    assert (manifest.api_version, manifest.kind) == ("apps/v1", "Deployment")
    assert manifest.body == {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}


def test_a_kind_that_only_sounds_like_a_list_is_an_object() -> None:
    assert named(b"apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: a}\n") == ["AllowList/a:1"]


def test_json() -> None:
    assert named(b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"}}') == ["Service/web:1"]


@pytest.mark.parametrize("name", ["a", "system:node:x", "a.b-c", "A_b"])
def test_names_are_the_api_servers_to_judge(name: str) -> None:
    (manifest,) = parse_file(f"apiVersion: v1\nkind: X\nmetadata: {{name: '{name}'}}".encode(), "a.yaml")
    assert manifest.name == name


OBJECT = "apiVersion: {version}\nkind: {kind}\nmetadata:\n  {metadata}\n"


def wrong(version: str = "v1", kind: str = "ConfigMap", metadata: str = "name: a") -> bytes:
    return OBJECT.format(version=version, kind=kind, metadata=metadata).encode()


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"text\n", 1, "expected an object, found text"),
        (b"\n- a\n", 2, "expected an object, found a list"),
        (b"kind: ConfigMap\n", 1, "apiVersion: expected text, found nothing"),
        (b"apiVersion: 1\nkind: A\n", 1, "apiVersion: expected text, found a number"),
        (b"apiVersion: v1\n", 1, "kind: expected text, found nothing"),
        (b"apiVersion: v1\nkind: ''\n", 2, "kind: expected text, found nothing"),
        (b"apiVersion: v1\nkind: A\n", 1, "metadata: expected a mapping, found nothing"),
        (b"apiVersion: v1\nkind: A\nmetadata: [a]\n", 3, "metadata: expected a mapping, found a list"),
        (wrong(metadata="{}"), 3, "metadata.name: expected text, found nothing"),
        (wrong(metadata="name: 12"), 4, "metadata.name: expected text, found a number"),
        (wrong(metadata="name: yes"), 4, "metadata.name: expected text, found a boolean"),
        (wrong(metadata="generateName: a-"), 4, "metadata.generateName: an object that is kept equal to Git needs"),
        (wrong(metadata="name: a\n  namespace: 1"), 5, "metadata.namespace: expected text, found a number"),
        (wrong(metadata="name: a\n  labels: []"), 5, "metadata.labels: expected a mapping, found a list"),
        (
            wrong(metadata="name: a\n  labels:\n    on: true"),
            6,
            "metadata.labels[true]: expected text, found a boolean",
        ),
        (wrong(metadata="name: a\n  annotations: {x: 1}"), 5, "metadata.annotations[x]: expected text, found a number"),
        (b"kind: List\nitems:\n- {}\n", 3, "apiVersion: expected text, found nothing"),
        (b"kind: List\nitems:\n- a\n", 3, "expected an object, found text"),
        (CONFIG + b"data: {}\n", 20, "the key 'data' is there twice"),
        (CONFIG + b"---\na: [\n", 22, "did not find expected node content"),
    ],
)
def test_what_is_wrong_has_a_file_and_a_line(data: bytes, line: int, message: str) -> None:
    assert error_of(data).startswith(f"base/a.yaml:{line}: {message}")


@pytest.mark.parametrize(
    "data",
    [
        wrong(version="a/b/c"),
        wrong(version="../v1"),
        wrong(version="v1?x"),
        wrong(kind="Config/Map"),
        wrong(kind="Config Map"),
        wrong(metadata="name: ../secrets/x"),
        wrong(metadata="name: a/b"),
        wrong(metadata="name: a%2fb"),
        wrong(metadata="name: '..'"),
        wrong(metadata="name: '.'"),
        wrong(metadata='name: "a\\nb"'),
        wrong(metadata="name: " + "a" * 254),
        wrong(metadata="name: a\n  namespace: ../x"),
        wrong(metadata="name: a\n  namespace: A"),
    ],
)
def test_no_name_leads_to_another_resource(data: bytes) -> None:
    assert "expected" in error_of(data)


@pytest.mark.parametrize("label", ["applyset.kubernetes.io/part-of", "applyset.kubernetes.io/id"])
def test_objects_that_belong_to_an_applyset_are_refused(label: str) -> None:
    data = wrong(metadata=f"name: a\n  labels:\n    {label}: applyset-x")
    assert error_of(data).startswith(f"base/a.yaml:6: metadata.labels[{label}]: ")


def test_a_manifest_of_a_list_can_be_refused_too() -> None:
    data = b"kind: List\nitems:\n- apiVersion: v1\n  kind: A\n  metadata:\n    name: a\n    generateName: b\n    labels: 1\n"
    assert error_of(data).startswith("base/a.yaml:8: metadata.labels: ")


@pytest.mark.parametrize(
    "annotation", ["argocd.argoproj.io/hook: PreSync", "helm.sh/hook: pre-install", "helm.sh/hook: test"]
)
def test_a_hook_may_have_a_generated_name(annotation: str) -> None:
    (hook,) = parse_file(wrong(metadata=f"generateName: migrate-\n  annotations: {{{annotation}}}"), "a.yaml")
    assert (hook.name, hook.generated) == ("migrate-", True)
    (named,) = parse_file(wrong(metadata=f"name: a\n  generateName: b-\n  annotations: {{{annotation}}}"), "a.yaml")
    assert (named.name, named.generated) == ("a", False)


@pytest.mark.parametrize("name", ["1", "a/b", "[a]", "'%2e'", "a" * 254])
def test_a_generated_name_is_as_strict_as_another(name: str) -> None:
    data = wrong(metadata=f"generateName: {name}\n  annotations: {{argocd.argoproj.io/hook: PreSync}}")
    assert error_of(data).startswith("base/a.yaml:4: metadata.generateName: expected")


def test_an_object_in_a_wave_is_no_hook_and_has_a_name_of_its_own() -> None:
    data = wrong(metadata='generateName: a-\n  annotations: {argocd.argoproj.io/sync-wave: "1"}')
    assert "needs a fixed metadata.name" in error_of(data)
    assert "metadata.annotations: expected a mapping" in error_of(
        wrong(metadata="generateName: a-\n  annotations: [a]")
    )


def test_values_of_a_secret_are_in_no_message() -> None:
    for data in (
        b"apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {x: [canary]}}\n",
        b"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: !!int canary}\n",
        b"apiVersion: v1\nkind: [canary]\n",
        b"apiVersion: v1\nkind: Secret\nmetadata: canary\n",
    ):
        assert "canary" not in error_of(data)


def test_one_wrong_object_leaves_none_of_the_file() -> None:
    with pytest.raises(ManifestError):
        parse_file(CONFIG + b"---\nkind: A\n", "a.yaml")


def test_a_manifest_is_a_value() -> None:
    assert isinstance(parse_file(CONFIG, "a")[0], Manifest)
    assert parse_file(CONFIG, "a") == parse_file(CONFIG, "a")


def test_a_usual_file_takes_a_tenth_of_a_millisecond() -> None:
    """Generous here (a loaded machine); measured: 60 microseconds."""
    best = min(_seconds(200) for _ in range(5))
    assert best / 200 < 0.0005


def _seconds(times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        parse_file(CONFIG, "a.yaml")
    return time.process_time() - started
