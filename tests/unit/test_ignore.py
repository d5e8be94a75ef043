"""Ignore rules: which objects they are about, what they leave out of a manifest, and what its hash tells."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.ignoring import IgnoreRule, steps
from workers.ignore import IgnoreRules, is_handed_over
from workers.kube.fieldsets import FieldSet, minus, union
from workers.kube.pointers import GONE, chosen, escaped, places, reduced, whole, without
from workers.plan import sketch
from workers.render.plain import Manifest

KEY = b"k" * 32


def deployment(replicas: int | None = 3, image: str = "nginx:1", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": image}, {"name": "proxy", "image": "envoy:1"}]
    content = {"replicas": replicas, "template": {"spec": {"containers": containers}}, **spec}
    content = {name: value for name, value in content.items() if value is not None}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": content}


def hash_of(body: dict[str, Any], *rules: IgnoreRule, namespace: str = "shop") -> str:
    manifest = Manifest(body["apiVersion"], body["kind"], "", body["metadata"]["name"], body, "a.yaml", 1)
    return sketch(manifest, "", 0, KEY, ignore=IgnoreRules(rules, namespace)).hash


REPLICAS = IgnoreRule("Deployment", json_pointers=("/spec/replicas",))


def test_an_ignored_value_is_not_in_the_hash_and_anything_else_is() -> None:
    assert hash_of(deployment(3), REPLICAS) == hash_of(deployment(9), REPLICAS)
    assert hash_of(deployment(3), REPLICAS) != hash_of(deployment(3, paused=True), REPLICAS)
    assert hash_of(deployment(3)) != hash_of(deployment(9))


def test_a_rule_that_comes_or_goes_changes_the_hash_of_its_objects_only() -> None:
    plain, ruled = hash_of(deployment()), hash_of(deployment(), REPLICAS)
    assert plain != ruled
    assert not is_handed_over(plain, ruled)
    assert not is_handed_over("", ruled)
    assert is_handed_over(ruled, hash_of(deployment(paused=True), REPLICAS))
    assert hash_of(deployment(), IgnoreRule("StatefulSet", json_pointers=("/spec/replicas",))) == plain


def test_a_field_that_git_begins_to_name_must_be_handed_over() -> None:
    assert not is_handed_over(hash_of(deployment(None), REPLICAS), hash_of(deployment(3), REPLICAS))


def test_values_of_a_secret_are_ignored_however_it_is_written() -> None:
    rule = IgnoreRule("Secret", json_pointers=("/data/a",))
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": value}} for value in "12"
    ]
    assert hash_of(secrets[0], rule) == hash_of(secrets[1], rule)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"group": "apps"}, True),
        ({"group": ""}, False),
        ({"group": "*"}, True),
        ({"name": "we*"}, True),
        ({"name": "shop"}, False),
        ({"namespace": "shop"}, True),
        ({"namespace": "other"}, False),
    ],
)
def test_a_rule_is_about_the_objects_that_all_of_its_fields_fit(rule: dict[str, str], fits: bool) -> None:
    one = IgnoreRule("Deployment", json_pointers=("/spec/replicas",), **rule)
    assert (hash_of(deployment(3), one) == hash_of(deployment(4), one)) is fits


def test_several_rules_add_up() -> None:
    rules = IgnoreRules((REPLICAS, IgnoreRule("*", managers=("hpa",))))
    left = rules.left("apps", "Deployment", "", "web")
    assert left is not None
    assert (left.pointers, left.managers) == ((("spec", "replicas"),), ("hpa",))
    assert left.is_left_to("hpa")
    assert left.is_left_to("windlass-ignored")
    assert not left.is_left_to("kubectl-edit")
    assert IgnoreRules().left("apps", "Deployment", "", "web") is None


@pytest.mark.parametrize("item", ["0", "[name=web]", "*"])
def test_a_pointer_goes_into_a_list_by_place_by_key_or_to_all(item: str) -> None:
    left = reduced(deployment(), [("spec", "template", "spec", "containers", item, "image")])
    first, second = left["spec"]["template"]["spec"]["containers"]
    assert first == {"name": "web"}
    assert second == ({"name": "proxy"} if item == "*" else {"name": "proxy", "image": "envoy:1"})


def test_what_is_empty_without_the_field_leaves_with_it() -> None:
    body = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1}}}, "kind": "Deployment"}
    assert reduced(body, [("spec", "strategy", "rollingUpdate", "maxSurge")]) == {"kind": "Deployment"}
    assert reduced({"a": {}}, [("b",)]) == {"a": {}}


@pytest.mark.parametrize(
    ("item", "found"),
    [("1", 'k:{"name":"web"}'), ("[name=web]", 'k:{"name":"web"}'), ("0", 'k:{"name":"proxy"}')],
)
def test_an_item_is_found_by_its_keys_wherever_it_is_in_the_cluster(item: str, found: str) -> None:
    manifest = {"list": [{"name": "proxy", "image": "a"}, {"name": "web", "image": "b"}]}
    fields = {"f:list": {f'k:{{"name":"{name}"}}': {".": {}, "f:image": {}} for name in ("web", "proxy")}}
    assert chosen(fields, [("list", item, "image")], manifest) == {"f:list": {found: {"f:image": {}}}}


def test_a_part_of_what_is_tracked_as_one_field_is_told_by_its_path() -> None:
    manifest = {"spec": {"selector": {"matchLabels": {"app": "web"}}, "args": ["a"], "empty": {}}}
    fields: FieldSet = {"f:spec": {"f:selector": {}, "f:args": {}, "f:empty": {}}}
    assert whole(fields, ("spec", "selector", "matchLabels", "app"), manifest) == "/spec/selector"
    assert whole(fields, ("spec", "args", "0"), manifest) == "/spec/args"
    assert whole(fields, ("spec", "selector"), manifest) == ""
    assert whole(fields, ("spec", "empty", "more"), manifest) == "", "Git has nothing there"


def test_what_a_manager_owns_of_an_item_leaves_it_its_keys() -> None:
    containers = [{"name": "web", "image": "a", "tty": True}, {"name": "proxy", "image": "b"}]
    whole_item = {".": {}, "f:name": {}, "f:image": {}}
    fields = {'k:{"name":"web"}': {"f:image": {}}, 'k:{"name":"proxy"}': whole_item}
    assert without(containers, fields) == [{"name": "web", "tty": True}]


# -- any manifest, any pointer ----------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c/d", "e~f", "0", "name"])
VALUES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["x", "web"]),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3) | st.lists(inner, min_size=1, max_size=3),
    max_leaves=12,
)
MANIFESTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)
POINTERS = st.lists(NAMES | st.sampled_from(["*", "1", "[name=web]"]), min_size=1, max_size=4).map(tuple)


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, inner in items for k, v in leaves(inner, (*path, str(key))).items()}
    return {path: value}


def fields_of(value: Any) -> FieldSet:
    """As the API server would track maps; lists as a whole."""
    return {f"f:{key}": fields_of(inner) for key, inner in value.items()} if isinstance(value, dict) else {}


@given(MANIFESTS, st.lists(POINTERS, max_size=3))
def test_all_that_is_named_leaves_and_nothing_else(manifest: dict[str, Any], pointers: list[tuple[str, ...]]) -> None:
    before = copy.deepcopy(manifest)
    gone = {place for pointer in pointers for place in places(manifest, pointer)}
    kept = [v for path, v in leaves(manifest).items() if not any(path[: len(place)] == place for place in gone)]
    left = reduced(manifest, pointers)
    assert list(leaves(left).values() if left is not GONE else ()) == kept
    assert manifest == before


@given(MANIFESTS, POINTERS)
def test_a_pointer_names_the_same_in_a_manifest_and_in_its_fields(manifest: Any, pointer: tuple[str, ...]) -> None:
    fields = fields_of(manifest)
    if whole(fields, pointer, manifest):
        return
    taken = chosen(fields, [pointer], manifest)
    left = reduced(manifest, [pointer])
    assert without(manifest, taken) == left if taken else left == manifest
    assert minus(fields, taken) == (fields_of(left) if left is not GONE else {})
    assert union([minus(fields, taken), taken]) == fields


@given(st.lists(NAMES, min_size=1, max_size=4).map(tuple))
def test_a_pointer_reads_as_it_was_written(path: tuple[str, ...]) -> None:
    assert steps("/" + "/".join(map(escaped, path))) == path
