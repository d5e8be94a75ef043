"""A file of plain manifests, as kubectl reads it: several documents, ``List`` kinds, YAML or JSON. Pure.

Repository content is data: what is wrong with it is an error with file and line, never a crash, and never a value in the
message (it may be a Secret's). What passes here can be a segment of a URL.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from windlass.errors import PermanentError
from windlass.yamls import Limits, Parsed, Path, YamlError, load_all
from workers.directives import directives
from workers.kube.managed_fields import PART_OF

SUFFIXES = (".yaml", ".yml", ".json")
PARENT_ID = "applyset.kubernetes.io/id"
"""The label that makes an object the parent of an ApplySet (KEP-3659)."""
LIMITS = Limits()

_API_VERSION = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[a-z][a-z0-9]{0,62}\Z")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}\Z")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_NOT_A_SEGMENT = re.compile(r"[/%\x00-\x1f\x7f]|\A\.\.?\Z")


class ManifestError(PermanentError):
    """What is wrong with a file of manifests, and where."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.message, self.file, self.line = message, file, line


class Manifest(NamedTuple):
    """One object as Git says it. ``namespace`` is "" where the manifest names none; ``line`` (from 1) is where it begins.

    ``name`` is the generateName of a hook that has no other: it runs under `workers.order.hook_name`.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    body: dict[str, Any]
    file: str
    line: int

    @property
    def generated(self) -> bool:
        """Is ``name`` only the beginning of the name?"""
        return not self.body["metadata"].get("name")


def is_manifest(path: str) -> bool:
    """Is the file of this name one of manifests?"""
    return path.endswith(SUFFIXES)


def parse_file(data: bytes, file: str) -> list[Manifest]:
    """The manifests of a file.

    :raises ManifestError: the first thing that is wrong; then none of the file's objects is known.
    """
    manifests: list[Manifest] = []
    try:
        for parsed in load_all(data, limits=LIMITS):
            try:
                _add(parsed.value, (), parsed, file, manifests)
            except _WrongError as error:
                raise ManifestError(error.message, file, parsed.line_of(error.path)) from None
    except YamlError as error:
        raise ManifestError(error.message, file, error.line) from None
    return manifests


class _WrongError(Exception):
    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


def _add(value: Any, at: Path, parsed: Parsed, file: str, manifests: list[Manifest]) -> None:
    if not isinstance(value, dict):
        raise _WrongError(at, f"expected an object, found {_kind_of(value)}")
    kind, items = value.get("kind"), value.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            _add(_typed(item, value, kind), (*at, "items", index), parsed, file, manifests)
        return
    api_version, kind, namespace, name = _identity(value, at)
    line = parsed.line_of(at) if at else parsed.line
    manifests.append(Manifest(api_version, kind, namespace, name, value, file, line))


def _typed(item: Any, whole: dict[str, Any], kind: str) -> Any:
    """An item of a `ConfigMapList` may leave out what its list says; one of a `List` may not."""
    if not isinstance(item, dict) or kind == "List":
        return item
    return {"apiVersion": whole.get("apiVersion"), "kind": kind.removesuffix("List"), **item}


def _identity(value: dict[str, Any], at: Path) -> tuple[str, str, str, str]:
    """apiVersion, kind, namespace and name of an object.

    :raises _WrongError: it has none that a request could name, or it is not ours to apply.
    """
    api_version, kind = _text(value, "apiVersion", at), _text(value, "kind", at)
    if not _API_VERSION.match(api_version):
        raise _WrongError((*at, "apiVersion"), "apiVersion: expected version or group/version, such as v1 or apps/v1")
    if not _KIND.match(kind):
        raise _WrongError((*at, "kind"), "kind: expected letters and digits, such as ConfigMap")
    metadata, within = value.get("metadata"), (*at, "metadata")
    if not isinstance(metadata, dict):
        raise _WrongError(within, f"metadata: expected a mapping, found {_kind_of(metadata)}")
    naming = "generateName" if not metadata.get("name") and metadata.get("generateName") else "name"
    if naming == "generateName" and directives(_strings(metadata, "annotations", within)).kept_equal:
        message = "metadata.generateName: an object that is kept equal to Git needs a fixed metadata.name"
        raise _WrongError((*within, "generateName"), message)
    name = _text(metadata, naming, within, "metadata.")
    if len(name) > 253 or _NOT_A_SEGMENT.search(name):
        raise _WrongError((*within, naming), f"metadata.{naming}: expected at most 253 characters without / and %")
    namespace = _text(metadata, "namespace", within, "metadata.") if metadata.get("namespace") is not None else ""
    if namespace and not _NAMESPACE.match(namespace):
        raise _WrongError((*within, "namespace"), "metadata.namespace: expected an RFC 1123 label")
    labels = _strings(metadata, "labels", within)
    _strings(metadata, "annotations", within)
    for label in (PART_OF, PARENT_ID):
        if label in labels:
            message = f"metadata.labels[{label}]: is for the tool that owns the object to set"
            raise _WrongError((*within, "labels", label), message)
    return api_version, kind, namespace, name


def _text(holder: dict[str, Any], field: str, at: Path, prefix: str = "") -> str:
    found = holder.get(field)
    if not isinstance(found, str) or (not found and field != "namespace"):
        raise _WrongError((*at, field), f"{prefix}{field}: expected text, found {_kind_of(found)}")
    return found


def _strings(metadata: dict[str, Any], field: str, at: Path) -> dict[str, str]:
    """Labels or annotations: text by name. The API server takes nothing else, and says less about where it is."""
    value = metadata.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _WrongError((*at, field), f"metadata.{field}: expected a mapping, found {_kind_of(value)}")
    for key, item in value.items():
        if not isinstance(item, str):
            message = f"metadata.{field}[{key[:63]}]: expected text, found {_kind_of(item)} (quote it)"
            raise _WrongError((*at, field, key), message)
    return value


def _kind_of(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return names[type(value)]
