"""Redis answers bytes, and its client's types say that it might answer more: one place says which it is."""

from __future__ import annotations


def raw(answer: object) -> bytes:
    """A value as Redis keeps it."""
    assert isinstance(answer, bytes)
    return answer


def text(answer: object) -> str:
    """A value that is text."""
    return raw(answer).decode()
