"""The CustomResourceDefinitions: from the same types as the documents, and the chart's are just these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from windlass.documents.crds import definition, definitions, dumped, plural
from windlass.documents.parse import SPECS

CHART = Path(__file__).parents[3] / "charts/windlass/crds"


def schema(kind: str, *path: str) -> dict[str, Any]:
    """The schema of a field by the names that lead to it; ``*`` for a list's items."""
    found: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in path:
        found = found["items"] if step == "*" else found["properties"][step]
    return found


def test_the_chart_has_just_what_windlass_crds_prints() -> None:
    printed = {f"{one['spec']['names']['plural']}.yaml": dumped(one) for one in definitions()}
    assert {file.name: file.read_text() for file in CHART.iterdir()} == printed


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_of_document_is_a_resource(kind: str) -> None:
    made = yaml.safe_load(dumped(definition(kind)))
    assert made["metadata"]["name"] == f"{plural(kind)}.windlass.dev"
    assert made["spec"]["names"]["categories"] == ["windlass", "gitops"]
    (version,) = made["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert version["additionalPrinterColumns"][-1]["name"] == "Age"
    conditions = schema(kind, "status", "conditions")
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert schema(kind, "status", "observedGeneration")["type"] == "integer"


def test_a_field_is_described_by_its_comment_and_a_type_by_its_docstring() -> None:
    assert schema("Application", "spec", "sync", "selfHeal")["description"].startswith("undo what others change")
    assert schema("Promotion", "spec", "edit", "files")["description"].startswith("patterns of files")
    assert (
        "Exactly one of branch, tag, commit and semver" in schema("Application", "spec", "sources", "*")["description"]
    )


def test_defaults_are_the_types_own() -> None:
    assert schema("Application", "spec", "sync")["default"] == {}
    assert schema("Application", "spec", "sync", "prune")["default"] is True
    assert schema("Application", "spec", "sync", "force")["default"] is False
    assert schema("Cluster", "spec", "namespace")["default"] == "windlass"
    assert schema("Repository", "spec", "limits", "kinds", "allow")["default"] == ["*"]
    assert "default" not in schema("Application", "spec", "sync", "timeout")


def test_words_are_enums() -> None:
    assert "gitea" in schema("Repository", "spec", "forge")["enum"]
    assert schema("Application", "spec", "sync", "rollback")["enum"] == ["automatic"]


def test_a_resource_names_secrets_of_its_own_namespace_and_no_file_or_variable() -> None:
    """Whoever may write resources must not read the files and the environment of Windlass' processes by them."""
    secret = schema("Repository", "spec", "webhook", "secrets", "*")
    assert set(secret["properties"]) == {"secret"}
    assert secret["required"] == ["secret"]
    assert set(secret["properties"]["secret"]["properties"]) == {"name", "key"}
    assert set(schema("Repository", "spec", "signedCommits", "revoked")["properties"]) == {"key", "secret"}


def test_what_has_several_forms_is_left_to_parsing() -> None:
    assert schema("Application", "spec", "sync", "pruneLimit")["x-kubernetes-int-or-string"] is True
    assert schema("Application", "spec", "sync", "dependsOn", "*") == {"x-kubernetes-preserve-unknown-fields": True}
    assert (
        schema("Application", "spec", "sources", "*", "helm", "values")["x-kubernetes-preserve-unknown-fields"] is True
    )
