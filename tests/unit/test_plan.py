"""What is written, what is pruned and what is left alone, from manifests and inventory alone."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.types import KindLimits, Limits
from workers.plan import Entry, Plan, Sketch, content_hash, plan, sketch
from workers.render.plain import Manifest

KEY = b"0" * 32
NAMESPACED = {
    "ConfigMap": True,
    "Deployment": True,
    "Secret": True,
    "Namespace": False,
    "CustomResourceDefinition": False,
}


def scope(api_version: str, kind: str) -> bool | None:
    return NAMESPACED.get(kind)


def manifest(
    name: str, data: str = "x", *, file: str = "a.yaml", kind: str = "ConfigMap", api: str = "v1", **more: Any
) -> Manifest:
    content = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "data": {"v": data}, **more}
    return Manifest(api, kind, "", name, content, file, 1)


def sketches(*manifests: Manifest) -> list[Sketch]:
    return [sketch(m, f"blob-of-{m.file}", i, KEY) for i, m in enumerate(manifests)]


def make(
    wanted: list[Sketch], before: list[Sketch] | None = None, applied: dict[str, Entry] | None = None, **more: Any
) -> Plan:
    files = frozenset(s.file for s in (*wanted, *(before or ())))
    more.setdefault("changed_files", files)
    return ended(plan(wanted, before or [], applied or {}, scope=scope, namespace="shop", **more))


def ended(work: Generator[None, None, Plan]) -> Plan:
    """What a plan comes to, if nobody interrupts it."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Plan = end.value
            return result


def written(result: Plan) -> list[str]:
    return [str(w.key) for w in result.writes]


def entry(item: Sketch, file: str | None = None) -> Entry:
    return Entry(item.hash, "", item.file if file is None else file)


def test_a_new_object_is_written() -> None:
    assert written(make(sketches(manifest("one")))) == ["ConfigMap/shop/one"]


def test_an_object_with_the_hash_that_was_applied_is_not_written() -> None:
    items = sketches(manifest("one"))
    result = make(items, items, {"ConfigMap/shop/one": entry(items[0])})
    assert (result.writes, result.unchanged, result.leaving) == ((), 1, ())


def test_a_drifted_object_is_written_although_its_hash_was_applied() -> None:
    items = sketches(manifest("one"))
    applied = {"ConfigMap/shop/one": entry(items[0])}
    assert written(make(items, applied=applied, stale=frozenset({"ConfigMap/shop/one"}))) == ["ConfigMap/shop/one"]


def test_an_object_that_git_no_longer_names_leaves() -> None:
    items = sketches(manifest("one"))
    result = make([], items, {"ConfigMap/shop/one": entry(items[0])})
    assert [str(item.key) for item in result.leaving] == ["ConfigMap/shop/one"]


def test_an_object_that_moved_to_another_file_is_no_change() -> None:
    old, new = sketches(manifest("one", file="a.yaml")), sketches(manifest("one", file="b.yaml"))
    result = make(new, old, {"ConfigMap/shop/one": entry(old[0])})
    assert (result.writes, result.leaving) == ((), ())
    assert result.moved["ConfigMap/shop/one"].file == "b.yaml"


def test_an_object_defined_twice_is_an_error_and_neither_written_nor_pruned() -> None:
    items = sketches(manifest("one", "x", file="a.yaml"), manifest("one", "y", file="b.yaml"))
    result = make(items, items[:1], {"ConfigMap/shop/one": entry(items[0])})
    assert (result.writes, result.leaving) == ((), ())
    assert "defined a second time" in result.errors[0].message


def test_an_object_that_an_unchanged_file_defines_is_an_error() -> None:
    items = sketches(manifest("one", "y", file="b.yaml"))
    result = make(items, applied={"ConfigMap/shop/one": entry(items[0], "a.yaml")})
    assert "a.yaml" in result.errors[0].message
    assert not result.writes


def test_removing_the_second_definition_prunes_nothing() -> None:
    items = sketches(manifest("one", file="b.yaml"))
    result = make([], items, {"ConfigMap/shop/one": entry(items[0], "a.yaml")})
    assert result.leaving == ()


def annotated(name: str, **annotations: str) -> Manifest:
    metadata = {"name": name, "annotations": {key.replace("_", "/"): value for key, value in annotations.items()}}
    return manifest(name)._replace(body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def test_a_hook_is_none_of_the_objects_that_are_kept_equal_to_git() -> None:
    items = sketches(annotated("job", **{"helm.sh_hook": "pre-install"}))
    result = make(items)
    assert (result.writes, [w.sketch for w in result.hooks]) == ((), items)
    assert make([], items).leaving == ()


def test_an_object_to_skip_is_neither_written_nor_pruned() -> None:
    items = sketches(annotated("one", **{"argocd.argoproj.io_hook": "Skip"}))
    result = make(items, items, {"ConfigMap/shop/one": entry(items[0])})
    assert (result.writes, result.leaving, result.hooks) == ((), (), ())


def test_an_annotation_that_is_not_understood_keeps_the_object_from_being_written_and_from_being_pruned() -> None:
    old, new = sketches(manifest("one")), sketches(annotated("one", **{"argocd.argoproj.io_sync-wave": "first"}))
    result = make(new, old, {"ConfigMap/shop/one": entry(old[0])})
    assert (result.writes, result.leaving) == ((), ())
    assert "sync-wave" in str(result.errors[0])


def test_an_object_that_the_application_may_not_have_is_an_error_with_file_and_line() -> None:
    result = make(sketches(manifest("one")), refuse=lambda key: "not yours")
    assert result.writes == ()
    assert str(result.errors[0]) == "ConfigMap/shop/one: not yours (a.yaml:1)"


def test_a_kind_that_the_cluster_does_not_know_is_that_objects_error_alone() -> None:
    result = make(sketches(manifest("one"), manifest("odd", kind="Odd", api="example.com/v1")))
    assert written(result) == ["ConfigMap/shop/one"]
    assert "no kind Odd" in result.errors[0].message


def test_an_object_without_any_namespace_says_what_is_missing() -> None:
    result = ended(plan(sketches(manifest("one")), (), {}, scope=scope, namespace=None, changed_files=None))
    assert "metadata.namespace" in result.errors[0].message


def test_a_status_in_a_manifest_is_no_difference() -> None:
    plain, with_status = sketches(manifest("one")), sketches(manifest("one", status={"ready": True}))
    assert plain[0].hash == with_status[0].hash


def test_the_hash_of_a_secret_cannot_be_computed_without_the_key() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "aHVudGVyMg=="}}
    assert content_hash(secret, b"one key") != content_hash(secret, b"another key")


@given(
    st.dictionaries(
        st.text(min_size=1), st.integers(-(2**63), 2**63 - 1) | st.text() | st.lists(st.booleans()), max_size=6
    )
)
def test_the_order_of_keys_never_changes_the_hash(content: dict[str, Any]) -> None:
    assert content_hash(content, KEY) == content_hash(dict(reversed(content.items())), KEY)


@given(
    st.text(alphabet="0123456789abcdef", min_size=1),
    st.text(alphabet="abc", max_size=3),
    st.text(min_size=1).filter(str.isprintable),
)
def test_an_inventory_entry_survives_its_way_through_redis(digest: str, fields: str, file: str) -> None:
    assert Entry.load(Entry(digest, fields, file).dump()) == Entry(digest, fields, file)


names = st.sampled_from(["a", "b", "c", "d"])
trees = st.dictionaries(names, st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["1.yaml", "2.yaml"])))


@given(old=trees, new=trees)
def test_a_plan_carried_out_makes_the_inventory_equal_to_git(old: dict[str, Any], new: dict[str, Any]) -> None:
    def tree(content: dict[str, Any]) -> list[Sketch]:
        return sketches(*(manifest(n, data, file=file) for n, (data, file) in content.items()))

    before, wanted = tree(old), tree(new)
    inventory = {f"ConfigMap/shop/{item.name}": entry(item) for item in before}
    result = make(wanted, before, inventory, changed_files=frozenset({"1.yaml", "2.yaml"}))
    assert result.errors == ()
    inventory.update({str(w.key): entry(w.sketch) for w in result.writes})
    inventory.update(result.moved)
    for item in result.leaving:
        del inventory[str(item.key)]
    assert inventory == {f"ConfigMap/shop/{item.name}": entry(item) for item in wanted}


def test_an_object_outside_of_the_limits_is_an_error_with_its_place_and_the_others_are_written() -> None:
    items = sketches(manifest("one"), manifest("two", kind="Secret", file="b.yaml"))
    result = make(items, limits=[Limits(kinds=KindLimits(deny=("Secret",)))])
    assert written(result) == ["ConfigMap/shop/one"]
    (error,) = result.errors
    assert str(error) == "Secret/shop/two: the Repository's limits deny Secret (b.yaml:1)"


def test_an_object_that_limits_came_to_exclude_is_neither_written_nor_pruned() -> None:
    items = sketches(manifest("one"))
    result = make(items, items, {"ConfigMap/shop/one": entry(items[0])}, limits=[Limits(namespaces=("bank",))])
    assert (result.writes, result.leaving, len(result.errors)) == ((), (), 1)
