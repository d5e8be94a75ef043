"""Promotions among the other documents: what each refers to must be there, and none may wait for itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from windlass.documents.ordering import cycles
from windlass.documents.promotion import After, Promotion
from windlass.documents.registry import Registry
from windlass.documents.types import Application, Document, Repository
from windlass.errors import DocumentError


class Placed(Protocol):
    """What this module needs of `windlass.documents.catalog.Placed`."""

    @property
    def document(self) -> Document: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...


class PromotionView(NamedTuple):
    """A promotion and its manifest repository. ``id`` is the queue's name; ``digest`` changes with either document."""

    id: str
    promotion: Promotion
    repository: Repository
    digest: str


class Promoting(NamedTuple):
    """The promotions by their queue's names, the registries by theirs, and what is wrong with the others."""

    promotions: dict[str, PromotionView]
    registries: dict[str, Registry]
    errors: list[DocumentError]


def promoting(
    documents: Iterable[Placed],
    repositories: Mapping[str, Repository],
    applications: Mapping[str, Application],
    digest: Callable[[Iterable[Document]], str],
) -> Promoting:
    """The promotions and registries of these documents. Who waits for a promotion that isn't valid isn't either."""
    placed = list(documents)
    found = {item.document.name: item for item in placed if isinstance(item.document, Promotion)}
    registries = {item.document.name: item.document for item in placed if isinstance(item.document, Registry)}
    promotions = {name: item.document for name, item in found.items() if isinstance(item.document, Promotion)}
    circles = cycles(
        {name: frozenset(after.promotion for after in p.spec.gates.after) for name, p in promotions.items()}
    )
    errors: list[DocumentError] = []
    while True:
        wrong = {
            name: problems
            for name, promotion in promotions.items()
            if (problems := list(_problems(promotion, promotions, repositories, applications, circles.get(name, ()))))
        }
        if not wrong:
            break
        for name, problems in wrong.items():
            item = found[name]
            errors += [DocumentError(text, file=item.file, line=item.line, field=field) for field, text in problems]
            del promotions[name]
    views = {}
    for promotion in promotions.values():
        repository = repositories[promotion.spec.target.repository]
        views[promotion.id] = PromotionView(promotion.id, promotion, repository, digest([promotion, repository]))
    return Promoting(views, registries, errors)


def _problems(
    promotion: Promotion,
    promotions: Mapping[str, Promotion],
    repositories: Mapping[str, Repository],
    applications: Mapping[str, Application],
    circle: tuple[str, ...],
) -> Iterator[tuple[str, str]]:
    spec = promotion.spec
    repository = repositories.get(spec.target.repository)
    if repository is None:
        yield "spec.target.repository", f"there is no valid Repository {spec.target.repository}"
    elif spec.mode == "pullRequest" and repository.spec.pull_requests is None:
        message = (
            f"Repository {repository.name} has no pullRequests, so there is no way to open one; or say mode: commit"
        )
        yield "spec.mode", message
    if spec.source is not None and spec.source not in repositories:
        yield "spec.source", f"there is no valid Repository {spec.source}"
    if circle:
        yield "spec.gates.after", f"these promotions wait for each other: {' -> '.join((*circle, circle[0]))}"
        return
    for index, after in enumerate(spec.gates.after):
        yield from _after(f"spec.gates.after[{index}]", after, spec.image, promotions, applications)


def _after(
    field: str,
    after: After,
    image: str,
    promotions: Mapping[str, Promotion],
    applications: Mapping[str, Application],
) -> Iterator[tuple[str, str]]:
    before = promotions.get(after.promotion)
    if before is None:
        yield f"{field}.promotion", f"there is no valid Promotion {after.promotion}"
    elif before.spec.image != image:
        yield f"{field}.promotion", f"Promotion {after.promotion} is of another image"
    if after.application is None:
        return
    application = applications.get(after.application)
    if application is None:
        yield f"{field}.application", f"there is no valid Application {after.application}"
    elif before is not None and all(s.repository != before.spec.target.repository for s in application.spec.sources):
        target = before.spec.target.repository
        yield f"{field}.application", f"Application {application.name} does not follow Repository {target}, the target"
