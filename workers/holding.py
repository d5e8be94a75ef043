"""What a rollback that holds means for a run: nothing to do, the kept set again, or the end of the hold.

What must hold: the hold that counts is the one on the ApplySet's parent, in the cluster; Redis' copy only tells people of it. So
who writes Redis can neither roll an application back nor release it, and who empties it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from windlass.documents.types import Application
from windlass.errors import PermanentError, WindlassError
from windlass.hold import Hold
from windlass.state import ApplicationState
from workers.context import Context
from workers.desired import Output, Rendering, SourceAt
from workers.followed import load_inputs, paths, same
from workers.kept import KeptSet
from workers.kube.applyset import ApplySet

log = structlog.get_logger(__name__)


class HeldError(WindlassError):
    """A rollback holds, and the application is what it was rolled back to: a run has nothing to do."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(str(hold))
        self.hold = hold


class Held(NamedTuple):
    """What a run of a held application makes true, in place of what its sources hold now."""

    hold: Hold
    sources: Sequence[SourceAt]
    rendering: Rendering


async def held(
    context: Context, application: Application, state: ApplicationState, applyset: ApplySet, sources: Sequence[SourceAt]
) -> Held | None:
    """None: nothing holds, or not any more.

    :raises HeldError: it does, and all is as it should be. :raises PermanentError: its set can't be had.
    """
    if state.revision and not state.hold and context.keeping is None:
        return None  # where sets are kept, the parent is asked each time: Redis' word alone would not do
    parent = await applyset.read()
    hold = Hold.load(parent.hold) if parent is not None else None
    if hold is None:
        return None
    if hold.automatic and _moved_on(application, state, sources, hold):
        await applyset.hold("")
        log.info("rollback.over", application=application.name, revision=sources[0].commit)
        return None
    if state.revision == hold.revision and not state.attempted and not state.whole:
        raise HeldError(hold)
    if context.keeping is None:
        raise PermanentError(f"{hold}, and there is no WINDLASS_KEEP_KEY to open its set with")
    kept = await context.keeping.kept.read(application, hold.revision)
    return Held(hold, _back_at(sources, kept), _rendering(kept, sources[0]))


def _moved_on(application: Application, state: ApplicationState, sources: Sequence[SourceAt], hold: Hold) -> bool:
    """Does the first source hold other inputs than the commit that failed?"""
    first, inputs = sources[0], load_inputs(state.inputs)
    if first.commit == hold.failed:
        return False
    if not first.repository.has(hold.failed):
        return True
    read = paths(first.source.id, application, inputs)
    return not same(first.repository, hold.failed, first.commit, read)


def _back_at(sources: Sequence[SourceAt], kept: KeptSet) -> list[SourceAt]:
    return [at._replace(commit=kept.revisions.get(at.source.id, kept.revision)) for at in sources]


def _rendering(kept: KeptSet, first: SourceAt) -> Rendering:
    """The set in place of the first source; the others are in it."""

    async def rendering(at: SourceAt) -> Output:
        return kept.output() if at.source == first.source else Output((), {}, (), {})

    return rendering
