"""`sync.ignore` of a document: what is refused, where, and in which words."""

from __future__ import annotations

import pytest

from windlass.documents.parse import parse_documents

DOCUMENT = """apiVersion: windlass.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  sources: [{{repository: shop, branch: main}}]
  destination: {{cluster: local}}
  sync:
    ignore:
    - {rule}
"""


@pytest.mark.parametrize(
    ("rule", "field", "message"),
    [
        ("{kind: Deployment}", "[0]", "expected jsonPointers, managers, or both"),
        ("{jsonPointers: [/a]}", "[0]", "kind"),
        ("{kind: A, jsonPointers: [spec]}", "[0].jsonPointers[0]", "expected a JSON pointer, such as /spec/replicas"),
        ("{kind: A, jsonPointers: [/a, /b//c]}", "[0].jsonPointers[1]", "expected a name between any two slashes"),
        ("{kind: A, jsonPointers: [/a~2b]}", "[0].jsonPointers[0]", "written ~0"),
        ("{kind: A, jsonPointers: [/metadata/name]}", "[0].jsonPointers[0]", "says which object it is"),
        ("{kind: A, jsonPointers: ['/*/name']}", "[0].jsonPointers[0]", "says which object it is"),
        ("{kind: A, jsonPointers: [/metadata/annotations/windlass.dev~1hash]}", "[0].jsonPointers[0]", "own"),
        ("{kind: A, managers: [windlass/other]}", "[0].managers[0]", "field manager"),
        ("{kind: A, managers: [windlass-ignored]}", "[0].managers[0]", "is Windlass itself"),
        ("{kind: A, jqPathExpressions: [.a], managers: [b]}", "[0]", "jqPathExpressions"),
        ("{kind: 'a b', managers: [b]}", "[0].kind", "expected a kind"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(rule: str, field: str, message: str) -> None:
    (error,) = parse_documents(DOCUMENT.format(rule=rule).encode(), "a.yaml").errors
    assert f"spec.sync.ignore{field}" in f"{error.field} {error.message}"
    assert message in str(error)
    assert error.line in (8, 9)


def test_a_rule_as_argo_cd_writes_it_is_understood() -> None:
    rule = (
        "{group: apps, kind: Deployment, name: web, namespace: shop, jsonPointers: [/spec/replicas], managers: [hpa]}"
    )
    found = parse_documents(DOCUMENT.format(rule=rule).encode(), "a.yaml")
    assert not found.errors
