"""The edit of a promotion: which files are looked at, what of them counts, and what is written. Pure.

What must hold: every byte that is not (part of) the image stays; the same image again changes nothing; nothing to edit is an
error that says where it looked. Who names fields, or marks them, gets these edited and no others; otherwise no other image is
touched, also where it shares a value with this one. Where a kustomization names the image, or replaces it, the manifests in and
below its folder are left alone: what they say of it doesn't count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from windlass.documents.editing import Edit
from windlass.yamls import YamlError
from workers.promote.edit import argocd, kustomize, manifests, markers
from workers.promote.edit.markers import Marked
from workers.promote.edit.model import EditError, NothingToEditError, Splice, Wanted, applied
from workers.promote.edit.named import Named, named
from workers.promote.edit.nested import Text
from workers.promote.edit.pages import Page, below
from workers.promote.edit.patches import patches
from workers.promote.edit.places import Change, Place, Set, Within, in_place
from workers.promote.edit.proof import proved, proved_entry
from workers.promote.edit.scalars import Written
from workers.promote.edit.values import values

SUFFIXES = (".yaml", ".yml", ".json")
SHOWN = 20
"""So many images, and so many files, an error names."""


class _At(NamedTuple):
    page: Page
    place: Place | Marked | Named
    overrides: bool = False  # a kustomization's entry, which counts for all that is below its folder

    def kept(self, folders: set[str]) -> bool:
        """Does it count, where kustomizations in these folders name the image?"""
        path = self.page.path
        return self.overrides or not any(not folder or path.startswith(f"{folder}/") for folder in folders)


def is_candidate(path: str, spec: Edit) -> bool:
    """Is a file looked at? ``path`` is relative to the target's."""
    name = path.rpartition("/")[2]
    if any(field.file == path for field in spec.fields):
        return True
    hidden = any(part.startswith(".") for part in path.split("/")) and not argocd.SOURCE_FILE.match(name)
    if hidden or not (name.endswith(SUFFIXES) or name in kustomize.NAMES):
        return False
    return not spec.files or any(fnmatchcase(path, pattern) for pattern in spec.files)


def edited(files: Mapping[str, bytes], wanted: Wanted, spec: Edit, *, unread: Sequence[str] = ()) -> list[Splice]:
    """What must change in ``files``, by their paths below the target's; nothing if they name the image already.

    ``unread``: why other files could not be looked at; said if there is nothing to edit.

    :raises NothingToEditError: :raises EditError: a field can't be written exactly.
    """
    reader = _Reader(files, spec)
    if chosen := _named(reader, spec) if spec.fields else _marked(reader, wanted, spec):
        return _splices(chosen, wanted, None)
    if found := _all(reader, wanted, spec):
        return _splices(found, wanted, spec)
    if spec.add and not spec.fields:
        return _entry(reader, wanted, spec)
    raise NothingToEditError(_nothing(reader, wanted, spec, unread))


class _Reader:
    """Reads what may name the image, and keeps nothing of it: who finds something in a page has the page."""

    def __init__(self, files: Mapping[str, bytes], spec: Edit) -> None:
        self.files = {path: data for path, data in sorted(files.items()) if is_candidate(path, spec)}
        self.unreadable: dict[str, str] = {}

    def page(self, path: str) -> Page | None:
        """None if it isn't YAML, such as a chart's template."""
        try:
            return Page(path, self.files[path])
        except YamlError as error:
            self.unreadable[path] = f"{path}:{error.line}: {error.message}"
            return None

    def pages(self, *needles: str) -> Iterator[Page]:
        """The files that hold one of these."""
        wanted = [needle.encode() for needle in needles]
        for path, data in self.files.items():
            if any(needle in data for needle in wanted) and (page := self.page(path)) is not None:
                yield page


def _named(reader: _Reader, spec: Edit) -> list[_At]:
    found = []
    pages = {path: reader.page(path) for path in {field.file for field in spec.fields} & reader.files.keys()}
    for field in spec.fields:
        page = pages.get(field.file)
        if page is None:
            raise EditError(reader.unreadable.get(field.file, f"{field.file}: there is no such file"))
        try:
            found += [_At(page, one) for one in named(page, field)]
        except EditError as error:
            raise EditError(f"{page.path}: {error}") from None
    return found


def _marked(reader: _Reader, wanted: Wanted, spec: Edit) -> list[_At]:
    """The fields of the policy that the document names; else of those policies that mark this image somewhere."""
    found = [_At(page, one) for page in reader.pages(markers.NEEDLE) for one in markers.marked(page)]
    ours = {one.place.policy for one in found if isinstance(one.place, Marked) and _names(one, wanted)}
    policies = ours if spec.marker is None else {spec.marker}
    return [one for one in found if isinstance(one.place, Marked) and one.place.policy in policies]


def _all(reader: _Reader, wanted: Wanted, spec: Edit) -> list[_At]:
    last = wanted.name.rpartition("/")[2]
    needles = (last, spec.kustomize) if spec.kustomize else (last,)
    found: list[_At] = []
    replaced: list[_At] = []
    for one in (one for page in reader.pages(*needles) for one in _places(page, spec)):
        if isinstance(one.place, kustomize.Renamed) or _names(one, wanted):
            found.append(one)
        elif one.overrides and isinstance(one.place, kustomize.Entry) and one.place.replaces(wanted):
            replaced.append(one)
    folders = {_folder(one.page.path) for one in (*found, *replaced) if one.overrides}
    kept = [one for one in found if one.kept(folders)]
    if found and not kept:
        by = ", ".join(f"{one.page.path}:{one.place.line}" for one in replaced[:SHOWN])
        raise NothingToEditError(f"what names the image {wanted.image} doesn't count: it is replaced by another ({by})")
    return kept


def _names(one: _At, wanted: Wanted) -> bool:
    return not isinstance(one.place, Named) and one.place.name == wanted.name


def _places(page: Page, spec: Edit) -> Iterator[_At]:
    """Every field of a file that names an image."""
    name = page.path.rpartition("/")[2]
    for document in page.documents:
        node = document.node
        if name in kustomize.NAMES:
            found: Iterable[Place] = kustomize.entries(below(node, "images"), "images", spec.kustomize)
            yield from (_At(page, place, overrides=True) for place in found)
            yield from (_At(page, place) for place in patches(node, ""))
        elif argocd.SOURCE_FILE.match(name):
            yield from (_At(page, place) for place in argocd.source(node, ""))
        elif manifests.is_object(node):
            yield from (_At(page, place) for place in manifests.objects(node))
        else:
            yield from (_At(page, place) for place in values(node, ""))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _splices(found: Sequence[_At], wanted: Wanted, spec: Edit | None) -> list[Splice]:
    """``spec``: by which the fields were found; None if somebody chose them, who knows what else they are for."""
    splices: list[Splice] = []
    pages = {one.page.path: one.page for one in found}
    for path, page in pages.items():
        try:
            changes = _changes((one.place for one in found if one.page is page), wanted)
            if changes:
                made = [_splice(page, change) for change in changes]
                new = proved(page, changes, applied(page.data, made))
                if spec is not None:
                    _alone(page, new, wanted, spec)
                splices += made
        except EditError as error:
            raise EditError(f"{path}: {error}") from None
    return splices


def _alone(before: Page, after: Page, wanted: Wanted, spec: Edit) -> None:
    """
    :raises EditError: a field names another image than it did, because it shares a value with what changed.
    """
    was, now = Counter(_known(before, wanted, spec)), Counter(_known(after, wanted, spec))
    for field, shown in [*(was - now), *(new for new in now - was if new[1] != wanted.name)]:
        raise EditError(
            f"{field}: {shown[:200]} shares a value (an anchor or a merge) with {wanted.image}, and would change with it; "
            "name what is to change in edit.fields"
        )


def _known(page: Page, wanted: Wanted, spec: Edit) -> Iterator[tuple[str, str]]:
    """The fields that name images, and which ones: of what is wanted without its version."""
    for one in _places(page, spec):
        place = one.place
        if not isinstance(place, Marked | Named | kustomize.Renamed) and place.name:
            yield place.field, wanted.name if place.name == wanted.name else place.shown


def _changes(places: Iterable[Place | Marked | Named], wanted: Wanted) -> list[Change]:
    """Each scalar's once, also where aliases lead to it several times."""
    sets: dict[int, Set] = {}
    texts: dict[int, Text] = {}
    changes: list[Change] = []
    for place in places:
        for change in place.changes(wanted):
            if isinstance(change, Within) and texts.setdefault(id(change.text.node), change.text) is not change.text:
                continue
            put = change.change if isinstance(change, Within) else change
            if isinstance(put, Set):
                known = sets.setdefault(id(put.node), put)
                if known.value != put.value:
                    raise EditError(f"{known.field} and {put.field} share a value (an anchor), and need two")
                if known is not put:
                    continue
            changes.append(change)
    return changes


def _splice(page: Page, change: Change) -> Splice:
    if isinstance(change, Within):
        inside, written = change.change, change.text.within(page.text, in_place(change.text.page.text, change.change))
        line = page.text.count("\n", 0, written.start) + 1
    else:
        inside, written = change, in_place(page.text, change)
        node = change.node if isinstance(change, Set) else change.mapping.value[change.after][0]
        line = int(node.start_mark.line) + 1
    return _made(page, written, line, change.field, inside.node.value if isinstance(inside, Set) else "", inside.value)


def _made(page: Page, written: Written, line: int, field: str, was: str, now: str) -> Splice:
    old = page.text[written.start : written.end].encode()
    return Splice(page.path, line, field, page.offset(written.start), old, written.new.encode(), was, now)


def _entry(reader: _Reader, wanted: Wanted, spec: Edit) -> list[Splice]:
    """A new entry in the kustomization at the target's own path."""
    path = next((name for name in kustomize.NAMES if name in reader.files), None)
    page = reader.page(path) if path is not None else None
    if page is None:
        raise NothingToEditError(f"there is no kustomization to which an entry for {wanted.image} could be added")
    try:
        written, entry = kustomize.added_entry(page, wanted, spec.kustomize or wanted.image)
        line = page.text.count("\n", 0, written.start) + 1
        splice = _made(page, written, line, "images", "", entry["newTag"])
        proved_entry(page, entry, applied(page.data, [splice]))
    except EditError as error:
        raise EditError(f"{page.path}: {error}") from None
    return [splice]


def _nothing(reader: _Reader, wanted: Wanted, spec: Edit, unread: Sequence[str]) -> str:
    """Where it looked, and what is there."""
    what = f"no field marked {spec.marker}" if spec.marker else f"no field names the image {wanted.image}"
    seen: dict[str, str] = {}
    for path in reader.files:
        page = reader.page(path)
        for one in _places(page, spec) if page is not None else ():
            if not isinstance(one.place, Marked | Named) and one.place.name:
                seen.setdefault(one.place.shown[:200], f"{path}:{one.place.line}")
    if not reader.files:
        return f"{what}: there is no YAML or JSON file to look at{_listed('; not looked at', unread)}"
    images = [f"{shown} ({place})" for shown, place in seen.items()]
    return (
        f"{what}: looked at {_listed('', list(reader.files))}"
        f"{_listed('; images there', images) or '; they name no image'}"
        f"{_listed('; not readable', [*reader.unreadable.values(), *unread])}"
    )


def _listed(title: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return f"{title}{': ' if title else ''}{', '.join(parts[:SHOWN])}{more}"
