"""Shows of every file that is to be written: it reads as before, but for what was to change. Pure.

Splices are made from marks; should a mark ever not be where we think, for whatever a file holds, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from windlass.yaml_scalars import TRUE
from windlass.yamls import YamlError
from workers.promote.edit.model import EditError
from workers.promote.edit.pages import Page, below, lookup, text_at
from workers.promote.edit.places import Add, Change, Set, Within
from workers.promote.edit.scalars import is_text

_REFUSED = "can't be edited without changing more than the image"
_SEALED = (
    "is encrypted by SOPS, whose checksum covers the image too: keep it in a file of its own, or set "
    "mac_only_encrypted in .sops.yaml"
)


def proved(page: Page, changes: Sequence[Change], data: bytes) -> Page:
    """``data``, read: the page with exactly these changes.

    :raises EditError: it is not, or nobody could decrypt it any more.
    """
    new = _read(page, data)
    if _is_sealed(page, changes):
        raise EditError(_SEALED)
    sets = _texts(changes)
    adds: dict[int, list[tuple[int, str, str]]] = {}
    for change in changes:
        if isinstance(change, Set):
            sets[id(change.node)] = change.value
        elif isinstance(change, Add):
            adds.setdefault(id(change.mapping), []).append((change.after, change.key, change.value))
    if len(new.documents) != len(page.documents):
        raise EditError(_REFUSED)
    for before, after in zip(page.documents, new.documents, strict=True):
        if not _agree(before.node, after.node, sets, adds):
            raise EditError(_REFUSED)
    return new


def _texts(changes: Sequence[Change]) -> dict[int, str]:
    """The scalars in which a text changes, and what they hold then, which is proved as a page's data is."""
    inside: dict[int, list[Within]] = {}
    for change in changes:
        if isinstance(change, Within):
            inside.setdefault(id(change.text.node), []).append(change)
    found = {}
    for node, those in inside.items():
        made = [change.change for change in those]
        text = those[0].text.changed(made)
        proved(those[0].text.page, made, text.encode())
        found[node] = text
    return found


def _is_sealed(page: Page, changes: Iterable[Change]) -> bool:
    """Does SOPS' checksum cover what is to change? It covers every value of the file, unless the file says otherwise."""
    for document in page.documents:
        sops = below(document.node, "sops")
        if sops is None or lookup(sops, "mac") is None:
            continue
        if text_at(sops, "mac_only_encrypted") not in TRUE:
            return True
        if any(isinstance(change, Set) and change.node.value.startswith("ENC[") for change in changes):
            return True
    return False


def proved_entry(page: Page, entry: dict[str, str], data: bytes) -> None:
    """``data`` is the kustomization with one more entry of ``images``.

    :raises EditError: it is not.
    """
    expected: Any = dict(page.documents[0].value)
    expected["images"] = [*(expected.get("images") or []), entry]
    if [one.value for one in _read(page, data).documents] != [expected]:
        raise EditError(_REFUSED)


def _read(page: Page, data: bytes) -> Page:
    try:
        return Page(page.path, data)
    except YamlError as error:
        raise EditError(f"{_REFUSED}: line {error.line}: {error.message}") from None


def _agree(old: Node, new: Node, sets: dict[int, str], adds: dict[int, list[tuple[int, str, str]]]) -> bool:
    seen: set[tuple[int, int]] = set()
    stack = [(old, new)]
    while stack:
        one, other = stack.pop()
        if (id(one), id(other)) in seen:
            continue
        seen.add((id(one), id(other)))
        if isinstance(one, ScalarNode):
            if not _same_scalar(one, other, sets.get(id(one))):
                return False
            continue
        left, right = _parts(one), _parts(other, adds.get(id(one), ()))
        if type(one) is not type(other) or one.tag != other.tag or len(left) != len(right):
            return False
        stack += zip(left, right, strict=True)
    return True


def _same_scalar(old: ScalarNode, new: Node, value: str | None) -> bool:
    if not isinstance(new, ScalarNode):
        return False
    if value is None:
        return bool(old.value == new.value and old.tag == new.tag and old.style == new.style)
    return bool(new.value == value and (is_text(new) or not value))


def _parts(node: Node, added: Sequence[tuple[int, str, str]] = ()) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in _without(node.value, added) for part in pair]
    return list(node.value)


def _without(pairs: list[tuple[Node, Node]], added: Sequence[tuple[int, str, str]]) -> list[tuple[Node, Node]]:
    """The pairs but for the added ones, each of which must stand where it was to be."""
    left = list(pairs)
    for after, key, value in added:
        if len(left) <= after + 1:
            return []
        name, node = left.pop(after + 1)
        if name.value != key or node.value != value or not is_text(node):
            return []
    return left
