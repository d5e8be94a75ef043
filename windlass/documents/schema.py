"""The documents' types as structural schemas, which is what a CustomResourceDefinition takes (OpenAPI v3, in part).

What must hold: the types are the one source. Names, required fields, defaults and words are the types' own; a field's comment
is its description. What a custom resource can't say is left out (a secret of the process that reads it); the limits and rules
that parsing knows, and a schema can tell too, are `windlass.documents.constraints`.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import inspect
import io
import textwrap
import tokenize
from functools import cache
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as types

from windlass.documents import constraints

Schema = dict[str, Any]

ANYTHING: Schema = {"x-kubernetes-preserve-unknown-fields": True}
"""Of a field that has several forms: parsing tells them apart."""


def schema_of(struct: type[msgspec.Struct]) -> Schema:
    """The schema of a type and all below it."""
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    return _struct(info)


def _struct(info: types.StructType) -> Schema:
    said, left_out = _comments(info.cls), constraints.left_out(info.cls)
    fields = [field for field in info.fields if field.encode_name not in left_out]
    found: Schema = {"type": "object"}
    if text := _prose(info.cls.__dict__.get("__doc__") or ""):
        found["description"] = text
    found["properties"] = {field.encode_name: _field(info.cls, field, said.get(field.name, "")) for field in fields}
    required = [field.encode_name for field in fields if field.required]
    if required := sorted({*required, *constraints.required(info.cls)}):
        found["required"] = required
    return found | constraints.of_type(info.cls)


def _field(owner: type, field: types.Field, said: str) -> Schema:
    found = _type(field.type)
    if said:
        found["description"] = said
    default = _default(field)
    if default is not None:
        found["default"] = default
    return found | constraints.of_field(owner, field.encode_name)


def _default(field: types.Field) -> Any:
    """The default as YAML would say it; None where nothing is the default, or where it says no more than its absence."""
    if field.default is NODEFAULT or field.default in (None, "", ()):
        return None
    if isinstance(field.default, msgspec.Struct):
        return {}  # its own fields have their own defaults
    return list(field.default) if isinstance(field.default, tuple) else field.default


_SCALARS: dict[type[types.Type], Schema] = {
    types.StrType: {"type": "string"},
    types.BoolType: {"type": "boolean"},
    types.IntType: {"type": "integer", "format": "int64"},
    types.FloatType: {"type": "number"},
}


def _type(info: types.Type) -> Schema:
    if isinstance(info, types.UnionType):
        return _union([one for one in info.types if not isinstance(one, types.NoneType)])
    if isinstance(info, types.StructType):
        return _struct(info)
    if isinstance(info, types.VarTupleType):
        return {"type": "array", "items": _type(info.item_type), "maxItems": constraints.MOST_ITEMS}
    if isinstance(info, types.DictType):
        known = not isinstance(info.value_type, types.AnyType)
        return {"type": "object", **({"additionalProperties": _type(info.value_type)} if known else ANYTHING)}
    if isinstance(info, types.LiteralType):
        return {"type": "string", "enum": list(info.values)}
    return dict(_SCALARS[type(info)])


def _union(several: list[types.Type]) -> Schema:
    if len(several) == 1:
        return _type(several[0])
    if {type(one) for one in several} == {types.IntType, types.StrType}:
        return {"x-kubernetes-int-or-string": True}
    return dict(ANYTHING)


@cache
def _comments(struct: type) -> dict[str, str]:
    """What stands behind each field, on its line."""
    found: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        if owner.__module__.startswith("windlass."):
            found |= _comments_in(textwrap.dedent(inspect.getsource(owner)))
    return found


def _comments_in(source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    depth, name, before = 0, "", tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        if token.type == tokenize.NAME and depth == 1 and before in (tokenize.NEWLINE, tokenize.INDENT):
            name = token.string
        elif token.type == tokenize.COMMENT and name:
            found[name] = _prose(token.string.lstrip("# "))
        if token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.DEDENT):
            before = token.type
        if token.type == tokenize.NEWLINE:
            name = ""
    return found


def _prose(text: str) -> str:
    """As people read it: in one line, without the marks of source code."""
    return " ".join(text.replace("``", "`").split())
