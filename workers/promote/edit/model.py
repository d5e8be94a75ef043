"""What is wanted, and what comes of it: splices of bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from windlass.errors import PermanentError
from windlass.images import parse_image, valid_digest, valid_tag
from windlass.registries.names import image_name


class EditError(PermanentError):
    """A file can't be edited as asked; the message says where and why. No value of it is in the message but an image's."""


class NothingToEditError(EditError):
    """No field names the image; the message says which files were looked at, and which images they name."""


@dataclass(frozen=True)
class Wanted:
    """The image that the files shall name.

    ``pin``: write TAG@DIGEST everywhere. Otherwise what is pinned stays pinned if ``digest`` is known, and what isn't isn't.
    """

    image: str  # without tag and digest, as it is spelled where no file spells it yet
    tag: str
    digest: str = ""
    pin: bool = False

    def __post_init__(self) -> None:
        if image_name(self.image) is None or not valid_tag(self.tag) or (self.digest and not valid_digest(self.digest)):
            raise EditError(f"{self.image[:200]!r} with the tag {self.tag[:200]!r} is no reference of an image")
        if self.pin and not self.digest:
            raise EditError(f"{self.image}:{self.tag} shall be pinned, and its digest is not known")

    @cached_property
    def name(self) -> str:
        """The image's one spelling."""
        name = image_name(self.image)
        assert name is not None, "looked at when this was made"
        return name

    def digest_for(self, pinned: bool) -> str:
        """The digest to write where one is (not) written now; "" for none."""
        return self.digest if pinned or self.pin else ""

    def reference(self, text: str) -> str:
        """The reference ``text`` with this tag, its name as it is written there; one of another image is replaced."""
        known = parse_image(text)
        if known is None or known.name != self.name:
            known = parse_image(self.image)
            assert known is not None, "looked at when this was made"
        return str(known._replace(tag=self.tag, digest=self.digest_for(bool(known.digest))))


class Splice(NamedTuple):
    """The bytes ``old`` at ``start`` (an offset into the whole file) become ``new``; ``field`` and ``line`` are for people."""

    path: str
    line: int
    field: str
    start: int
    old: bytes
    new: bytes
    was: str  # the value that was there, if it was (part of) a reference of an image
    now: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.field}: {self.was or '-'} → {self.now or '-'}"


def applied(data: bytes, splices: Iterable[Splice]) -> bytes:
    """The file with its splices made.

    :raises EditError: the file does not hold what a splice replaces.
    """
    parts, position = [], 0
    for splice in sorted(splices, key=lambda one: one.start):
        end = splice.start + len(splice.old)
        if splice.start < position or data[splice.start : end] != splice.old:
            raise EditError(f"{splice.path}:{splice.line}: the file is not the one that was looked at")
        parts += [data[position : splice.start], splice.new]
        position = end
    return b"".join([*parts, data[position:]])


def by_path(splices: Iterable[Splice]) -> Mapping[str, list[Splice]]:
    """The splices of each file."""
    found: dict[str, list[Splice]] = {}
    for splice in splices:
        found.setdefault(splice.path, []).append(splice)
    return found
