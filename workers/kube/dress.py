"""A manifest as it is sent: marked as a member of our ApplySet, with the hash of what Git says. Pure; always a copy."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from workers.kube.managed_fields import HASH, PART_OF

SERVER_SET = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
"""What ``kubectl get -o yaml`` leaves in a file that somebody commits: never Git's to say, and refused or never
equal."""


def dress(body: dict[str, Any], applyset_id: str, digest: str) -> dict[str, Any]:
    """``body`` with the label and the annotation of a member; ``digest`` is the caller's, of the manifest in Git."""
    dressed = normalized(body)
    metadata = dressed["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), PART_OF: applyset_id}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), HASH: digest}
    return dressed


def normalized(body: dict[str, Any]) -> dict[str, Any]:
    """``body`` without what only the server sets, and a Secret's ``stringData`` folded into its ``data``.

    The server folds it when it stores the object, but tracks the fields as written: a key that leaves ``stringData``
    would
    never leave the Secret (kubernetes/kubernetes issue 70281).
    """
    metadata = {name: value for name, value in body["metadata"].items() if name not in SERVER_SET}
    plain = {**body, "metadata": metadata}
    if body.get("kind") == "Secret" and body.get("apiVersion") == "v1" and isinstance(body.get("stringData"), dict):
        _fold(plain)
    return plain


def _fold(secret: dict[str, Any]) -> None:
    """Values that aren't text stay where they are: the server says what is wrong with them."""
    strings, data = secret["stringData"], secret.get("data") or {}
    if isinstance(data, dict) and all(isinstance(value, str) for value in strings.values()):
        del secret["stringData"]
        secret["data"] = {**data, **{name: b64encode(value.encode()).decode() for name, value in strings.items()}}
