"""The kinds of documents as custom resources: their CustomResourceDefinitions, made from the types that parsing uses.

What must hold: every kind that `windlass.documents.parse` knows is here by itself, and what the chart installs (its ``crds``
folder) is exactly what `windlass crds` prints; a test holds them equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from windlass.documents.parse import SPECS
from windlass.documents.schema import Schema, schema_of
from windlass.documents.status import ApplicationStatus, PromotionStatus, ResourceStatus
from windlass.documents.types import API_VERSION

GROUP, VERSION = API_VERSION.split("/")
CATEGORIES = ("windlass", "gitops")
SHORT = {
    "Application": "wapp",
    "Repository": "wrepo",
    "Cluster": "wcluster",
    "Promotion": "wpromo",
    "Registry": "wreg",
    "Notification": "wnote",
    "Pipeline": "wpipe",
}
STATUS: dict[str, type[ResourceStatus]] = {"Application": ApplicationStatus, "Promotion": PromotionStatus}
"""What a kind's status says where it says more than whether the resource is right."""


class Column(NamedTuple):
    """A column of `kubectl get`; one of priority 1 is shown with ``-o wide`` only."""

    name: str
    path: str
    priority: int = 0


READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
WHY = Column("Why", '.status.conditions[?(@.type=="Ready")].message', 1)
COLUMNS = {
    "Application": (
        Column("Revision", ".status.revision"),
        Column("Sync", ".status.sync"),
        Column("Health", ".status.health"),
        Column("Ready", READY.path, 1),
        Column("Message", ".status.message", 1),
    ),
    "Repository": (Column("URL", ".spec.url"), READY, WHY),
    "Cluster": (Column("Server", ".spec.server"), READY, WHY),
    "Promotion": (
        Column("Image", ".status.image"),
        Column("Phase", ".status.phase"),
        READY,
        Column("Message", ".status.message", 1),
    ),
    "Registry": (Column("Type", ".spec.type"), READY, WHY),
    "Pipeline": (
        Column("Image", ".spec.image"),
        Column("Repository", ".spec.source.repository"),
        Column("Branch", ".spec.source.branch", 1),
        READY,
        WHY,
    ),
}


def plural(kind: str) -> str:
    """The resource's name in an address."""
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"


def definitions() -> list[Schema]:
    """The CustomResourceDefinition of every kind."""
    return [definition(kind) for kind in SPECS]


def definition(kind: str) -> Schema:
    """The CustomResourceDefinition of one kind."""
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural(kind),
        "singular": kind.lower(),
        "shortNames": [SHORT[kind]] if kind in SHORT else [],
        "categories": list(CATEGORIES),
    }
    columns = [_column(column) for column in COLUMNS.get(kind, (READY, WHY))]
    columns.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": _schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural(kind)}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _schema(kind: str) -> Schema:
    document, spec = SPECS[kind]
    said: dict[str, Any] = {"description": " ".join((document.__dict__.get("__doc__") or "").split())}
    return {
        **(said if said["description"] else {}),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}},
            "spec": schema_of(spec),
            "status": schema_of(STATUS.get(kind, ResourceStatus)),
        },
    }


def _column(column: Column) -> Schema:
    found = {"name": column.name, "type": "string", "jsonPath": column.path}
    return found | ({"priority": column.priority} if column.priority else {})


def dumped(definition: Schema) -> str:
    """A definition as YAML, the same at every time and on every machine."""
    return yaml.dump(definition, Dumper=_Plain, sort_keys=False, width=130, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Without anchors: what is equal is said twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
