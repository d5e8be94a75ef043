"""What a promotion edits in its target's files, and as whom it commits. Pure data and its rules.

Without any of this, every field of the target's files that names the image is found and edited (`workers.promote.edit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from windlass import jsonpath
from windlass.documents.base import SecretRef, Strict
from windlass.yamls import Path

Part = Literal["image", "name", "tag", "digest"]
SigningKind = Literal["gpg", "ssh"]

LONGEST_PATTERN, MOST_FIELDS = 300, 100
_PATTERN = re.compile(r"(?!/)[^\x00-\x1f\x7f\\]+\Z")
_MARKER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f<>]{1,200}\Z")
_EMAIL = re.compile(r"[^\x00-\x20\x7f<>@]{1,100}@[^\x00-\x20\x7f<>@]{1,150}\Z")


class Field(Strict, frozen=True):
    """A field by its place: a file below the target's path, a path in it, and what of the image it holds."""

    file: str
    path: str  # as kubectl's JSONPath: web.image.tag, .parameters[?(@.name=="tag")].value
    part: Part = "tag"


class Edit(Strict, frozen=True):
    """Where to look. Named fields, or else markers, are edited alone; without either, whatever names the image."""

    files: tuple[
        str, ...
    ] = ()  # patterns of files below the target's path, * also matches /; none: every YAML and JSON file
    fields: tuple[Field, ...] = ()
    marker: str | None = None  # NAMESPACE:NAME of Flux' marker comments; else those that mark this image
    kustomize: str | None = (
        None  # the name in Kustomize's images where it isn't the image's own; newName is written too
    )
    add: bool = False  # an entry to the target's kustomization if nothing names the image


class Signing(Strict, frozen=True):
    """The private key that signs the commits: an armoured GPG key, or an OpenSSH one, without a passphrase."""

    kind: SigningKind
    key: SecretRef


class Commit(Strict, frozen=True):
    name: str = "Windlass"
    email: str = "windlass@localhost.localdomain"
    message: str = ""  # a template; else Windlass' own words
    signing: Signing | None = None


def edit_violations(spec: Edit) -> Iterator[tuple[Path, str]]:
    """What is wrong with ``edit``."""
    for index, pattern in enumerate(spec.files):
        if len(pattern) > LONGEST_PATTERN or not _PATTERN.match(pattern):
            yield ("files", index), "expected a pattern such as values-*.yaml, without a leading /"
    if len(spec.fields) > MOST_FIELDS:
        yield ("fields",), f"expected at most {MOST_FIELDS}"
    for index, field in enumerate(spec.fields):
        if len(field.file) > LONGEST_PATTERN or not _PATTERN.match(field.file):
            yield ("fields", index, "file"), "expected a file below the target's path"
        try:
            jsonpath.parse(field.path)
        except jsonpath.JsonPathError as error:
            yield ("fields", index, "path"), str(error)
    if spec.marker is not None and not _MARKER.match(spec.marker):
        yield ("marker",), "expected NAMESPACE:NAME of a marker comment, such as flux-system:web"
    if spec.kustomize is not None and not _NAME.match(spec.kustomize):
        yield ("kustomize",), "expected the name of an entry of Kustomize's images"


def commit_violations(spec: Commit) -> Iterator[tuple[Path, str]]:
    """What is wrong with ``commit``, but for the words of its message's template and its reference."""
    if not _NAME.match(spec.name):
        yield ("name",), "expected a name on one line, without < and >"
    if not _EMAIL.match(spec.email):
        yield ("email",), "expected an address such as windlass@shop.example"
    if "\0" in spec.message:
        yield ("message",), "expected text"
