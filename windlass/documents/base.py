"""What the types of all documents are made of. Pure data, no I/O."""

from __future__ import annotations

import msgspec


class Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A part of a document: its fields in camelCase, and no others."""


class SecretRef(Strict, frozen=True):
    """Where a secret value is: exactly one of an environment variable, or a file. Never the value itself."""

    env: str | None = None
    file: str | None = None
