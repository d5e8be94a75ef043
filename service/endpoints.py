"""Which sources a verified delivery marks: looked up, never searched. Built once for each version of the documents.

What must hold: a delivery's cost does not depend on how many applications or repositories there are; a payload
selects among exactly the endpoint's repositories, by equal address, and only among those whose own secret it was
signed with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from service.proposals import Proposals
from windlass.documents.catalog import Catalog, SourceView
from windlass.documents.pipelines import PipelineView
from windlass.documents.promotions import PromotionView
from windlass.documents.types import Repository, SecretRef
from windlass.errors import WindlassError
from windlass.events import PullRequestEvent, PushEvent, RefUpdate
from windlass.forges import Forge, addresses, all_addresses, forge
from windlass.forges.address import Address
from windlass.forges.signatures import Headers
from windlass.semver import Range, range_of

log = structlog.get_logger(__name__)


class Resolver(Protocol):
    """Where secrets' values come from."""

    def resolve(self, ref: SecretRef) -> bytes: ...


class Wanted(NamedTuple):
    """One source to mark, and the update that asks for it."""

    view: SourceView | PipelineView
    update: RefUpdate


class Followed:
    """The sources of one repository: by ref; those that follow a range of versions apart, since each pushed tag may be
    within any of them. And ``proposals``: the promotions whose pull requests are in this repository."""

    def __init__(self) -> None:
        self.proposals = Proposals()
        self.previewed = ""  # the repository's name, if its pull requests are told what they would change
        self._by_ref: dict[str, SourceView] = {}
        self._pipelines: dict[str, list[PipelineView]] = {}
        self._ranges: list[tuple[Range, SourceView]] = []

    def add(self, view: SourceView) -> None:
        versions = range_of(view.ref)
        if versions is None:
            self._by_ref[view.ref] = view
        else:
            self._ranges.append((versions, view))

    def build(self, view: PipelineView) -> None:
        """The branch's image is built at each push."""
        self._pipelines.setdefault(view.ref, []).append(view)

    def at(self, ref: str) -> list[SourceView | PipelineView]:
        """The sources that may be somewhere else now that ``ref`` moved, and what is built of it."""
        view = self._by_ref.get(ref)
        within = [follower for versions, follower in self._ranges if versions.has_tag(ref)]
        return [*([view] if view is not None else ()), *within, *self._pipelines.get(ref, ())]


class Group:
    """An endpoint's repositories of one forge and one set of secrets: verified at once."""

    def __init__(self, forge_name: str, secrets: tuple[SecretRef, ...]) -> None:
        self.forge: Forge = forge(forge_name)
        self.forge_name, self._secrets = forge_name, secrets
        self._repositories: dict[Address, list[Followed]] = {}

    def add(self, repository: Repository, followed: Followed) -> None:
        for address in all_addresses(self.forge_name, repository.spec.url):
            self._repositories.setdefault(address, []).append(followed)

    def secrets(self, resolver: Resolver) -> list[bytes]:
        """Those that can be read now; the others are logged by name."""
        values = []
        for ref in self._secrets:
            try:
                values.append(resolver.resolve(ref))
            except WindlassError as error:
                log.error("webhook.secret_missing", error=str(error))
        return values

    def repositories(self, event: PushEvent | PullRequestEvent) -> list[Followed]:
        """The sources of each repository that the event names."""
        named = addresses(self.forge_name, event.repositories)
        found = [self._repositories[address] for address in named if address in self._repositories]
        return [followed for several in found for followed in several]


class Endpoint:
    """What ``POST /webhooks/{name}`` serves."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        names = {group.forge_name for group in groups}
        self.forge_name = names.pop() if len(names) == 1 else "several"

    def verify(self, headers: Headers, body: bytes, resolver: Resolver) -> list[Group] | None:
        """The groups with one of whose secrets the delivery was signed; None if no secret at all can be read.

        Every group is tried, so that the time taken doesn't tell which one it was.
        """
        secrets = [group.secrets(resolver) for group in self.groups]
        verified = [g for g, s in zip(self.groups, secrets, strict=True) if g.forge.verify(headers, body, s)]
        return verified if any(secrets) else None


def wanted(groups: Iterable[Group], event: PushEvent | PullRequestEvent) -> tuple[list[Wanted], bool]:
    """The sources that follow the refs that moved, each once, and whether the event names one of the repositories at
    all."""
    by_source: dict[str, Wanted] = {}
    known = False
    for group in groups:
        for followed in group.repositories(event):
            known = True
            for update in event.updates:
                if not update.deleted:
                    by_source.update((view.id, Wanted(view, update)) for view in followed.at(update.ref))
    return list(by_source.values()), known


def woken(groups: Iterable[Group], event: PullRequestEvent) -> list[PromotionView]:
    """The promotions of which it may be the pull request, each once."""
    found = {
        view.id: view
        for group in groups
        for followed in group.repositories(event)
        for view in followed.proposals.between(event.head, event.base)
    }
    return list(found.values())


def previewed(groups: Iterable[Group], event: PullRequestEvent) -> list[str]:
    """The repositories whose pull request is to be looked at, by their documents' names."""
    found = [followed.previewed for group in groups for followed in group.repositories(event)]
    return list(dict.fromkeys(filter(None, found))) if event.kind == "open" and event.number > 0 else []


def endpoints(catalog: Catalog) -> Mapping[str, Endpoint]:
    """The endpoints that these documents ask for, by name. A repository without secrets has none."""
    sources: dict[str, Followed] = {}
    for view in catalog.sources.values():
        sources.setdefault(view.repository.name, Followed()).add(view)
        api = view.repository.spec.pull_requests
        if api is not None and api.plan:
            sources[view.repository.name].previewed = view.repository.name
    for pipeline in catalog.pipelines.values():
        sources.setdefault(pipeline.repository.name, Followed()).build(pipeline)
    for promotion in catalog.promotions.values():
        sources.setdefault(promotion.repository.name, Followed()).proposals.add(promotion)
    return {
        name: Endpoint(_groups(repositories, sources))
        for name, repositories in catalog.endpoints.items()
        if any(_secrets(repository) for repository in repositories)
    }


def _groups(repositories: Iterable[Repository], sources: Mapping[str, Followed]) -> list[Group]:
    groups: dict[tuple[str, tuple[SecretRef, ...]], Group] = {}
    for repository in repositories:
        name, secrets = repository.spec.forge, _secrets(repository)
        if not secrets:
            continue
        if (name, secrets) not in groups:
            groups[name, secrets] = Group(name, secrets)
        groups[name, secrets].add(repository, sources.get(repository.name, Followed()))
    return list(groups.values())


def _secrets(repository: Repository) -> tuple[SecretRef, ...]:
    return repository.spec.webhook.secrets if repository.spec.webhook else ()
