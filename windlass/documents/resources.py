"""Custom resources into documents: by the same types and rules as files, and within what their namespace may ask for. Pure.

What must hold: who may write resources in a namespace gets nothing by them that is not that namespace's. Its documents have
names of their own (NAMESPACE--NAME), so that none takes another's place; they refer to documents of the namespace, and to
Repositories of the installation that offer themselves to it (``limits.namespaces``); Secrets are the namespace's; and an
Application writes there only, as a ServiceAccount from there. Only resources in Windlass' own namespace are worth what a file is:
who writes there could change Windlass itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from windlass.documents import accounts, syntax, walk
from windlass.documents.base import SecretRef
from windlass.documents.ordering import Dependency
from windlass.documents.parse import SPECS, InvalidError, converted, dotted, judged
from windlass.documents.promotion import After, Check, Promotion
from windlass.documents.rendering import SopsOptions
from windlass.documents.signing import KeyReference
from windlass.documents.types import Application, Destination, Document, Source
from windlass.errors import DocumentError
from windlass.yamls import Path

TENANTS = ("Application", "Repository", "Promotion")
"""The kinds that any namespace may have: the others are about the whole installation."""
BETWEEN = "--"
SHARE = 4 << 20
"""Bytes of what is wanted that the resources of one namespace may have together, beside Windlass' own: everybody's go through
Redis as one."""


class Resource(msgspec.Struct, frozen=True):
    """A custom resource as far as it says what is wanted. ``created`` is RFC 3339, as the API server has it; ``over``: it is
    beyond its namespace's share, and no more is handed on of it."""

    kind: str
    namespace: str
    name: str
    uid: str
    created: str
    generation: int
    spec: dict[str, Any]
    deleting: bool = False
    over: bool = False

    @property
    def label(self) -> str:
        """Which one it is, where a document of a file has the file's name."""
        return f"{self.kind} {self.namespace}/{self.name}"


class Terms(NamedTuple):
    """What of the settings decides on resources: Windlass' own namespace, and the account of applications that name none."""

    own_namespace: str
    default_account: str = ""

    def name(self, namespace: str, name: str) -> str:
        """What the rest of Windlass calls a resource's document."""
        return name if namespace == self.own_namespace else f"{namespace}{BETWEEN}{name}"


class Of(NamedTuple):
    """A document, and whose it is: the resource, and its namespace ("" where it counts as the installation's)."""

    resource: Resource
    document: Document
    namespace: str


class Found(NamedTuple):
    """The documents of these resources, the oldest first, and what is wrong with the others; ``ending``: those of
    resources that are being deleted."""

    resources: tuple[Resource, ...] = ()
    documents: tuple[Of, ...] = ()
    errors: tuple[DocumentError, ...] = ()
    ending: tuple[Of, ...] = ()


def read(resources: Iterable[Resource], terms: Terms) -> Found:
    """The documents of ``resources``. One that is wrong disables itself only."""
    documents: list[Of] = []
    errors: list[DocumentError] = []
    ordered = sorted(resources, key=lambda one: (one.created, one.namespace, one.name, one.kind))
    own = {(one.kind, one.namespace, one.name) for one in ordered}
    for resource in ordered:
        try:
            documents.append(_read(resource, terms, own))
        except InvalidError as error:
            errors += (DocumentError(text, file=resource.label, field=dotted(path)) for path, text in error.problems)
    staying = tuple(one for one in documents if not one.resource.deleting)
    return Found(tuple(ordered), staying, tuple(errors), tuple(one for one in documents if one.resource.deleting))


def _read(resource: Resource, terms: Terms, own: set[tuple[str, str, str]]) -> Of:
    namespace = "" if resource.namespace == terms.own_namespace else resource.namespace
    name = terms.name(resource.namespace, resource.name)
    if resource.kind not in SPECS:
        raise InvalidError((("kind",), f"expected one of {', '.join(SPECS)}"))
    if resource.over:
        text = (
            f"the resources of {resource.namespace} want more than {SHARE >> 20} MiB together: the newest count no more"
        )
        raise InvalidError((("spec",), text))
    if problems := list(_misnamed(resource, namespace, name)):
        raise InvalidError(*problems)
    document = converted(resource.kind, name, resource.spec)
    if problems := [(("spec", *path), text) for path, text in _foreign_secrets(document)]:
        raise InvalidError(*problems)
    document = walk.rebuilt(document, lambda part: _with_namespace(part, resource.namespace))
    if namespace:
        if problems := [(("spec", *path), text) for path, text in _outside(document, namespace, terms)]:
            raise InvalidError(*problems)
        document = _at_home(document, namespace, terms, own)
    return Of(resource, judged(document), namespace)


def _misnamed(resource: Resource, namespace: str, name: str) -> Iterator[tuple[Path, str]]:
    if not syntax.valid_label(resource.name):
        yield ("metadata", "name"), "expected at most 63 lower-case letters, digits and hyphens (RFC 1123 label)"
    elif namespace and resource.kind not in TENANTS:
        yield ("kind",), f"a {resource.kind} is about the whole installation: it counts in Windlass' own namespace only"
    elif namespace and BETWEEN in resource.name:
        yield ("metadata", "name"), f"expected a name without {BETWEEN}, which stands between namespace and name"
    elif not syntax.valid_label(name):
        yield ("metadata", "name"), f"{name}: expected at most 63 characters with the namespace before it"


def _foreign_secrets(document: Document) -> Iterator[tuple[Path, str]]:
    """References that lead elsewhere than to a Secret of the resource's own namespace."""
    for path, part in walk.parts(document.spec):
        if isinstance(part, SecretRef | KeyReference):
            for field in ("env", "file"):
                if getattr(part, field) is not None:
                    yield (*path, field), "a resource's secrets are in its own namespace: expected secret: {name, key}"
            if part.secret is not None and part.secret.namespace:
                yield (*path, "secret", "namespace"), "unknown field"


def _with_namespace(part: msgspec.Struct, namespace: str) -> msgspec.Struct:
    if isinstance(part, SecretRef | KeyReference) and part.secret is not None:
        return msgspec.structs.replace(part, secret=msgspec.structs.replace(part.secret, namespace=namespace))
    return part


def _outside(document: Document, namespace: str, terms: Terms) -> Iterator[tuple[Path, str]]:
    """What of a namespace's document asks for more than the namespace has."""
    if isinstance(document, Application):
        yield from _destination(document.spec.destination, namespace, terms)
    for path, part in walk.parts(document.spec):
        if isinstance(part, SopsOptions) and part.cloud:
            yield (*path, "cloud"), "the worker's own identity is not for a namespace's resources: expected age or pgp"
        if isinstance(part, Check) and part.command:
            yield (*path, "command"), "the worker's programs are not for a namespace's resources: expected url"
        if isinstance(part, Check) and part.private:
            yield (
                (*path, "private"),
                "what the worker reaches is not for a namespace's resources: expected a public page",
            )


def _destination(destination: Destination, namespace: str, terms: Terms) -> Iterator[tuple[Path, str]]:
    if destination.namespace not in (None, namespace):
        yield ("destination", "namespace"), f"expected {namespace}, the resource's own"
    ref = destination.service_account if destination.service_account is not None else terms.default_account
    if not ref:
        message = f"expected a ServiceAccount of {namespace}, as which the application acts"
        yield ("destination", "serviceAccount"), message
        return
    account = accounts.parse_account(accounts.text_of(ref), namespace)
    if account is None or account.namespace != namespace:
        yield (
            ("destination", "serviceAccount"),
            f"expected a ServiceAccount of {namespace}, the resource's own namespace",
        )


Change = Callable[[msgspec.Struct], msgspec.Struct]


def _at_home(document: Document, namespace: str, terms: Terms, own: set[tuple[str, str, str]]) -> Document:
    """The document with the names that it means, and with what it leaves out that must be the namespace's."""

    def named(name: str) -> str:
        return terms.name(namespace, name)

    def source(part: Source) -> Source:
        if ("Repository", namespace, part.repository) not in own:
            return part
        return msgspec.structs.replace(part, repository=named(part.repository))

    def destination(part: Destination) -> Destination:
        account = part.service_account if part.service_account is not None else terms.default_account
        return msgspec.structs.replace(part, namespace=namespace, service_account=account)

    changes: Mapping[type, Callable[[Any], msgspec.Struct]] = {
        Source: source,
        Destination: destination,
        Dependency: lambda part: msgspec.structs.replace(part, application=named(part.application)),
        After: lambda part: msgspec.structs.replace(
            part,
            promotion=named(part.promotion),
            application=named(part.application) if part.application is not None else None,
        ),
    }
    made = walk.rebuilt(document, lambda part: changes.get(type(part), _same)(part))
    if isinstance(made, Application):
        sync = msgspec.structs.replace(
            made.spec.sync,
            depends_on=tuple(named(one) if isinstance(one, str) else one for one in made.spec.sync.depends_on),
        )
        adopts = named(made.spec.adopts) if made.spec.adopts is not None else None
        spec = msgspec.structs.replace(made.spec, sync=sync, adopts=adopts)
        return Application(made.name, spec)
    if isinstance(made, Promotion):
        target = msgspec.structs.replace(made.spec.target, repository=named(made.spec.target.repository))
        code = named(made.spec.source) if made.spec.source is not None else None
        return Promotion(made.name, msgspec.structs.replace(made.spec, target=target, source=code))
    return made


def _same(part: msgspec.Struct) -> msgspec.Struct:
    return part
