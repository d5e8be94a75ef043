"""Through the parts of a document, by their types: what holds for every secret reference holds wherever one stands. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from windlass.yamls import Path

T = TypeVar("T")


def parts(value: Any, path: Path = ()) -> Iterator[tuple[Path, msgspec.Struct]]:
    """Every typed part at or below ``value``, with its path as YAML has it."""
    if isinstance(value, msgspec.Struct):
        yield path, value
        for field, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield from parts(getattr(value, field), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from parts(item, (*path, index))


def rebuilt(value: T, change: Callable[[msgspec.Struct], msgspec.Struct]) -> T:
    """The same with every typed part changed, the inner ones before those that hold them."""
    made: Any = value
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        fresh = {name: rebuilt(one, change) for name, one in fields.items()}
        different = {name: one for name, one in fresh.items() if one is not fields[name]}
        made = change(msgspec.structs.replace(value, **different) if different else value)
    elif isinstance(value, tuple):
        items = tuple(rebuilt(item, change) for item in value)
        made = items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    found: T = made
    return found
