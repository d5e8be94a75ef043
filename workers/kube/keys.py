"""What names an object, in one form for state, logs and errors. Pure.

An object is the same whichever version of its group it is read by, so a key holds the group and never the version. The
text form is what people type and what Redis keeps: ``Deployment.apps/shop/web``, ``ConfigMap/shop/x``,
``Namespace/shop``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

PRECIOUS = frozenset(
    {"Namespace", "CustomResourceDefinition.apiextensions.k8s.io", "PersistentVolume", "PersistentVolumeClaim"}
)
"""Group kinds whose objects hold others or hold data: deleted only where the object says so itself."""


class ObjectKey(NamedTuple):
    """Group, kind, namespace ("" where the kind has none) and name."""

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def group_kind(self) -> str:
        """As KEP-3659 writes it in ``contains-group-kinds``: ``Deployment.apps``, or ``ConfigMap`` in the core
        group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def __str__(self) -> str:
        return "/".join(filter(None, (self.group_kind, self.namespace, self.name)))

    @classmethod
    def parse(cls, text: str) -> ObjectKey:
        """The key that ``str()`` wrote.

        :raises ValueError: the text isn't of that form.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"not an object's key: {text!r}")
        group, kind = split_group_kind(parts[0])
        return cls(group, kind, parts[1] if len(parts) == 3 else "", parts[-1])

    @classmethod
    def of(cls, body: dict[str, Any]) -> ObjectKey:
        """The key of a manifest or of an object that the API server answered."""
        metadata = body["metadata"]
        return cls(group_of(body["apiVersion"]), body["kind"], metadata.get("namespace") or "", metadata["name"])


def group_kind_of(api_version: str, kind: str) -> str:
    """``apps/v1``, ``Deployment`` -> ``Deployment.apps``; the core group has no dot."""
    group = group_of(api_version)
    return f"{kind}.{group}" if group else kind


def group_of(api_version: str) -> str:
    """``apps/v1`` -> ``apps``, ``v1`` -> "" (the core group)."""
    return api_version.rpartition("/")[0]


def split_group_kind(group_kind: str) -> tuple[str, str]:
    """``Deployment.apps`` -> (``apps``, ``Deployment``). No kind's name holds a dot."""
    kind, _, group = group_kind.partition(".")
    return group, kind
