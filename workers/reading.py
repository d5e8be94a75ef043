"""What an application's sources hold, read no further than what changed since it was last applied: the cost follows the diff."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from windlass.documents.types import Application
from windlass.errors import PermanentError
from windlass.state import ApplicationState
from workers.aiogit import Change
from workers.desired import Changes, Desired, Rendering, SourceAt, desired, everything
from workers.followed import load_inputs
from workers.ignore import IgnoreRules
from workers.render.tree import Rendered
from workers.slices import sliced

ATTEMPTS_REMEMBERED = 10
"""Commits tried since the last complete one whose trees are looked at again; beyond that, the cluster is asked."""


class Reading:
    """The sources of one run, and what the state says of what was read of them before."""

    def __init__(
        self,
        application: Application,
        state: ApplicationState,
        sources: Sequence[SourceAt],
        rendering: Rendering,
        *,
        secret_key: bytes,
        trusted: bool,
    ) -> None:
        """``trusted``: what Redis knows of the application's objects is what was applied by this very document."""
        self._application, self._state, self._sources, self._rendering = application, state, sources, rendering
        self._secret_key, self._trusted = secret_key, trusted
        self._ignore = IgnoreRules.of(application)

    async def read(self) -> Desired:
        """What has to be known for a plan: what changed, where that is enough.

        :raises PermanentError: a source can't be rendered. :raises GitError: or read.
        """
        found = await self._read(self._changes)
        if found.by_changes and _has_hooks(found.rendered):
            return await self.everything()
        return found

    async def everything(self) -> Desired:
        """All of it. Raises as `read` does."""
        return await self._read(everything)

    async def _read(self, changes: Changes) -> Desired:
        return await desired(self._sources, self._rendering, changes, self._secret_key, self._ignore)

    async def _changes(self) -> list[Change] | None:
        """The files that differ from those last applied; None: all of them must be looked at."""
        state, at = self._state, self._sources[0]
        if not self._trusted or state.inputs or state.hooked:
            return None
        bases = [state.revision, *state.attempted]
        if len(bases) > ATTEMPTS_REMEMBERED or not all(map(at.repository.has, bases)):
            return None
        changes: dict[tuple[str, str | None], Change] = {}
        for base in bases:
            async for change in sliced(at.repository.iter_diff(base, at.commit, self._application.source.path)):
                changes[change.path, change.old] = change
        return list(changes.values())

    def unreadable(self, found: Desired) -> dict[str, bytes]:
        """What files with an error hold, by path: what they name may be wanted."""
        broken, at = {error.file for error in found.rendered.errors}, self._sources[0]
        held: dict[str, bytes] = {}
        for file in sorted(broken if not found.inputs else ()):
            with contextlib.suppress(PermanentError):
                if oid := at.repository.file_id(at.commit, file):
                    held[file] = at.repository.blob(oid)
        return held

    def newly_followed(self, found: Desired) -> list[str]:
        """The sources of which this application now reads other paths than before."""
        before, now = load_inputs(self._state.inputs), found.inputs
        places = {
            place for place in before.keys() | now.keys() if before.get(place, {}).keys() != now.get(place, {}).keys()
        }
        return [at.source.id for place, at in enumerate(self._sources) if place in places]

    def revisions(self) -> str:
        """The commits of all sources, as the state keeps them where there are several."""
        if len(self._sources) == 1:
            return ""
        return msgspec.json.encode({at.source.id: at.commit for at in self._sources}).decode()


def _has_hooks(rendered: Rendered) -> bool:
    """Then all of them must be known, not only those of the files that changed."""
    return any(item.directives.is_hook for item in (*rendered.wanted, *rendered.before))
