"""Documents from YAML, each error with its file, line and field. Pure: bytes in, documents and errors out."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from windlass.documents import rules
from windlass.documents.types import (
    API_VERSION,
    Application,
    ApplicationSpec,
    Cluster,
    ClusterSpec,
    Document,
    Repository,
    RepositorySpec,
)
from windlass.errors import DocumentError
from windlass.yamls import YamlError, load_all

SPECS: dict[str, tuple[type[Any], type[Any]]] = {
    "Repository": (Repository, RepositorySpec),
    "Cluster": (Cluster, ClusterSpec),
    "Application": (Application, ApplicationSpec),
}
NOT_BUILT_KINDS = ("Promotion", "Pipeline")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")

_PATH = re.compile(r" - at `\$\.?(.*)`\Z")
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]")


class Read(NamedTuple):
    """What a file holds: documents with the line each begins in, and what is wrong with the others."""

    documents: list[tuple[Document, int]]
    errors: list[DocumentError]


def parse_documents(data: bytes, file: str) -> Read:
    """Every document of a file. One that is wrong disables itself only; a file that isn't YAML disables all of it."""
    read = Read([], [])
    try:
        for parsed in load_all(data):
            try:
                read.documents.append((_document(parsed.value), parsed.line))
            except _InvalidError as error:
                line, field = parsed.line_of(error.path), _dotted(error.path)
                read.errors.append(DocumentError(error.message, file=file, line=line, field=field))
    except YamlError as error:
        return Read([], [DocumentError(error.message, file=file, line=error.line)])
    return read


class _InvalidError(Exception):
    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.message, self.path = message, path


def _document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise _InvalidError("expected a document, a mapping with apiVersion, kind, metadata and spec")
    if value.get("apiVersion") != API_VERSION:
        raise _InvalidError(f"expected {API_VERSION}, found {value.get('apiVersion')!r}", "apiVersion")
    kind = value.get("kind")
    if kind in NOT_BUILT_KINDS:
        raise _InvalidError(f"{kind} is not built yet", "kind")
    if not isinstance(kind, str) or kind not in SPECS:
        raise _InvalidError(f"expected one of {', '.join(SPECS)}, found {kind!r}", "kind")
    for field in value:
        if field not in ("apiVersion", "kind", "metadata", "spec"):
            raise _InvalidError("unknown field", field)
    name = _name(value.get("metadata"))
    document, spec = SPECS[kind]
    if (refused := rules.not_built(kind, value.get("spec"))) is not None:
        raise _InvalidError("not built yet: Windlass would ignore it, so it refuses it", "spec", *refused)
    try:
        made: Document = document(name=name, spec=msgspec.convert(value.get("spec"), spec))
    except msgspec.ValidationError as error:
        raise _from_msgspec(str(error)) from None
    for path, message in rules.violations(made):
        raise _InvalidError(message, "spec", *path)
    return made


def _name(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        raise _InvalidError("expected a mapping with a name", "metadata")
    for field in metadata:
        if field not in ("name", "labels", "annotations"):
            raise _InvalidError("unknown field", "metadata", field)
    name = metadata.get("name")
    if not isinstance(name, str) or not NAME.match(name):
        raise _InvalidError(
            "expected a name of at most 63 lower-case letters, digits and hyphens (RFC 1123 label)", "metadata", "name"
        )
    return name


def _from_msgspec(text: str) -> _InvalidError:
    """msgspec says what is wrong, and where in its own notation; ours is the document's."""
    path: list[str | int] = ["spec"]
    if match := _PATH.search(text):
        text = text[: match.start()]
        path += [int(number) if number else name for name, number in _STEP.findall(match[1])]
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if unknown:
        return _InvalidError("unknown field", *path, unknown[1])
    missing = re.search(r"missing required field `([^`]+)`", text)
    if missing:
        return _InvalidError(f"the field {missing[1]} is missing", *path)
    return _InvalidError(text[0].lower() + text[1:].replace("`", ""), *path)


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
