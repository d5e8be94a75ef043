"""A file of plain manifests, as kubectl reads it: several documents, ``List`` kinds, YAML or JSON. Pure.

Repository content is data: what is wrong with it is an error with file and line, never a crash.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from windlass.errors import PermanentError
from windlass.yamls import Limits, YamlError, load_all
from workers.kube.managed_fields import PART_OF

SUFFIXES = (".yaml", ".yml", ".json")
PARENT_ID = "applyset.kubernetes.io/id"
LIMITS = Limits()


class ManifestError(PermanentError):
    """What is wrong with a file of manifests, and where."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.message, self.file, self.line = message, file, line


class Manifest(NamedTuple):
    """One object as Git says it. ``namespace`` is "" where the manifest names none."""

    api_version: str
    kind: str
    namespace: str
    name: str
    body: dict[str, Any]
    file: str
    line: int


def is_manifest(path: str) -> bool:
    return path.endswith(SUFFIXES)


def parse_file(data: bytes, file: str) -> list[Manifest]:
    """The manifests of a file.

    :raises ManifestError: the first thing that is wrong; then none of the file's objects is known.
    """
    manifests: list[Manifest] = []
    try:
        for value, line in load_all(data, limits=LIMITS):
            _add(value, file, line, manifests)
    except YamlError as error:
        raise ManifestError(error.message, file, error.line) from None
    return manifests


def _add(value: Any, file: str, line: int, manifests: list[Manifest]) -> None:
    if not isinstance(value, dict):
        raise ManifestError(f"expected an object, found {_kind_of(value)}", file, line)
    kind, items = value.get("kind"), value.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for item in items:
            _add(_typed(item, value, kind), file, line, manifests)
        return
    manifests.append(_manifest(value, file, line))


def _typed(item: Any, whole: dict[str, Any], kind: str) -> Any:
    """An item of a `ConfigMapList` may leave out what its list says; one of a `List` may not."""
    if not isinstance(item, dict) or kind == "List":
        return item
    return {"apiVersion": whole.get("apiVersion"), "kind": kind.removesuffix("List"), **item}


def _manifest(value: dict[str, Any], file: str, line: int) -> Manifest:
    def text(holder: dict[str, Any], name: str, path: str, *, required: bool = True) -> str:
        found = holder.get(name)
        if found is None and not required:
            return ""
        if not isinstance(found, str) or (required and not found):
            raise ManifestError(f"{path}: expected text, found {_kind_of(found)}", file, line)
        return found

    api_version, kind = text(value, "apiVersion", "apiVersion"), text(value, "kind", "kind")
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        raise ManifestError(f"metadata: expected a mapping, found {_kind_of(metadata)}", file, line)
    if "name" not in metadata and metadata.get("generateName"):
        raise ManifestError(
            "metadata.generateName: an object that is kept equal to Git needs a fixed metadata.name", file, line
        )
    for field in ("labels", "annotations"):
        _check_strings(metadata.get(field), f"metadata.{field}", file, line)
    for label in (PART_OF, PARENT_ID):
        if label in (metadata.get("labels") or {}):
            raise ManifestError(f"metadata.labels[{label}]: is for the tool that owns the object to set", file, line)
    name = text(metadata, "name", "metadata.name")
    return Manifest(
        api_version, kind, text(metadata, "namespace", "metadata.namespace", required=False), name, value, file, line
    )


def _check_strings(value: Any, path: str, file: str, line: int) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise ManifestError(f"{path}: expected a mapping, found {_kind_of(value)}", file, line)
    for key, item in value.items():
        if not isinstance(item, str):
            raise ManifestError(f"{path}[{key}]: expected text, found {_kind_of(item)} (quote it)", file, line)


def _kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
