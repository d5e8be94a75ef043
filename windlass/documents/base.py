"""What the types of all documents are made of. Pure data, no I/O."""

from __future__ import annotations

import msgspec


class Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A part of a document: its fields in camelCase, and no others."""


class SecretKey(Strict, frozen=True):
    """A key of a Secret in the resource's own namespace."""

    name: str
    key: str
    namespace: str = ""  # never written by people: the resource's own, set where it is read


class SecretRef(Strict, frozen=True):
    """Where a secret value is: exactly one of an environment variable, a file, and (in a custom resource) a Secret's key.
    Never the value itself.
    """

    env: str | None = None
    file: str | None = None
    secret: SecretKey | None = None
