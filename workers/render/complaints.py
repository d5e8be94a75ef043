"""What a renderer complained about, fit for a log and a commit status: short, without this machine's paths, and without
what is secret. Helm and kustomize repeat what they could not use, and that may be a Secret's value.

What must hold: all of it is for a thread (it reads what the program was given), and its time grows with the text, never faster.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from windlass.yamls import YamlError, load_all
from workers.render.sandbox import Finished

LONGEST = 2000
HIDDEN = "***"
_SHORTEST_SECRET = 4
_MAX_SECRETS = 10_000
_MOST_WARNINGS = 20
_NOISE = re.compile(r"^(Error: |Use --debug flag.*$)", re.MULTILINE)
_REPEATED = ((re.compile(r'\[patch: "'), '"]'), (re.compile(r"\bmap\["), "]"))
"""How values begin and end that Helm and kustomize repeat."""
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|cred|auth|cert|dsn|connection", re.IGNORECASE)
_MAY_HOLD_SECRETS = re.compile(rb"secret|literals|" + _SECRET_NAME.pattern.encode(), re.IGNORECASE)
_CRASH = re.compile(r"out of memory|pthread_create failed|newosproc|MemoryError|std::bad_alloc", re.IGNORECASE)
_TRACE = re.compile(r"^(SIGSEGV|SIGABRT|fatal error|panic|runtime/cgo): ?.*", re.MULTILINE)
"""How Go's runtime begins to tell of a crash; short of memory, it may stumble anywhere."""
_DATA = ("data", "stringData")


@dataclass(frozen=True)
class Given:
    """What a program was given: ``files`` below ``folder``; all that is in those called ``secret`` is."""

    folder: str
    files: Mapping[str, bytes]
    secret: frozenset[str] = frozenset()

    @cached_property
    def secrets(self) -> list[str]:
        """Texts that must not be shown, the longest first: values of Secrets, and values whose name says that they are secret."""
        found: set[str] = set()
        for path, data in self.files.items():
            for text in [data.decode(errors="replace")] if path in self.secret else _secret_texts(data):
                found.update(part for part in (text, *text.splitlines()) if len(part.strip()) >= _SHORTEST_SECRET)
            if len(found) > _MAX_SECRETS:
                break
        return sorted(found, key=len, reverse=True)


def complaint(finished: Finished, program: str, given: Given) -> str:
    """Why ``program`` failed."""
    if _CRASH.search(finished.err):
        return f"{program} needs more memory than a render may have"
    if trace := _TRACE.search(finished.err):
        return (
            f"{program} crashed, perhaps as it needs more memory than a render may have: {tidy(trace[0], given)[:200]}"
        )
    if finished.code in (-signal.SIGKILL, -signal.SIGXCPU):
        return f"{program} was stopped: it used more processor time than a render may"
    if finished.code == -signal.SIGABRT:
        return f"{program} gave up, as programs do that need more memory than a render may have"
    if finished.code < 0:
        return f"{program} was ended by signal {-finished.code}"
    return tidy(finished.err, given) or f"{program} failed with exit code {finished.code}"


def tidy(text: str, given: Given) -> str:
    """``text`` without the scratch folder's path, and without what the files hold that is secret; at most 2000 characters."""
    text = _NOISE.sub("", text.replace(f"{given.folder}/", "").replace(given.folder, "the repository"))
    for begins, ends in _REPEATED:
        begin = begins.search(text)
        if begin is not None and (end := text.rfind(ends, begin.end())) >= 0:
            text = f"{text[: begin.start()]}[…]{text[end + len(ends) :]}"
    for secret in given.secrets:
        text = text.replace(secret, HIDDEN)
    lines = " ".join(line.strip() for line in text.splitlines() if line.strip())
    lines = "".join(character if character.isprintable() else " " for character in lines)
    return lines if len(lines) <= LONGEST else lines[: LONGEST - 1] + "…"


def warnings(text: str, given: Given) -> tuple[str, ...]:
    """What a renderer that succeeded said besides."""
    lines = [line.lstrip("# ") for line in text.splitlines() if line.strip()][:_MOST_WARNINGS]
    return tuple(dict.fromkeys(tidy(line, given)[:300] for line in lines))


def _secret_texts(data: bytes) -> Iterator[str]:
    if not _MAY_HOLD_SECRETS.search(data):
        return
    try:
        parsed = [document.value for document in load_all(data)]
    except YamlError:
        parsed = []
    if any(isinstance(value, dict | list) for value in parsed):
        for value in parsed:
            yield from _of_value(value, hidden=False)
        return
    for line in data.decode(errors="replace").splitlines():  # a file of variables, a certificate, a template
        name, equals, value = line.partition("=")
        if equals and _SECRET_NAME.search(name):
            yield value.strip().strip("\"'")


def _of_value(value: Any, *, hidden: bool) -> Iterator[str]:
    if isinstance(value, dict):
        secret = value.get("kind") == "Secret"
        for key, item in value.items():
            if key == "literals" and isinstance(item, list):  # of a secretGenerator
                yield from (str(literal).partition("=")[2] for literal in item)
            yield from _of_value(item, hidden=hidden or (secret and key in _DATA) or bool(_SECRET_NAME.search(key)))
    elif isinstance(value, list):
        for item in value:
            yield from _of_value(item, hidden=hidden)
    elif hidden and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
