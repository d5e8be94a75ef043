"""Documents from YAML, each error with its file, line and field. Pure: bytes in, documents and errors out."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, get_args

import msgspec

from windlass.documents import rules, syntax
from windlass.documents.editing import Part, SigningKind
from windlass.documents.notification import EventName, Notification, NotificationSpec
from windlass.documents.promotion import MergeMethod, Mode, Promotion, PromotionSpec
from windlass.documents.registry import Registry, RegistrySpec, RegistryType
from windlass.documents.types import (
    API_VERSION,
    Application,
    ApplicationSpec,
    Cluster,
    ClusterSpec,
    Document,
    Forge,
    Repository,
    RepositorySpec,
)
from windlass.errors import DocumentError
from windlass.tag_policy import Order
from windlass.yamls import Path, YamlError, load_all

SPECS: dict[str, tuple[type[Any], type[Any]]] = {
    "Repository": (Repository, RepositorySpec),
    "Cluster": (Cluster, ClusterSpec),
    "Application": (Application, ApplicationSpec),
    "Promotion": (Promotion, PromotionSpec),
    "Registry": (Registry, RegistrySpec),
    "Notification": (Notification, NotificationSpec),
}
NOT_BUILT_KINDS = ("Pipeline",)
CHOICES: dict[str, tuple[str, ...]] = {
    "events": get_args(EventName),
    "forge": get_args(Forge),
    "kind": get_args(SigningKind),
    "mode": get_args(Mode),
    "mergeMethod": get_args(MergeMethod),
    "order": get_args(Order),
    "part": get_args(Part),
    "pin": ("tag", "digest"),
    "type": get_args(RegistryType),
}
"""What a field of a few words may say."""

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
                for path, message in error.problems:
                    line, field = parsed.line_of(path), _dotted(path)
                    read.errors.append(DocumentError(message, file=file, line=line, field=field))
    except YamlError as error:
        return Read([], [DocumentError(error.message, file=file, line=error.line)])
    return read


class _InvalidError(Exception):
    """All that is known to be wrong with a document: (path, message)."""

    def __init__(self, *problems: tuple[Path, str]) -> None:
        super().__init__(*problems)
        self.problems = problems


def _wrong(message: str, *path: str | int) -> _InvalidError:
    return _InvalidError((path, message))


def _document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise _wrong("expected a document, a mapping with apiVersion, kind, metadata and spec")
    if value.get("apiVersion") != API_VERSION:
        raise _wrong(f"expected {API_VERSION}, found {_shown(value.get('apiVersion'))}", "apiVersion")
    kind = value.get("kind")
    if kind in NOT_BUILT_KINDS:
        raise _wrong(f"{kind} is not built yet", "kind")
    if not isinstance(kind, str) or kind not in SPECS:
        raise _wrong(f"expected one of {', '.join(SPECS)}, found {_shown(kind)}", "kind")
    for field in value:
        if field not in ("apiVersion", "kind", "metadata", "spec"):
            raise _wrong("unknown field", field)
    name = _name(value.get("metadata"))
    document, spec = SPECS[kind]
    if refused := list(rules.not_built(kind, value.get("spec"))):
        raise _InvalidError(*((("spec", *path), rules.REFUSED) for path in refused))
    try:
        made: Document = document(name=name, spec=msgspec.convert(value.get("spec"), spec))
    except msgspec.ValidationError as error:
        raise _from_msgspec(str(error)) from None
    if problems := list(rules.violations(made)):
        raise _InvalidError(*((("spec", *path), message) for path, message in problems))
    return made


def _name(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        raise _wrong("expected a mapping with a name", "metadata")
    for field in metadata:
        if field not in ("name", "labels", "annotations"):
            raise _wrong("unknown field", "metadata", field)
        if field != "name":
            _check_strings(metadata[field], "metadata", field)
    name = metadata.get("name")
    if not isinstance(name, str) or not syntax.valid_label(name):
        raise _wrong(rules.LABEL_EXPECTED, "metadata", "name")
    return name


def _check_strings(value: Any, *path: str) -> None:
    """Labels and annotations: nothing at all, or strings by string."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise _wrong(f"expected a mapping of strings, found {_shown(value)}", *path)
    for key, text in value.items():
        if not isinstance(text, str):
            hint = " (quote it)" if isinstance(text, int | float) else ""
            raise _wrong(f"expected a string, found {_shown(text)}{hint}", *path, key)


def _from_msgspec(text: str) -> _InvalidError:
    """msgspec says what is wrong, and where in its own notation; ours is the document's."""
    path: list[str | int] = ["spec"]
    if match := _PATH.search(text):
        text = text[: match.start()]
        path += [int(number) if number else name for name, number in _STEP.findall(match[1])]
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if unknown:
        return _wrong("unknown field", *path, unknown[1])
    missing = re.search(r"missing required field `([^`]+)`", text)
    if missing:
        return _wrong(f"the field {missing[1]} is missing", *path)
    if text.startswith("Invalid enum value"):
        field = next(step for step in reversed(path) if isinstance(step, str))
        return _wrong(f"expected one of {', '.join(CHOICES[field])}", *path)
    hint = " (quote it)" if re.match(r"Expected `str[^`]*`, got `(int|float|bool)`", text) else ""
    return _wrong(text[0].lower() + text[1:].replace("`", "") + hint, *path)


def _shown(value: Any) -> str:
    """What was found, short; of a structure only that it is one."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value[:60])
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step[:63]}" if text else step[:63]
    return text
