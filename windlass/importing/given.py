"""The objects that are imported, and what is said about them.

What must hold: `Fields.rest` says every field that nobody has read, so that one which is new in Argo CD or Flux is never lost in
silence; a field that means nothing where it stands (false, "", an empty list) is not worth a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from windlass.documents.parse import dotted
from windlass.yamls import Parsed, Path, YamlError, load_all

T = TypeVar("T")

UNKNOWN = "`windlass import` does not know this field"
NOTHING: tuple[Any, ...] = (None, False, "", [], {})
_SHOWN = 63


class Finding(NamedTuple):
    """Something to know about an object; ``lost``: Windlass will do something else than was done before."""

    file: str
    line: int
    object: str
    path: str
    why: str
    lost: bool

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        path = f"{self.path}: " if self.path else ""
        return f"{'lost' if self.lost else 'note'}: {place}{self.object}: {path}{self.why}"


class Given:
    """An object as it stands in a file."""

    def __init__(self, file: str, body: dict[str, Any], line_of: Callable[[Path], int], of: str = "") -> None:
        self.file, self.body, self._line_of, self._of = file, body, line_of, of
        version, metadata = body.get("apiVersion"), body.get("metadata")
        self.group = str(version).partition("/")[0] if isinstance(version, str) and "/" in version else ""
        self.kind = str(body.get("kind") or "")
        self.metadata: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
        self.name = str(self.metadata.get("name") or "")
        self.namespace = str(self.metadata.get("namespace") or "")

    def __str__(self) -> str:
        return f"{self._of}{self.kind} {self.name[:_SHOWN]}"

    def line(self, path: Path) -> int:
        return self._line_of(path)

    def made(self, body: dict[str, Any]) -> Given:
        """An object that this one makes (an ApplicationSet's): it stands where its maker does."""
        line = self._line_of(())
        return Given(self.file, body, lambda _: line, f"{self.kind} {self.name[:_SHOWN]}, ")


class Report:
    """All that is said, in the order of the files."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def lost(self, given: Given, path: Path, why: str) -> None:
        """Windlass will do something else than what stands at ``path``."""
        self._say(given, path, why, lost=True)

    def note(self, given: Given, path: Path, why: str) -> None:
        """What stands at ``path`` is done, in a way that is worth knowing."""
        self._say(given, path, why, lost=False)

    def file(self, file: str, line: int, why: str) -> None:
        """A file that is no YAML."""
        self.findings.append(Finding(file, line, "the whole file", "", why, lost=True))

    def _say(self, given: Given, path: Path, why: str, *, lost: bool) -> None:
        finding = Finding(given.file, given.line(path), str(given), dotted(path), why, lost)
        if finding not in self.findings[-50:]:
            self.findings.append(finding)


def read(data: bytes, file: str, report: Report) -> list[Given]:
    """The objects of a file, a List's items among them; a file that isn't YAML is said, and has none."""
    found: list[Given] = []
    try:
        for parsed in load_all(data):
            found += _objects(parsed, file)
    except YamlError as error:
        report.file(file, error.line, f"not read: {error.message}")
        return []
    return found


def _objects(parsed: Parsed, file: str) -> Iterator[Given]:
    body = parsed.value
    if not isinstance(body, dict):
        return
    items = body.get("items")
    if not (isinstance(items, list) and str(body.get("kind") or "").endswith("List")):
        yield Given(file, body, parsed.line_of)
        return
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield Given(file, item, lambda path, index=index: parsed.line_of(("items", index, *path)))  # type: ignore[misc]


class Fields:
    """A mapping within an object, read field by field."""

    def __init__(self, report: Report, given: Given, value: Any, path: Path = ()) -> None:
        self.report, self.given, self.path = report, given, path
        self._value: dict[str, Any] = value if isinstance(value, dict) else {}
        self._read: set[str] = set()
        self._below: dict[Path, Fields] = {}
        if value not in NOTHING and not isinstance(value, dict):
            self.report.lost(given, path, "expected a mapping")

    def __bool__(self) -> bool:
        return bool(self._value)

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) not in NOTHING

    def has(self, name: str) -> bool:
        """Is the field there, even if it is an empty mapping?"""
        return self._value.get(name) is not None

    # -- reading ----------------------------------------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        """A text that says something; a number counts as one, as it does in a parameter."""
        value = self._take(name, str | int | float, "a text")
        return None if value in NOTHING else str(value)

    def flag(self, name: str) -> bool | None:
        value = self._take(name, bool, "true or false")
        return None if value is None else bool(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value: list[Any] = self._take(name, list, "a list of texts") or []
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.wrong("expected a text", name, index)
        return tuple(item for item in value if isinstance(item, str))

    def strings(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        value = self._take(name, dict, "a mapping of texts")
        return {key: str(text) for key, text in (value or {}).items() if text is not None}

    def mapping(self, name: str) -> dict[str, Any]:
        """A mapping that is somebody else's: a chart's values."""
        value: dict[str, Any] | None = self._take(name, dict, "a mapping")
        return value or {}

    def values(self, name: str) -> list[Any]:
        """A list, whatever is in it."""
        value: list[Any] | None = self._take(name, list, "a list")
        return value or []

    def taken(self) -> dict[str, Any]:
        """All of it, whatever it says: the parameters of a template."""
        self._read.update(self._value)
        return self._value

    def below(self, name: str) -> Fields:
        """The mapping in this field; empty if there is none."""
        self._read.add(name)
        return self._child(self._value.get(name), name)

    def items(self, name: str) -> list[Fields]:
        """The mappings in this field's list."""
        value = self._take(name, list, "a list")
        return [self._child(item, name, index) for index, item in enumerate(value or ())]

    # -- saying -----------------------------------------------------------------------------------------------------

    def lost(self, name: str, why: str) -> bool:
        """Say that this field is lost, if it says anything: did it?"""
        self._read.add(name)
        if name in self:
            self.report.lost(self.given, (*self.path, name), why)
        return name in self

    def note(self, name: str, why: str) -> bool:
        """Say something about this field, if it says anything: did it?"""
        self._read.add(name)
        if name in self:
            self.report.note(self.given, (*self.path, name), why)
        return name in self

    def wrong(self, why: str, *path: str | int) -> None:
        """Say that what stands here is lost, or a part of it."""
        self.report.lost(self.given, (*self.path, *path), why)

    def same(self, *names: str) -> None:
        """What these fields ask for, Windlass does anyway, or it is none of its business."""
        self._read.update(names)

    def rest(self) -> None:
        """Say what nobody has read, here and below."""
        for name in self._value:
            if name not in self._read:
                self.lost(name, UNKNOWN)
        for child in self._below.values():
            child.rest()

    # ---------------------------------------------------------------------------------------------------------------

    def _take(self, name: str, kind: Any, expected: str) -> Any:
        self._read.add(name)
        value = self._value.get(name)
        if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        if isinstance(value, bool) and kind is not list and kind is not dict:
            return str(value).lower()
        self.report.lost(self.given, (*self.path, name), f"expected {expected}")
        return None

    def _child(self, value: Any, *path: str | int) -> Fields:
        if path not in self._below:
            self._below[path] = Fields(self.report, self.given, value, (*self.path, *path))
        return self._below[path]
