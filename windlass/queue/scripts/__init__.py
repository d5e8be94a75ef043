"""The Lua scripts, each atomic: what must not be torn apart by a crash is one of these."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def source(name: str) -> str:
    """The text of a script, with what all of them share."""
    folder = resources.files(__package__)
    return (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
