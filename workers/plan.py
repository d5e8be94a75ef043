"""Objects wanted x objects applied -> what to write, in which order. Pure: no I/O, so that it can be tested to the bone.
(Its yields are where a caller may let others have their turn.)

What must hold: an object whose content hash is what was last applied is not written; a file that moved is no change; an
object that two files define is nobody's until one of them lets go; and nothing leaves the cluster because of an error.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from windlass.documents.limits import refuse_object
from windlass.documents.types import Limits
from workers.directives import PLAIN, Directives, directives
from workers.ignore import NOTHING_LEFT, IgnoreRules, hashed
from workers.kube.keys import ObjectKey, group_kind_of
from workers.render.plain import Manifest
from workers.render.random_values import FieldPath, without

Scope = Callable[[str, str], bool | None]
"""(apiVersion, kind) -> is it namespaced? None: the cluster doesn't know the kind."""

NO_HASH = "-"
"""In the inventory instead of a hash: the object may be gone, and is written whatever Git says."""

Refuse = Callable[[ObjectKey], str]
"""Why an object is none for this application; "" if it may have it."""

FIRST = ("Namespace", "CustomResourceDefinition.apiextensions.k8s.io")
"""Group kinds that everything else may need, in the order in which they are applied; then the rest, all at once."""


def _nothing_refused(key: ObjectKey) -> str:
    return ""


class Entry(NamedTuple):
    """What the inventory knows of an object: the hash of what was applied, of the fields we own since, and its file."""

    hash: str
    fields: str
    file: str

    def dump(self) -> bytes:
        return f"{self.hash} {self.fields or '-'} {self.file}".encode()

    @classmethod
    def load(cls, raw: bytes) -> Entry:
        digest, fields, file = raw.decode().split(" ", 2)
        return cls(digest, "" if fields == "-" else fields, file)


class Sketch(NamedTuple):
    """A manifest without its body: what a plan needs to know of an object, so that 10,000 of them are a few MiB.

    ``blob`` and ``place`` say where to read the body again: the blob's id, and the manifest's place in it.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    hash: str
    file: str
    line: int
    blob: str
    place: int
    defines: tuple[str, str, bool] | None = None  # of a CustomResourceDefinition: group, kind, namespaced?
    source: int = 0  # the place of its source in the application
    directives: Directives = PLAIN
    generated: bool = False  # the name is only the beginning of one
    random: tuple[FieldPath, ...] = ()  # what no two renders share: the cluster's values are kept


class Wanted(NamedTuple):
    """An object to write; ``previous`` is the manifest that was applied before, where it is known, ``applied`` its hash."""

    key: ObjectKey
    sketch: Sketch
    previous: Sketch | None = None
    applied: str = ""


class Leaving(NamedTuple):
    """An object that the new commit no longer has."""

    key: ObjectKey
    api_version: str


class ObjectError(NamedTuple):
    """What is wrong with one object (or file), with where it comes from, for state, status and CLI."""

    object: str
    file: str
    line: int
    message: str
    retry: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{self.object or place}: {self.message}" + (f" ({place})" if self.object and place else "")


class Plan(NamedTuple):
    """What differs, in no order (see `workers.order`). ``moved`` are unchanged objects whose file is another one now;
    ``hooks`` are all that the manifests at hand name, changed or not."""

    writes: tuple[Wanted, ...] = ()
    moved: Mapping[str, Entry] = MappingProxyType({})
    leaving: tuple[Leaving, ...] = ()
    errors: tuple[ObjectError, ...] = ()
    unchanged: int = 0
    hooks: tuple[Wanted, ...] = ()
    warnings: tuple[str, ...] = ()


def content_hash(content: Mapping[str, Any], key: bytes) -> str:
    """The hash by which two manifests are the same. Of a Secret an HMAC: a plain hash of a short secret can be guessed."""
    raw = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    if content.get("kind") == "Secret" and content.get("apiVersion") == "v1":
        return hmac.new(key, raw, hashlib.sha256).hexdigest()[:32]
    return hashlib.sha256(raw).hexdigest()[:32]


def sketch(
    manifest: Manifest,
    blob: str,
    place: int,
    secret_key: bytes,
    *,
    random: tuple[FieldPath, ...] = (),
    ignore: IgnoreRules = NOTHING_LEFT,
) -> Sketch:
    """What to remember of ``manifest``. Its namespace is in the object's key, so the hash can do without; so it must
    without what is ``random``, and without what is left to others."""
    metadata = {k: v for k, v in manifest.body["metadata"].items() if k != "namespace"}
    body = without({**{k: v for k, v in manifest.body.items() if k != "status"}, "metadata": metadata}, random)
    left, mark = ignore.of_manifest(manifest.api_version, manifest.kind, manifest.namespace, manifest.name), ""
    if left is not None:
        body, mark = hashed(body, left)
    return Sketch(
        manifest.api_version,
        manifest.kind,
        manifest.namespace,
        manifest.name,
        content_hash(body, secret_key) + mark,
        manifest.file,
        manifest.line,
        blob,
        place,
        _defines(manifest),
        generated=manifest.generated,
        random=random,
        directives=directives(
            manifest.body["metadata"].get("annotations"), group_kind_of(manifest.api_version, manifest.kind)
        ),
    )


def _defines(manifest: Manifest) -> tuple[str, str, bool] | None:
    """What kind a CustomResourceDefinition brings: its resources may come in the same commit."""
    spec = manifest.body.get("spec")
    if manifest.kind != "CustomResourceDefinition" or not isinstance(spec, dict):
        return None
    names = spec.get("names")
    kind = names.get("kind") if isinstance(names, dict) else None
    return str(spec.get("group")), str(kind), spec.get("scope") == "Namespaced"


def body(manifest: Manifest, key: ObjectKey) -> dict[str, Any]:
    """The manifest to apply: its namespace filled in (or, where the kind has none, taken out), and without a status."""
    metadata = {**manifest.body["metadata"]}
    metadata.pop("namespace", None)
    metadata.pop("generateName", None)
    metadata["name"] = key.name
    if key.namespace:
        metadata["namespace"] = key.namespace
    return {**{k: v for k, v in manifest.body.items() if k != "status"}, "metadata": metadata}


def resolve(item: Sketch, scope: Scope, namespace: str | None) -> ObjectKey | ObjectError:
    """The object that a manifest names, in the destination's namespace where it names none itself."""
    namespaced = scope(item.api_version, item.kind)
    label = f"{item.kind}/{item.name}"
    if namespaced is None:
        message = f"the cluster has no kind {item.kind} in {item.api_version}"
        return ObjectError(label, item.file, item.line, message, retry=True)
    group = item.api_version.rpartition("/")[0]
    if not namespaced:
        return ObjectKey(group, item.kind, "", item.name)
    place = item.namespace or namespace
    if not place:
        message = "metadata.namespace: expected a namespace here, or in the application's destination"
        return ObjectError(label, item.file, item.line, message)
    return ObjectKey(group, item.kind, place, item.name)


def plan(
    wanted: Iterable[Sketch],
    before: Iterable[Sketch],
    applied: Mapping[str, Entry],
    *,
    scope: Scope,
    namespace: str | None,
    changed_files: frozenset[str] | None,
    stale: frozenset[str] = frozenset(),
    limits: Sequence[Limits] = (),
    refuse: Refuse = _nothing_refused,
) -> Generator[None, None, Plan]:
    """What to write and what to prune, for one application. It yields where it may be interrupted: between two objects.

    ``wanted`` are the manifests of the files that changed (of all files, if ``changed_files`` is None), ``before`` those
    that these files held at the commit applied last. ``applied`` is the inventory of every object that either names.
    ``stale`` are the keys of objects to write although their hash is what was applied (they drifted). An object outside
    of ``limits``, or that ``refuse`` has something to say against, is an error, and neither written nor pruned.
    """
    objects, errors = yield from _resolve_all(wanted, scope, namespace, limits)
    for known, item in objects.values():
        errors += [_error(known, item, why) for why in _objections(known, item, refuse)]
        yield
    wrong = {error.object for error in errors}
    previous: dict[str, tuple[ObjectKey, Sketch]] = {}
    for item in before:
        key = resolve(item, scope, namespace)
        if isinstance(key, ObjectKey) and not item.directives.is_hook:
            previous[str(key)] = key, item
        yield
    writes: list[Wanted] = []
    hooks: list[Wanted] = []
    moved: dict[str, Entry] = {}
    unchanged = 0
    warnings: list[str] = []
    for name, (key, item) in objects.items():
        yield
        warnings += (_warning(item, text) for text in item.directives.warnings)
        entry = applied.get(name)
        if name in wrong or item.directives.skipped:
            continue
        if item.directives.is_hook:
            hooks.append(Wanted(key, item))
        elif entry is not None and _defined_elsewhere(entry, item, changed_files):
            errors.append(_duplicate(name, item, entry.file))
        elif entry is None or entry.hash != item.hash or name in stale:
            old = previous.get(name)
            writes.append(Wanted(key, item, old[1] if old else None, entry.hash if entry else ""))
        else:
            unchanged += 1
            if entry.file != item.file:
                moved[name] = entry._replace(file=item.file)
    kept = objects.keys() | {error.object for error in errors}
    leaving = tuple(
        Leaving(key, item.api_version)
        for name, (key, item) in previous.items()
        if name not in kept and _leaves(applied.get(name), changed_files)
    )
    return Plan(tuple(writes), moved, leaving, tuple(errors), unchanged, tuple(hooks), tuple(warnings))


def _objections(key: ObjectKey, item: Sketch, refuse: Refuse) -> Iterator[str]:
    yield from item.directives.errors
    if why := refuse(key):
        yield why


def _error(key: ObjectKey, item: Sketch, message: str) -> ObjectError:
    return ObjectError(str(key), item.file, item.line, message)


def _warning(item: Sketch, text: str) -> str:
    return f"{item.file}:{item.line}: {text}" if item.line else f"{item.file}: {text}"


def _defined_elsewhere(entry: Entry, item: Sketch, changed_files: frozenset[str] | None) -> bool:
    """Is the object applied from a file that this commit left as it was? Then two files define it now."""
    return changed_files is not None and entry.file not in ("", item.file) and entry.file not in changed_files


def _leaves(entry: Entry | None, changed_files: frozenset[str] | None) -> bool:
    """An object leaves with the file that it was applied from, not with a second one that also named it."""
    return changed_files is None or entry is None or entry.file == "" or entry.file in changed_files


def _resolve_all(
    wanted: Iterable[Sketch], scope: Scope, namespace: str | None, limits: Sequence[Limits]
) -> Generator[None, None, tuple[dict[str, tuple[ObjectKey, Sketch]], list[ObjectError]]]:
    objects: dict[str, tuple[ObjectKey, Sketch]] = {}
    errors: list[ObjectError] = []
    twice: set[str] = set()
    for item in wanted:
        yield
        key = resolve(item, scope, namespace)
        if isinstance(key, ObjectError):
            errors.append(key)
            continue
        name = str(key)
        if reason := outside(limits, key):
            errors.append(ObjectError(name, item.file, item.line, reason))
            continue
        if name in objects:
            twice.add(name)
            first = objects[name][1]
            errors.append(_duplicate(name, item, f"{first.file}:{first.line}"))
            continue
        objects[name] = key, item
    for name in twice:
        del objects[name]
    return objects, errors


def outside(limits: Sequence[Limits], key: ObjectKey) -> str:
    """Why ``key`` is not for the applications of repositories with these limits; "" if it is."""
    reasons = (refuse_object(one, key.group_kind, key.namespace, key.name) for one in limits)
    return next(filter(None, reasons), "")


def _duplicate(name: str, item: Sketch, other: str) -> ObjectError:
    return ObjectError(name, item.file, item.line, f"defined a second time; the other definition is in {other}")
