"""A run's writes in their order: wave after wave, with hooks around them, waiting for health only where something follows.

Nothing is held while a run waits: it ends, says what for, and the next one goes on where it was. What is applied is known
by its hash, a hook by the object that it made. So a newer commit never waits for an older one's health.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from windlass.documents import ordering
from windlass.errors import WaitingError
from windlass.state import Standing
from workers import order
from workers.desired import SourceAt
from workers.directives import DeletePolicy, Phase
from workers.health import CompiledRules, diagnose, examine, has_health
from workers.health.status import CURRENT, Health, Status, in_progress
from workers.hooks import Hooks, hook_health
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.order import Await, HookRun, Item, Rank, Step, Unsettled, steps
from workers.plan import ObjectError, Plan, Wanted
from workers.writes import Writer

LOOK_AGAIN = ((10.0, 0.5), (60.0, 2.0), (float("inf"), 5.0))
"""(seconds waited, seconds until the next look): what the watcher sees makes it sooner."""

DEPENDS_ON = "dependsOn"
"""Where a run waits for other applications."""


class Found(NamedTuple):
    """An object's health at a look, and the reason behind it where that was asked for."""

    key: ObjectKey
    health: Health


def hooks_digest(hooks: Sequence[Wanted]) -> str:
    """Which hooks there are: other ones are run although no object differs."""
    if not hooks:
        return ""
    text = "\n".join(sorted(f"{wanted.key} {wanted.sketch.hash}" for wanted in hooks))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def revision_of(sources: Sequence[SourceAt]) -> str:
    """What hooks run once for: the commit, or a digest of those of several sources."""
    if len(sources) == 1:
        return sources[0].commit
    text = "\n".join(sorted(f"{at.source.id} {at.commit}" for at in sources))
    return hashlib.sha256(text.encode()).hexdigest()


def going_on(standing: Standing, revision: str) -> Standing:
    """What an earlier run left, as far as it holds for ``revision``: a newer one has hooks and waits of its own."""
    if standing.revision == revision:
        return standing
    return Standing(revision=revision, due=standing.due, spent=standing.spent, unsettled=standing.unsettled)


class Rollout:
    """The steps of one run."""

    def __init__(
        self,
        writer: Writer,
        plan: Plan,
        standing: Standing,
        *,
        rules: CompiledRules | None,
        hooked: str,
        parent: str,
    ) -> None:
        """``rules`` are the application's own of health. ``standing`` is what an earlier run left, and is kept up to date;
        ``hooked`` is the digest of the hooks that ran."""
        self._writer, self._plan, self.standing, self._rules = writer, plan, standing, rules
        self._parent = parent
        self._progress, self._revision = writer.progress, writer.progress.record.revision
        self._hooks = Hooks(writer, standing.revision or self._revision)
        self._tries_again = not standing.awaits or standing.place == DEPENDS_ON
        if plan.writes or plan.leaving or hooked != hooks_digest(plan.hooks):
            standing.due = True
        self._due_hooks = plan.hooks if standing.due else ()

    async def run(self) -> None:
        """Do every step.

        :raises WaitingError: a step isn't healthy yet. :raises SupersededError: a newer commit goes first.
        """
        with self._progress.timed("apply"):
            ordered = steps(
                [Item(wanted, wanted.sketch.directives) for wanted in self._plan.writes],
                [Item(wanted, wanted.sketch.directives, wanted.sketch.generated) for wanted in self._due_hooks],
                revision=self._revision,
                ran=frozenset(self.standing.ran),
                unsettled=[Unsettled(ObjectKey.parse(k), wave) for k, wave in self.standing.unsettled.items()],
            )
            if ordered.run:
                await self._writer.announce((*self._plan.writes, *self._due_hooks), self._parent)
            await self._delete(
                run for run in self.standing.spent if run not in self.standing.ran
            )  # of an older revision
            if await self._steps(ordered.run):
                await self._delete(self.standing.spent)
            else:
                for step in ordered.on_failure:
                    await self._step(step)
                await self._delete(order.those_of(self.standing.spent, Phase.SYNC_FAIL))

    async def _steps(self, ordered: Sequence[Step]) -> bool:
        """False: something failed, so that what comes later is left."""
        began, failed_at = len(self._progress.errors), None
        for step in ordered:
            at = step.phase, step.wave
            if failed_at not in (None, at) or (step.phase is Phase.POST_SYNC and self._progress.errors):
                return False
            await self._delete(order.those_before(self.standing.spent, step.phase))
            await self._step(step)
            if len(self._progress.errors) > began:
                failed_at = at
        return failed_at is None

    async def _step(self, step: Step) -> None:
        await self._writer.write(step.objects)
        started = [hook for hook in step.hooks if await self._started(hook)]
        if step.rank is Rank.DEFINITION:
            await self._established(step)
        if step.wait is Await.HEALTHY:
            written = (str(wanted.key) for wanted in step.objects)
            self.standing.unsettled |= {key: step.wave for key in written if key in self._progress.done}
            await self._settle(step, started)

    async def _started(self, hook: HookRun) -> bool:
        self._writer.give_way()
        failed = hook.id in self.standing.failed
        if failed and self._tries_again:
            self.standing.failed.remove(hook.id)
        return await self._hooks.start(hook, again=failed and self._tries_again)

    async def _delete(self, spent: Iterable[str]) -> None:
        """Hooks that asked to go once they succeeded, when their phase is over, as in Helm: until then others may need them."""
        for run in list(spent):
            try:
                await self._hooks.delete(order.hook_key(run))
            except ApiError as error:
                if error.retryable:
                    raise
                self._progress.record.warnings.append(f"{run}: it stays: {error}")
            self.standing.spent.remove(run)

    async def _established(self, step: Step) -> None:
        for wanted in step.objects:
            if wanted.sketch.defines and str(wanted.key) in self._progress.done:
                await self._writer.cluster.established(wanted.key.name)

    # -- health -----------------------------------------------------------------------------------------------------

    async def _settle(self, step: Step, hooks: Sequence[HookRun]) -> None:
        """Look at the step's objects: go on if all are healthy, fail if one won't be, else end this run and wait."""
        running = {hook.key: hook for hook in hooks}
        failed = {error.object for error in self._progress.errors}
        keys = [key for key in step.healthy if str(key) not in failed]
        found = await self.look(keys, frozenset(running))
        for key, health in found:
            if health.status is Status.CURRENT:
                self.standing.unsettled.pop(str(key), None)
                await self._hook_ended(running.get(key), well=True)
            elif health.status is Status.FAILED:
                await self._failed(key, health)
                await self._hook_ended(running.get(key), well=False)
        pending = [one for one in found if one.health.status not in (Status.CURRENT, Status.FAILED)]
        if pending and not any(one.health.status is Status.FAILED for one in found):
            await self._wait(step, pending)

    async def _hook_ended(self, hook: HookRun | None, *, well: bool) -> None:
        if hook is None:
            return
        if not well:
            self.standing.failed = [*dict.fromkeys((*self.standing.failed, hook.id))]
            await self._hooks.failed(hook)
            return
        self.standing.ran.append(hook.id)
        if DeletePolicy.SUCCEEDED in hook.item.directives.delete_policies:
            self.standing.spent.append(hook.id)

    async def _failed(self, key: ObjectKey, health: Health) -> None:
        reason = await self.reason(key) or health.message or health.reason
        self._progress.errors.append(ObjectError(str(key), "", 0, f"is not healthy: {reason}"))

    async def _wait(self, step: Step, pending: Sequence[Found]) -> None:
        """:raises WaitingError: unless it has been waited for long enough; then that is an error."""
        names = sorted(str(one.key) for one in pending)
        shown = "; ".join(f"{one.key} ({one.health.message or one.health.reason})" for one in pending[:3])
        place = f"{step.phase} wave {step.wave}"
        why = f"{place}: {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        limit = ordering.timeout(self._writer.application.spec.sync.timeout)
        if not wait_for(self.standing, place, names, why, limit):
            for one in pending:
                reason = await self.reason(one.key) or one.health.message or one.health.reason
                message = f"is not healthy after {limit:.0f} s (spec.sync.timeout): {reason}"
                self._progress.errors.append(ObjectError(str(one.key), "", 0, message))
            return
        raise WaitingError(why)

    async def look(self, keys: Sequence[ObjectKey], hooks: frozenset[ObjectKey] = frozenset()) -> list[Found]:
        """The health of these objects, now."""
        return list(await asyncio.gather(*(self._look(key, key in hooks) for key in keys)))

    async def _look(self, key: ObjectKey, hook: bool) -> Found:
        if not has_health(key.group, key.kind, self._rules):
            return Found(key, CURRENT)
        cluster = self._writer.cluster
        async with cluster.limiter:
            obj = await cluster.read(key)
        if obj is None:
            return Found(key, in_progress("NotFound", "it isn't there"))
        health = await examine(obj, self._rules)
        return Found(key, hook_health(key.group_kind, obj, health) if hook else health)

    async def reason(self, key: ObjectKey) -> str:
        """Why an object isn't healthy, from its pods and events; "" where that can't be told."""
        cluster = self._writer.cluster
        try:
            obj = await cluster.read(key)
            return await diagnose(cluster.client, obj) if obj is not None else ""
        except ApiError as error:
            return str(error)


def wait_for(standing: Standing, place: str, names: list[str], why: str, limit: float) -> bool:
    """Note what is waited for at this place of the run, and since when; False: it has been ``limit`` seconds.

    An object that is healthy one moment and not the next begins no new wait: it could go on for ever.
    """
    now = time.time()
    if standing.place != place or set(names).isdisjoint(standing.awaits):
        standing.place, standing.since = place, now
    standing.awaits, standing.why = names, why
    return now - standing.since < limit


def look_again_in(standing: Standing) -> float:
    """Seconds until somebody should look, if no event says so earlier."""
    waited = time.time() - standing.since
    return next(pause for longest, pause in LOOK_AGAIN if waited <= longest)
