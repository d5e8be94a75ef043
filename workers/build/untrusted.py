"""What a Dockerfile that nobody vouches for may say: files are copied into an empty image, and nothing of it runs here.

What must hold: whatever the builder would run, fetch or mount is refused, however it is written. So only plain lines are read at
all: no continuations, no here-documents, no parser directives, no flag in quotes (the builder takes those away, and sees another
flag than who reads the line). And the builder gets the text that was read here, as a file of the name Dockerfile: it runs the
C preprocessor over one that ends in ``.in``. Sources: the Dockerfile reference; buildah-build(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from windlass.errors import PermanentError

_HARMLESS = frozenset(
    {
        "LABEL",
        "ENV",
        "WORKDIR",
        "USER",
        "EXPOSE",
        "ENTRYPOINT",
        "CMD",
        "STOPSIGNAL",
        "VOLUME",
        "HEALTHCHECK",
        "MAINTAINER",
    }
)
_FROM = re.compile(
    r"FROM\s+(?P<base>[A-Za-z0-9_.-]+)(?:\s+AS\s+(?P<stage>[A-Za-z0-9_.-]+))?\s*\Z", re.IGNORECASE | re.ASCII
)
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
_FLAG = re.compile(r"--(?P<name>from|chown|chmod|link)(?:=(?P<value>[A-Za-z0-9_.:/@-]+))?\Z", re.ASCII)
LARGEST = 1 << 20
"""Bytes of a Dockerfile."""
REFUSED = "this Dockerfile is not trusted (spec.trusted), so it may only copy files into an empty image: "


def checked(dockerfile: Path, scratch: Path) -> Path:
    """The file to build by instead: what was read and found harmless, where nobody can change it.

    :raises PermanentError: it asks for more, with the lines; or it is no text.
    """
    try:
        text = dockerfile.read_text(encoding="utf-8") if dockerfile.stat().st_size <= LARGEST else ""
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise PermanentError(f"{REFUSED}expected UTF-8 text of at most {LARGEST} bytes")
    check(text)
    copy = scratch / "Dockerfile"
    copy.write_text(text, encoding="utf-8", newline="")
    return copy


def check(text: str) -> None:
    """:raises PermanentError: it asks for more, with the lines."""
    found = list(_refused(text))
    if found:
        raise PermanentError(REFUSED + "; ".join(found))


def _refused(text: str) -> Iterator[str]:
    stages: list[str] = []
    for number, raw in enumerate(re.split(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", text), 1):
        line = raw.strip()
        if why := _why(line, stages):
            yield f"line {number} {why}"


def _why(line: str, stages: list[str]) -> str:
    """Why the line is refused; "" if it is not. ``stages``: the names of those before it, "" for one without."""
    if line.startswith("#"):
        return "is a parser directive" if _DIRECTIVE.match(line) else ""
    if not line:
        return ""
    if line.endswith(("\\", "`")) or "<<" in line:
        return "goes on in the next one"
    word = line.split(None, 1)[0].upper()
    if word == "FROM":
        found = _FROM.match(line)
        if found is None or found["base"].lower() not in {"scratch", *filter(None, stages)}:
            return "begins with another image than scratch"
        stages.append((found["stage"] or "").lower())
        return ""
    if word == "COPY":
        return _copy(line, stages)
    return "" if word in _HARMLESS else f"says {word[:20]}"


def _copy(line: str, stages: list[str]) -> str:
    before = {*filter(None, stages[:-1]), *map(str, range(len(stages) - 1))}  # a stage can't copy from itself
    for word in line.split()[1:]:
        if not word.startswith("--"):
            return ""
        flag = _FLAG.match(word)
        if flag is None:
            return f"says {word[:20]}"
        if flag["name"] == "from" and (flag["value"] or "").lower() not in before:
            return "copies from another image"
    return ""
