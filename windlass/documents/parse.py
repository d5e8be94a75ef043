"""Documents from YAML, each error with its file, line and field. Pure: bytes in, documents and errors out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from windlass.documents import rules, syntax
from windlass.documents.notification import Notification, NotificationSpec
from windlass.documents.pipeline import Pipeline, PipelineSpec
from windlass.documents.promotion import Promotion, PromotionSpec
from windlass.documents.registry import Registry, RegistrySpec
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
from windlass.yamls import Path, YamlError, load_all

SPECS: dict[str, tuple[type[Any], type[Any]]] = {
    "Repository": (Repository, RepositorySpec),
    "Cluster": (Cluster, ClusterSpec),
    "Application": (Application, ApplicationSpec),
    "Promotion": (Promotion, PromotionSpec),
    "Registry": (Registry, RegistrySpec),
    "Notification": (Notification, NotificationSpec),
    "Pipeline": (Pipeline, PipelineSpec),
}
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
            except InvalidError as error:
                for path, message in error.problems:
                    line, field = parsed.line_of(path), dotted(path)
                    read.errors.append(DocumentError(message, file=file, line=line, field=field))
    except YamlError as error:
        return Read([], [DocumentError(error.message, file=file, line=error.line)])
    return read


class InvalidError(Exception):
    """All that is known to be wrong with a document: (path, message)."""

    def __init__(self, *problems: tuple[Path, str]) -> None:
        super().__init__(*problems)
        self.problems = problems


def _wrong(message: str, *path: str | int) -> InvalidError:
    return InvalidError((path, message))


def _document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise _wrong("expected a document, a mapping with apiVersion, kind, metadata and spec")
    if value.get("apiVersion") != API_VERSION:
        raise _wrong(f"expected {API_VERSION}, found {_shown(value.get('apiVersion'))}", "apiVersion")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in SPECS:
        raise _wrong(f"expected one of {', '.join(SPECS)}, found {_shown(kind)}", "kind")
    for field in value:
        if field not in ("apiVersion", "kind", "metadata", "spec"):
            raise _wrong("unknown field", field)
    name = _name(value.get("metadata"))
    made = converted(kind, name, value.get("spec"))
    if refused := list(rules.secrets_of_clusters(made)):
        raise InvalidError(*((("spec", *path), rules.IN_RESOURCES_ONLY) for path in refused))
    return judged(made)


def converted(kind: str, name: str, content: Any) -> Document:
    """The document of these types; what they can't tell is for `judged`.

    :raises InvalidError: a field is unknown, missing, of another type, or not built yet.
    """
    document, spec = SPECS[kind]
    if refused := list(rules.not_built(kind, content)):
        raise InvalidError(*((("spec", *path), rules.REFUSED) for path in refused))
    try:
        made: Document = document(name=name, spec=msgspec.convert(content, spec))
    except msgspec.ValidationError as error:
        raise _from_msgspec(str(error), spec) from None
    return made


def judged(document: Document) -> Document:
    """The document, if it breaks no rule.

    :raises InvalidError: it breaks these.
    """
    if problems := list(rules.violations(document)):
        raise InvalidError(*((("spec", *path), message) for path, message in problems))
    return document


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


def _from_msgspec(text: str, spec: type[Any]) -> InvalidError:
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
        return _wrong(f"expected one of {', '.join(_words(spec, path[1:]))}", *path)
    hint = " (quote it)" if re.match(r"Expected `str[^`]*`, got `(int|float|bool)`", text) else ""
    return _wrong(text[0].lower() + text[1:].replace("`", "") + hint, *path)


def _words(annotation: Any, path: Sequence[str | int]) -> Iterator[str]:
    """What may stand at ``path`` of a type, where that is one of a few words."""
    if get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif path and isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        names = dict(zip(annotation.__struct_encode_fields__, annotation.__struct_fields__, strict=True))
        if path[0] in names:
            yield from _words(get_type_hints(annotation)[names[str(path[0])]], path[1:])
    else:
        inner = path[1:] if get_origin(annotation) is tuple else path
        for one in get_args(annotation):
            yield from _words(one, inner)


def _shown(value: Any) -> str:
    """What was found, short; of a structure only that it is one."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value[:60])
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def dotted(path: Path) -> str:
    """A path as people write it: spec.sources[0].path."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step[:63]}" if text else step[:63]
    return text
