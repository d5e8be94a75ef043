"""Events as the tests write them."""

from __future__ import annotations

from typing import Any

from workers.kube.applyset import applyset_id
from workers.kube.discovery import CONFIG_MAP
from workers.kube.managed_fields import HASH, PART_OF
from workers.kube.watch import Seen, seen

SHOP = applyset_id("shop", "windlass")
OWN = {"f:metadata": {"f:labels": {f"f:{PART_OF}": {}}, "f:annotations": {f"f:{HASH}": {}}}, "f:data": {"f:a": {}}}


def entry(manager: str, fields: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "fieldsV1": OWN if fields is None else fields, **more}


def metadata(digest: str = "h1", *entries: dict[str, Any], version: int = 1, **more: Any) -> dict[str, Any]:
    """The metadata of ConfigMap shop/x, a member of the application ``shop``."""
    return {
        "name": "x",
        "namespace": "shop",
        "resourceVersion": str(version),
        "labels": {PART_OF: SHOP},
        "annotations": {HASH: digest},
        "managedFields": list(entries) or [entry("windlass/shop")],
        **more,
    }


def event(digest: str = "h1", *entries: dict[str, Any], version: int = 1, gone: bool = False, **more: Any) -> Seen:
    return seen(CONFIG_MAP, metadata(digest, *entries, version=version, **more), gone=gone)
