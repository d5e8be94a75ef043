"""What a pull request would change, application by application: beside the cluster, or, where its author is not trusted with
that, beside what its base renders.

What must hold: settings are those of the documents, none of the pull request's; the cluster is only asked for dry runs; a plan
of renders needs no cluster, no Secret and no decryption key, and gets none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from windlass.documents.types import Application
from windlass.errors import PermanentError, WindlassError
from windlass.state import ApplicationState, read_states
from workers.aiogit import GitRepository
from workers.context import Context
from workers.desired import Desired, Output, SourceAt, desired, everything
from workers.differences import Compared, Comparison, Difference, difference, looking_at
from workers.followed import load_inputs, paths, same
from workers.ignore import IgnoreRules
from workers.preview.subject import Subject
from workers.render.commit_tree import CommitTree
from workers.render.helm import Target
from workers.vouched import vouched

MOST_APPLICATIONS = 50
"""Applications of which one pull request's plan tells."""


class Planned(NamedTuple):
    """One application's plan; with ``error`` there is none."""

    application: str
    cluster: str
    compared: Compared | None
    error: str = ""

    @property
    def errors(self) -> list[str]:
        if self.compared is None:
            return [self.error]
        return [f"{one.object}: {one.message}" for one in self.compared.differences if one.status == "error"]


async def touched(
    context: Context, repository: GitRepository, name: str, ref: str, found: Subject
) -> list[tuple[Application, ApplicationState]]:
    """The applications that follow the base branch and read something that the pull request changes, by name."""
    followers = [
        application
        for _, application in sorted(context.catalog.applications.items())
        if any(one.repository == name and one.ref == ref for one in application.spec.sources)
    ]
    states = await read_states(context.redis, [application.name for application in followers])
    return [
        (application, state)
        for application, state in zip(followers, states, strict=True)
        if not same(repository, found.base, found.merged, _read(application, state, name, ref))
    ]


def _read(application: Application, state: ApplicationState, name: str, ref: str) -> set[str]:
    sources = {one.id for one in application.spec.sources if one.repository == name and one.ref == ref}
    return {path for source in sources for path in paths(source, application, load_inputs(state.inputs))}


async def planned(
    context: Context, application: Application, sources: Sequence[SourceAt], base: Sequence[SourceAt] | None
) -> Planned:
    """One application's plan. ``base``: compare with what these render, and ask no cluster.

    :raises RedisError: it is away.
    """
    cluster = application.spec.destination.cluster
    try:
        if base is not None:
            compared = await _renders(context, application, sources, base)
        else:
            access = await context.clusters.get(context.catalog.clusters[cluster])
            compared = await Comparison(context, looking_at(access), application).compare(sources)
    except WindlassError as error:
        return Planned(application.name, cluster, None, str(error))
    return Planned(application.name, cluster, compared)


async def sources_at(
    context: Context, application: Application, repository: GitRepository, name: str, ref: str, commit: str
) -> list[SourceAt]:
    """The application's sources: the pull request's branch at ``commit``, the others where their own jobs last were.

    :raises PermanentError: another source was not read yet. :raises NotVouchedError: it does not have what Redis says.
    """
    found = []
    for one in application.spec.sources:
        if one.repository == name and one.ref == ref:
            found.append(SourceAt(one, repository, commit))
            continue
        processed = await context.queue.processed(one.id)
        if not processed:
            raise PermanentError(f"the source {one.id} was not read yet")
        found.append(SourceAt(one, await vouched(context, one, processed), processed))
    return found


async def _renders(
    context: Context, application: Application, sources: Sequence[SourceAt], base: Sequence[SourceAt]
) -> Compared:
    """Two renders beside each other."""
    then, before = [await _bodies(context, application, side) for side in (sources, base)]
    found, same_ones = [], 0
    for name in sorted(then.keys() | before.keys()):
        if name not in then:
            found.append(Difference(name, "pruned"))
        elif text := difference(name, before.get(name), then[name]):
            found.append(Difference(name, "changed" if name in before else "missing", text=text))
        else:
            same_ones += 1
    return Compared(sources[0].commit, tuple(found), same_ones)


async def _bodies(context: Context, application: Application, sources: Sequence[SourceAt]) -> dict[str, dict[str, Any]]:
    async def rendering(at: SourceAt) -> Output | None:
        return await _offline(context, application, at)

    found: Desired = await desired(sources, rendering, everything, context.secret_key, IgnoreRules.of(application))
    if found.rendered.errors:
        raise PermanentError(f"{len(found.rendered.errors)} files can't be read: {found.rendered.errors[0]}")
    bodies = {}
    for sketch in found.rendered.wanted:
        body = found.manifests.manifest(sketch).body
        namespace = sketch.namespace or application.spec.destination.namespace or ""
        bodies["/".join(filter(None, (sketch.kind, namespace, sketch.name)))] = body
    return bodies


async def _offline(context: Context, application: Application, at: SourceAt) -> Output | None:
    if at.source.sops is not None:
        raise PermanentError("its files are decrypted by keys, which a pull request from a fork does not get")
    tree = CommitTree(at.repository, at.commit)
    if context.renderer.kind(tree, at.source) == "plain":
        return None
    await context.open_renderer()
    target = Target(application.name, application.spec.destination.namespace or "default")
    output = await context.renderer.render(tree, at.source, target)
    return Output(output.manifests, output.inputs, tuple(output.warnings), {})
