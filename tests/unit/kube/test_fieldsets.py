"""FieldsV1 as sets of paths: the operations agree with those of plain sets, whatever the shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kube.fieldsets import FieldSet, contains, digest, names, union

Path = tuple[str, ...]

ELEMENTS = st.sampled_from(["f:a", "f:b", "f:c.d/e", 'k:{"name":"web"}', 'v:"x"', "i:0"])
PATHS = st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple)
SETS = st.sets(PATHS, max_size=12)


def written(paths: set[Path]) -> FieldSet:
    """As the API server writes it: a member that has children is marked with ``.``."""
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _simplified(root)


def _simplified(node: dict[str, Any]) -> dict[str, Any]:
    return {key: {} if set(child) <= {"."} else _simplified(child) for key, child in node.items() if key != "."} | (
        {".": {}} if "." in node else {}
    )


def read(fields: FieldSet, prefix: Path = ()) -> set[Path]:
    found: set[Path] = set()
    for element, children in fields.items():
        if element == ".":
            found.add(prefix)
            continue
        path = (*prefix, element)
        found |= read(children, path) if children else {path}
    return found


@given(SETS)
def test_the_model_reads_what_it_writes(paths: set[Path]) -> None:
    assert read(written(paths)) == paths


@given(st.lists(SETS, max_size=4))
def test_a_union_has_every_path_and_no_other(sets: list[set[Path]]) -> None:
    assert read(union(map(written, sets))) == set().union(*sets)


@given(SETS, SETS)
def test_a_union_changes_none_of_its_parts_and_knows_no_order(one: set[Path], other: set[Path]) -> None:
    left, right = written(one), written(other)
    assert digest(union([left, right])) == digest(union([right, left]))
    assert (left, right) == (written(one), written(other))


@given(SETS, PATHS)
def test_contains_is_membership(paths: set[Path], path: Path) -> None:
    assert contains(written(paths), *path) == (path in paths)
    assert all(contains(written(paths), *member) for member in paths)


@given(SETS, SETS)
def test_digests_are_equal_exactly_when_the_sets_are(one: set[Path], other: set[Path]) -> None:
    assert (digest(written(one)) == digest(written(other))) == (one == other)


MANIFEST = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web", "app": "x"}, "annotations": None},
    "spec": {
        "replicas": 0,
        "empty": {},
        "template": {
            "spec": {
                "containers": [
                    {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}], "args": ["a", "b"]},
                    {"name": 'od"d]', "image": "x"},
                ]
            }
        },
        "finalizers": ["one", "two"],
    },
}


@pytest.mark.parametrize(
    "path",
    [
        ".spec.replicas",
        ".metadata.labels.app.kubernetes.io/name",
        ".metadata.labels.app",
        ".metadata.annotations",
        '.spec.template.spec.containers[name="web"].image',
        '.spec.template.spec.containers[name="web"]',
        '.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].containerPort',
        '.spec.template.spec.containers[name="web"].args',
        '.spec.template.spec.containers[name="od\\"d]"].image',
        '.spec.finalizers[="two"]',
        ".spec.finalizers[1]",
    ],
)
def test_a_path_of_a_conflict_that_the_manifest_names(path: str) -> None:
    assert names(MANIFEST, path)


@pytest.mark.parametrize(
    "path",
    [
        ".spec.paused",
        ".spec.replicasets",
        ".spec.replicas.deeper",
        ".spec.empty.field",
        ".metadata.labels.app.kubernetes.io/instance",
        '.spec.template.spec.containers[name="sidecar"].image',
        '.spec.template.spec.containers[name="web"].command',
        '.spec.template.spec.containers[name="web"].ports[containerPort=81,protocol="TCP"]',
        '.spec.finalizers[="three"]',
        ".spec.finalizers[2]",
        ".spec[0]",
        "nonsense",
        ".spec.finalizers[broken",
    ],
)
def test_a_path_that_it_does_not_name(path: str) -> None:
    assert not names(MANIFEST, path)
