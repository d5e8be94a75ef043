"""All documents together: what refers to what, which sources follow from them, and a digest that says which ones these are."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import structlog

from windlass.documents.limits import refuse_destination, refuse_follower
from windlass.documents.notification import Notification
from windlass.documents.ordering import cycle_message, cycles, dependencies
from windlass.documents.pipelines import PipelineView, building
from windlass.documents.promotions import PromotionView, promoting
from windlass.documents.registry import Registry
from windlass.documents.types import Application, Cluster, Document, Limits, Repository, Source
from windlass.errors import DocumentError

log = structlog.get_logger(__name__)


class SourceView(NamedTuple):
    """A source (repository and ref) and the applications that follow it. ``digest`` changes with any of these documents."""

    id: str
    repository: Repository
    ref: str
    applications: tuple[Application, ...]
    digest: str


class Placed(NamedTuple):
    """A document and where it stands."""

    document: Document
    file: str
    line: int
    namespace: str = ""  # of a custom resource whose namespace limits it


class Catalog(NamedTuple):
    """The valid documents by name, and what is wrong with the others."""

    repositories: dict[str, Repository]
    clusters: dict[str, Cluster]
    applications: dict[str, Application]
    sources: dict[str, SourceView]
    endpoints: dict[str, tuple[Repository, ...]]
    errors: tuple[DocumentError, ...]
    warnings: tuple[str, ...]
    digest: str
    promotions: dict[str, PromotionView]  # by the queue's name
    registries: dict[str, Registry]
    namespaces: dict[str, str]  # by application, where it is a namespace's
    notifications: dict[str, Notification]
    pipelines: dict[str, PipelineView]  # by the queue's name
    ending: dict[str, Application]  # custom resources that are being deleted: followed by nobody

    @property
    def queued(self) -> dict[str, SourceView | PromotionView | PipelineView]:
        """All that the queue has jobs of, by its names."""
        return {**self.sources, **self.promotions, **self.pipelines}

    def limits_of(self, application: Application) -> tuple[Limits, ...]:
        """The limits of every repository that the application follows, and those of its namespace: all of them hold."""
        followed = [self.repositories[source.repository].spec.limits for source in application.spec.sources]
        if namespace := self.namespaces.get(application.name):
            followed.append(Limits(namespaces=(namespace,)))
        return tuple(limits for limits in followed if limits is not None)


def build(placed: Iterable[Placed], errors: Iterable[DocumentError] = (), ending: Iterable[Placed] = ()) -> Catalog:
    """The catalog of these documents. A document that refers to one that is missing or wrong is an error too.

    ``ending``: the Applications whose resources are being deleted. They are what they were, also where what they refer to
    is gone already.
    """
    problems = list(errors)
    named: dict[tuple[type, str], Placed] = {}
    for item in placed:
        first = named.setdefault((type(item.document), item.document.name), item)
        if first is not item:
            kind = type(item.document).__name__
            message = f"a second {kind} of this name; the first is in {first.file}:{first.line}"
            problems.append(DocumentError(message, file=item.file, line=item.line, field="metadata.name"))
    documents = list(named.values())
    repositories = {i.document.name: i.document for i in documents if isinstance(i.document, Repository)}
    owners = {i.document.name: i.namespace for i in documents if isinstance(i.document, Repository)}
    clusters = {i.document.name: i.document for i in documents if isinstance(i.document, Cluster)}
    applications: dict[str, Application] = {}
    for item in documents:
        if isinstance(item.document, Application):
            missing = [*_missing(item.document, repositories, clusters), *_refused(item, repositories, owners)]
            problems += [
                DocumentError(message, file=item.file, line=item.line, field=field) for field, message in missing
            ]
            if not missing:
                applications[item.document.name] = item.document
    last = [item for item in ending if not any(_refused(item, repositories, owners))]
    problems += _adopting_in_circles(documents, applications)
    problems += _unorderable(documents, applications)
    promoted = promoting(documents, repositories, applications, _digest)
    pipelines, wrong = building(documents, repositories, _digest)
    problems += [*promoted.errors, *wrong]
    return Catalog(
        repositories,
        clusters,
        applications,
        _sources(repositories, clusters, applications),
        _endpoints(repositories),
        tuple(problems),
        tuple(_warnings(repositories)),
        _digest(i.document for i in documents),
        promoted.promotions,
        promoted.registries,
        {i.document.name: i.namespace for i in (*documents, *last) if i.namespace},
        {i.document.name: i.document for i in documents if isinstance(i.document, Notification)},
        pipelines,
        {i.document.name: i.document for i in last if isinstance(i.document, Application)},
    )


def _missing(
    application: Application, repositories: dict[str, Repository], clusters: dict[str, Cluster]
) -> Iterable[tuple[str, str]]:
    for index, source in enumerate(application.spec.sources):
        if source.repository not in repositories:
            yield f"spec.sources[{index}].repository", f"there is no valid Repository {source.repository}"
    if application.spec.destination.cluster not in clusters:
        yield "spec.destination.cluster", f"there is no valid Cluster {application.spec.destination.cluster}"


def _refused(item: Placed, repositories: dict[str, Repository], owners: dict[str, str]) -> Iterable[tuple[str, str]]:
    """What an application may not have: a destination outside of its repositories' limits; and, if it is a namespace's,
    other namespaces' repositories, and those of the installation that don't offer themselves."""
    application = item.document
    for index, source in enumerate(application.spec.sources if isinstance(application, Application) else ()):
        repository = repositories.get(source.repository)
        if repository is None or not isinstance(application, Application):
            continue
        owner, field = owners[repository.name], f"spec.sources[{index}].repository"
        if item.namespace and owner not in ("", item.namespace):
            yield field, f"there is no valid Repository {source.repository}"
        elif item.namespace and not owner and (reason := refuse_follower(repository, item.namespace)):
            yield field, reason
        elif repository.spec.limits is not None:
            for path, message in refuse_destination(repository.spec.limits, application.spec.destination):
                yield ".".join(("spec", *map(str, path))), message


def _adopting_in_circles(documents: Iterable[Placed], applications: dict[str, Application]) -> list[DocumentError]:
    """Takes out of ``applications`` those whose objects would pass from one to the other at each push; returns why."""
    graph = {name: frozenset(filter(None, [one.spec.adopts])) for name, one in applications.items()}
    circles = cycles(graph)
    for name in circles:
        del applications[name]
    return [
        DocumentError(
            f"these applications adopt each other: {' -> '.join((*way, way[0]))}",
            file=item.file,
            line=item.line,
            field="spec.adopts",
        )
        for item in documents
        if isinstance(item.document, Application) and (way := circles.get(item.document.name))
    ]


def _unorderable(documents: Iterable[Placed], applications: dict[str, Application]) -> list[DocumentError]:
    """Takes out of ``applications`` those that wait for themselves, or for one that isn't there; returns why."""
    graph = {
        name: frozenset(dependency.application for dependency in dependencies(application.spec.sync.depends_on))
        for name, application in applications.items()
    }
    entangled = cycles(graph)
    reasons = {name: [cycle_message(way)] for name, way in entangled.items()}
    dependents: dict[str, list[str]] = {}
    for name, others in graph.items():
        for other in others:
            dependents.setdefault(other, []).append(name)
    gone = deque(sorted({*entangled, *(dependents.keys() - graph.keys())}))
    while gone:
        other = gone.popleft()
        applications.pop(other, None)
        for name in dependents.get(other, ()):
            if name not in reasons:
                gone.append(name)
            if not (name in entangled and other in entangled):
                reasons.setdefault(name, []).append(f"there is no valid Application {other}")
    return [
        DocumentError(message, file=item.file, line=item.line, field="spec.sync.dependsOn")
        for item in documents
        if isinstance(item.document, Application)
        for message in reasons.get(item.document.name, ())
    ]


def _sources(
    repositories: dict[str, Repository], clusters: dict[str, Cluster], applications: dict[str, Application]
) -> dict[str, SourceView]:
    grouped: dict[str, dict[str, Application]] = {}
    followed: dict[str, Source] = {}
    for application in sorted(applications.values(), key=lambda application: application.name):
        for source in application.spec.sources:
            followed[source.id] = source
            grouped.setdefault(source.id, {})[application.name] = application
    views = {}
    for name, source in followed.items():
        members = list(grouped[name].values())
        repository = repositories[source.repository]
        used = {
            application.spec.destination.cluster: clusters[application.spec.destination.cluster]
            for application in members
        }
        digest = _digest([repository, *used.values(), *members])
        views[name] = SourceView(name, repository, source.ref, tuple(members), digest)
    return views


def endpoint_of(repository: Repository) -> str:
    """The name in ``POST /webhooks/{name}``."""
    webhook = repository.spec.webhook
    return webhook.name if webhook is not None and webhook.name else repository.name


def _endpoints(repositories: dict[str, Repository]) -> dict[str, tuple[Repository, ...]]:
    endpoints: dict[str, tuple[Repository, ...]] = {}
    for repository in repositories.values():
        if repository.spec.webhook is not None and repository.spec.webhook.secrets:
            endpoints[endpoint_of(repository)] = (*endpoints.get(endpoint_of(repository), ()), repository)
    return endpoints


def _warnings(repositories: dict[str, Repository]) -> Iterable[str]:
    for repository in repositories.values():
        if repository.spec.webhook is None or not repository.spec.webhook.secrets:
            yield (
                f"Repository {repository.name}: no webhook.secrets, so the endpoint /webhooks/{endpoint_of(repository)} "
                "does not exist (404): a webhook that nobody signs could be sent by anybody"
            )


def announce(catalog: Catalog) -> None:
    """Say in the log what was read, and what is wrong with it."""
    log.info(
        "documents.loaded", digest=catalog.digest, applications=len(catalog.applications), errors=len(catalog.errors)
    )
    for error in catalog.errors:
        log.error("document.invalid", error=str(error))


def _digest(documents: Iterable[Document]) -> str:
    parts = sorted(msgspec.json.encode([type(d).__name__, d], order="deterministic") for d in documents)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]
