"""What a chart's files say of it: its name, its dependencies, and whether its render is random. Pure: bytes in, facts out.

The format is Helm's (https://helm.sh/docs/topics/charts/). An archive is untrusted: links, absolute paths and paths that climb
are refused, and its size is bounded before anything of it is kept.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from windlass.yamls import Parsed, YamlError, load_all
from workers.render.commit_tree import RenderError, join

MAX_ARCHIVE = 16 << 20
MAX_UNPACKED = 32 << 20
MAX_MEMBERS = 10_000
MAX_NESTED = 4
"""Archives in archives."""

_COMMENT = re.compile(rb"-?\s*/\*")
_STRING = re.compile(rb'"(?:\\.|[^"\\])*"')
_RANDOM = re.compile(
    rb"(?<![.$\w])(rand(AlphaNum|Alpha|Ascii|Numeric|Bytes|Int)|shuffle|uuidv4|now|ago|htpasswd|bcrypt|encryptAES"
    rb"|gen(PrivateKey|CA|SelfSignedCert|SignedCert)(WithKey)?)\b"
)
"""The functions of Helm and Sprig (https://masterminds.github.io/sprig/) whose value differs from call to call."""
_LOOKUP = re.compile(rb"(?<![.$\w])lookup\b")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef", "$schema")
_META_SCHEMA = re.compile(r"https?://json-schema\.org/")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")


class Dependency(NamedTuple):
    """A chart that this one needs; ``line`` is where Chart.yaml says so."""

    name: str
    version: str
    repository: str
    line: int


class Chart(NamedTuple):
    name: str
    version: str
    dependencies: tuple[Dependency, ...]
    file: str


class Facts(NamedTuple):
    """``random``: the functions it calls whose value differs from render to render; ``looks_up``: it asks a cluster."""

    random: tuple[str, ...]
    looks_up: bool


def read_chart(files: Mapping[str, bytes], folder: str) -> Chart:
    """The chart in ``folder``.

    :raises RenderError: with file and line.
    """
    file = _at(folder, "Chart.yaml")
    if file not in files:
        raise RenderError("there is no Chart.yaml", folder or "/")
    parsed = _document(files[file], file)
    name = parsed.value.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        raise RenderError("name: expected the name of a chart", file, parsed.line_of(("name",)))
    dependencies = list(_dependencies(parsed, file))
    older = _at(folder, "requirements.yaml")  # of apiVersion v1
    if older in files and not dependencies:
        dependencies = list(_dependencies(_document(files[older], older), older))
        file = older if dependencies else file
    return Chart(name, str(parsed.value.get("version") or ""), tuple(dependencies), file)


def locked(files: Mapping[str, bytes], folder: str) -> dict[str, str]:
    """The versions that Chart.lock (or requirements.lock) pins, by name."""
    for name in ("Chart.lock", "requirements.lock"):
        file = _at(folder, name)
        if file in files:
            listed = _document(files[file], file).value.get("dependencies")
            entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
            return {str(entry.get("name")): str(entry.get("version")) for entry in entries}
    return {}


def vendored(files: Mapping[str, bytes], folder: str) -> set[str]:
    """The names of the charts in the chart's charts/ folder, unpacked or archives."""
    prefix = _at(folder, "charts/")
    found: set[str] = set()
    for path in files:
        if not path.startswith(prefix):
            continue
        name, slash, rest = path[len(prefix) :].partition("/")
        if slash and rest == "Chart.yaml":
            found.add(read_chart(files, prefix + name).name)
        elif not slash and name.endswith(".tgz"):
            found.add(archived_chart(files[path], path).name)
    return found


def archived_chart(data: bytes, file: str) -> Chart:
    """The chart that an archive holds.

    :raises RenderError: it is damaged, hostile, or too large.
    """
    unpacked = unpack(data, file)
    tops = {path.partition("/")[0] for path in unpacked}
    if len(tops) != 1:
        raise RenderError("expected an archive of one folder, the chart", file)
    return read_chart(unpacked, tops.pop())


def unpack(data: bytes, file: str) -> dict[str, bytes]:
    """The files of a chart's archive.

    :raises RenderError: it is damaged, hostile, or too large.
    """
    if len(data) > MAX_ARCHIVE:
        raise RenderError(f"more than {MAX_ARCHIVE} bytes", file)
    inflated = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        raw = inflated.decompress(data, MAX_UNPACKED + 1)
    except zlib.error:
        raise RenderError("is no gzip archive", file) from None
    if len(raw) > MAX_UNPACKED:
        raise RenderError(f"unpacks to more than {MAX_UNPACKED} bytes", file)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            for count, member in enumerate(archive):
                path = join("", member.name)
                if member.name.startswith("/") or not path or "\\" in member.name or not member.name.isprintable():
                    raise RenderError("holds a path that leads out of it", file)
                if not (member.isreg() or member.isdir()) or count > MAX_MEMBERS:
                    raise RenderError(f"holds a link, a device, or more than {MAX_MEMBERS} files", file)
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    found[path] = content.read()
    except tarfile.TarError:
        raise RenderError("is no tar archive", file) from None
    return found


def facts(files: Mapping[str, bytes]) -> Facts:
    """What the templates call. ``files`` are a chart's (archives in it are looked into) and its values, which `tpl` renders too.

    :raises RenderError: a schema refers to what is outside of it: Helm would read that, from the network or this machine.
    """
    random: set[str] = set()
    looks_up = False
    for path, data in _texts(files):
        if path.endswith("values.schema.json"):
            _refuse_references(path, data)
        for action in map(_without_strings, _actions(data)):
            random.update(match[0].decode() for match in _RANDOM.findall(action))
            looks_up = looks_up or bool(_LOOKUP.search(action))
    return Facts(tuple(sorted(random)), looks_up)


def _actions(data: bytes) -> Iterator[bytes]:
    """What stands between braces. Not by a pattern: one would try each brace that is never closed to the end of the file."""
    start = data.find(b"{{")
    while start >= 0 and (end := data.find(b"}}", start + 2)) >= 0:
        if not _COMMENT.match(data, start + 2):
            yield data[start + 2 : end]
        start = data.find(b"{{", end + 2)


def _without_strings(action: bytes) -> bytes:
    return _STRING.sub(b"", action)


def _texts(files: Mapping[str, bytes], nested: int = 0) -> Iterator[tuple[str, bytes]]:
    for path, data in files.items():
        if path.endswith(".tgz") and "/charts/" in f"/{path}":
            if nested >= MAX_NESTED:
                raise RenderError(f"archives are nested more than {MAX_NESTED} deep", path)
            for inner, content in _texts(unpack(data, path), nested + 1):
                yield f"{path}/{inner}", content
        else:
            yield path, data


def _refuse_references(path: str, data: bytes) -> None:
    """Refuse a schema that leads out of itself: CVE-2025-55199 was a `$ref` to /dev/zero."""
    try:
        waiting = [orjson.loads(data)]
    except orjson.JSONDecodeError as error:
        raise RenderError("is no JSON", path, error.lineno) from None
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name in _REFERENCES:
                text = value.get(name)
                if isinstance(text, str) and not text.startswith("#") and not _META_SCHEMA.match(text):
                    raise RenderError(
                        f"refers to {text[:200]}: only references within the file (#/…) are followed", path
                    )
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _document(data: bytes, file: str) -> Parsed:
    try:
        found = list(load_all(data))
    except YamlError as error:
        raise RenderError(error.message, file, error.line) from None
    if len(found) != 1 or not isinstance(found[0].value, dict):
        raise RenderError("expected one mapping", file, 1)
    return found[0]


def _dependencies(parsed: Parsed, file: str) -> Iterator[Dependency]:
    listed: Any = parsed.value.get("dependencies") or []
    if not isinstance(listed, list):
        raise RenderError("dependencies: expected a list", file, parsed.line_of(("dependencies",)))
    for index, entry in enumerate(listed):
        line = parsed.line_of(("dependencies", index))
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            raise RenderError(f"dependencies[{index}].name: expected the name of a chart", file, line)
        yield Dependency(name, str(entry.get("version") or ""), str(entry.get("repository") or ""), line)


def _at(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
