"""What a Dockerfile that nobody vouches for may say: files are copied into an empty image, and nothing of it runs here.

What must hold: whatever the builder would run, fetch or mount is refused, however it is written. So only plain lines are read at
all: no continuations, no here-documents, no parser directives. Source: the Dockerfile reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
_FLAG = re.compile(r"--([a-z-]+)=?(\S*)")
_COPY_FLAGS = frozenset({"chown", "chmod", "link"})


def check(text: str) -> None:
    """:raises PermanentError: it asks for more, with the lines."""
    found = list(_refused(text))
    if found:
        raise PermanentError(
            "this Dockerfile is not trusted (spec.trusted), so it may only copy files into an empty image: "
            + "; ".join(found)
        )


def _refused(text: str) -> Iterator[str]:
    stages: set[str] = set()
    for number, raw in enumerate(re.split(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", text), 1):
        line = raw.strip()
        if why := _why(line, stages):
            yield f"line {number} {why}"


def _why(line: str, stages: set[str]) -> str:
    if line.startswith("#"):
        return "is a parser directive" if _DIRECTIVE.match(line) else ""
    if not line:
        return ""
    if line.endswith(("\\", "`")) or "<<" in line:
        return "goes on in the next one"
    word = line.split(None, 1)[0].upper()
    if word == "FROM":
        found = _FROM.match(line)
        if found is None or found["base"].lower() not in {"scratch", *stages}:
            return "begins with another image than scratch"
        stages.update({str(len(stages))}, {found["stage"].lower()} if found["stage"] else set())
        return ""
    if word == "COPY":
        return _copy(line, stages)
    return "" if word in _HARMLESS else f"says {word[:20]}"


def _copy(line: str, stages: set[str]) -> str:
    for name, value in _FLAG.findall(line):
        if name == "from" and value.lower() not in stages:
            return "copies from another image"
        if name not in _COPY_FLAGS | {"from"}:
            return f"says --{name}"
    return ""
