"""Pipelines among the other documents: the repository that each is of must be there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from windlass.documents.pipeline import Pipeline
from windlass.documents.promotions import Placed
from windlass.documents.types import Document, Repository
from windlass.errors import DocumentError


class PipelineView(NamedTuple):
    """A pipeline and its repository. ``id`` is the queue's name; ``digest`` changes with either document."""

    id: str
    pipeline: Pipeline
    repository: Repository
    digest: str

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.pipeline.spec.source.branch}"


def building(
    documents: Iterable[Placed], repositories: Mapping[str, Repository], digest: Callable[[Iterable[Document]], str]
) -> tuple[dict[str, PipelineView], list[DocumentError]]:
    """The pipelines of these documents, by the queue's names, and what is wrong with the others."""
    views, errors = dict[str, PipelineView](), list[DocumentError]()
    for item in documents:
        pipeline = item.document
        if not isinstance(pipeline, Pipeline):
            continue
        repository = repositories.get(pipeline.spec.source.repository)
        if repository is None:
            message = f"there is no valid Repository {pipeline.spec.source.repository}"
            errors.append(DocumentError(message, file=item.file, line=item.line, field="spec.source.repository"))
        else:
            views[pipeline.id] = PipelineView(pipeline.id, pipeline, repository, digest([pipeline, repository]))
    return views, errors
