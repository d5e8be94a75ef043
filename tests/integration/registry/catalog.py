"""Documents of promotions and registries, in few words."""

from __future__ import annotations

from typing import Any

import yaml

from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.parse import parse_documents
from workers.registry.look import Follows
from workers.registry.poller import polled

TOKEN = {"env": "TOKEN"}


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "windlass.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def manifests() -> dict[str, Any]:
    return document(
        "Repository",
        "manifests",
        {"url": "https://git.example/shop/manifests.git", "forge": "gitea", "pullRequests": {"token": TOKEN}},
    )


def promotion(image: str, policy: dict[str, Any], name: str = "web", **more: Any) -> dict[str, Any]:
    target = {"repository": "manifests", "path": "web"}
    return document("Promotion", name, {"image": image, "target": target, "policy": policy, **more})


def registry(host: str, api: str, **more: Any) -> dict[str, Any]:
    spec = {"type": "distribution", "images": [f"{host}/**"], "poll": "1s", "api": api}
    return document("Registry", "ours", {**spec, **more})


def catalog(*documents: dict[str, Any]) -> Catalog:
    found = parse_documents(yaml.safe_dump_all(documents).encode(), "a.yaml")
    made = build([Placed(item, "a.yaml", line) for item, line in found.documents], found.errors)
    assert made.errors == ()
    return made


def follows(image: str, *policies: dict[str, Any]) -> tuple[Follows, ...]:
    """The promotions of ``image`` with these policies, named p0, p1, ..."""
    host = image.partition("/")[0]
    promotions = [promotion(image, policy, f"p{number}") for number, policy in enumerate(policies)]
    return polled(catalog(manifests(), registry(host, f"http://{host}"), *promotions))[image].follows
