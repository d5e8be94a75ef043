"""The story of an image: the newest by the policy, its gates, the edit on a branch, the pull request, and what became of it.

One job serves one promotion. It is level-triggered: whatever it was queued for, it takes the newest image of all that it knows
and does what is missing. What must hold: one pull request a promotion, whose newest image wins; closed without a merge means no
until a newer image; the same image again changes nothing; what Redis forgot is read from the forge.
"""

from __future__ import annotations

import hashlib
import time
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import structlog

from windlass.documents.promotions import PromotionView
from windlass.errors import TransientError
from windlass.forges.calls import RefusedError
from windlass.forges.pulls import PullRequest, PullRequests, Wanted
from windlass.queue import Run
from windlass.queue.notices import Occurrence
from windlass.queue.promotions import Image, images, seal_of
from windlass.queue.seal import Seal
from windlass.tag_policy import Policy
from workers.context import Context
from workers.jobs import serve
from workers.promote import words
from workers.promote.aftermath import standings
from workers.promote.contract import Proposal, Propose
from workers.promote.forge import ForgeAccess
from workers.promote.gates import Gates
from workers.promote.merging import merged_by_itself
from workers.promote.onward import landed, release
from workers.promote.sources import Sources
from workers.promote.state import DECIDED, Phase, PromotionState, PromotionStore
from workers.viewing import view_of

log = structlog.get_logger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks at an open pull request, where no event told of it."""
GATE_SECONDS = 15.0
"""Between two looks at gates that no event tells of."""
AT_ONCE = 0.5
"""Seconds after a merge was seen in which it may be applied, before the pull request is told of it."""
FOLLOWED_SECONDS = 86400.0
"""For so long a merged pull request is told what becomes of it."""


class Step(NamedTuple):
    """What a run came to: the new state, and when to look again."""

    state: PromotionState
    retry_in: float | None = None


class Promoter:
    """The worker's function `promote(job_id, source, generation, digest)`, and what it needs."""

    def __init__(self, context: Context, propose: Propose) -> None:
        self._context, self._propose, self._seal = context, propose, seal_of(context.secret_key)
        self._store, self._sources = PromotionStore(context.redis, context.secret_key), Sources(context)
        self._gates, self._forge = Gates(context, self._store), ForgeAccess(context.secrets, context.secret_key)

    async def close(self) -> None:
        await self._sources.close()
        await self._forge.close()
        await self._gates.close()

    async def promote(self, job_id: str, source: str, generation: int, digest: str) -> dict[str, Any]:
        """Bring the promotion as far as it can go now; answers with a summary for the job's result."""
        return await serve(self._context.queue, job_id, source, lambda run: self._tried(run, digest), _nothing_more)

    async def _tried(self, run: Run, digest: str) -> dict[str, Any]:
        """:raises TransientError: the forge doesn't accept who we are: a new token, or another permission, heals that."""
        try:
            return await self._run(run, digest)
        except RefusedError as error:
            if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise TransientError(str(error)) from None
            raise

    async def _run(self, run: Run, digest: str) -> dict[str, Any]:
        view = await view_of(self._context, lambda catalog: catalog.promotions, run.source, digest)
        if view is None:
            await self._context.queue.finish(run, error="there is no valid Promotion of this name")
            return {"promotion": run.source, "outcome": "no valid document"}
        name, before = view.promotion.name, await self._store.read(view.promotion.name)
        step = await self._step(run, view, before)
        if step.state != before:
            await self._store.write(run, name, step.state)
        if step.state.phase != before.phase or step.state.image != before.image:
            log.info("promotion.phase", promotion=name, phase=step.state.phase, why=step.state.why, url=step.state.url,
                     image=step.state.image.identity if step.state.image else "")  # fmt: skip
            await self._context.news.promoted(_occurrence(view, step.state))
        decided = step.state.phase in DECIDED or step.state.phase == "Proposed"
        if decided and step.state.image is not None:
            identity = step.state.image.identity
            await self._context.queue.advance(run, commit=identity, documents=view.digest, dirty=[])
        await self._context.queue.finish(run, retry_in=step.retry_in)
        if step.state.phase in ("Merged", "Promoted") and before != step.state:
            await release(self._context, name)
            if step.state.merge != before.merge:
                await landed(self._context, view, step.state)
        return {"promotion": name, "outcome": step.state.phase, "why": step.state.why, "url": step.state.url}

    async def _step(self, run: Run, view: PromotionView, state: PromotionState) -> Step:
        pulls = await self._forge.pull_requests(view.repository) if view.promotion.spec.mode == "pullRequest" else None
        if state.image is None and pulls is not None:
            state = await self._recovered(view, pulls)
        image = _newest(view, state, run, self._seal)
        if image is None:
            return Step(state if state.image else PromotionState(at=time.time()))
        if state.image is None or image.identity != state.image.identity:
            if state.phase == "Merged" and not state.settled and pulls is not None:
                await self._told(view, pulls, state, words.overtaken(image))
            before = state.image.commit if state.image and state.phase in ("Merged", "Promoted") else state.before
            state = PromotionState("Waiting", image, state.pull, state.url, state.branch, before, at=time.time())
            await self._store.write(run, view.promotion.name, state)  # the hints may be forgotten from now on
        elif state.phase in DECIDED:  # also under other documents: what was taken back since must not come again
            return await self._followed(view, pulls, state)
        elif state.phase == "Proposed" and pulls is not None and run.documents in ("", view.digest):
            return await self._looked(view, pulls, state)
        if state.phase == "Waiting" and (waits := await self._waits(view, state, image)):
            return waits
        return await self._proposed(view, pulls, state, image)

    async def _recovered(self, view: PromotionView, pulls: PullRequests) -> PromotionState:
        """What Redis forgot, or never knew: the pull request of this promotion, and the image that it proposes."""
        promotion = view.promotion
        found: PullRequest | None
        if words.is_per_image(promotion):
            mine = [pull for pull in await pulls.open() if not pull.fork and words.proposed(promotion.name, pull.body)]
            found = max(mine, key=lambda pull: pull.number, default=None)
        else:
            found = await pulls.find(words.branch(promotion, Image("any")), promotion.spec.target.branch)
        image = words.proposed(promotion.name, found.body) if found else None
        if found is None or image is None:
            return PromotionState()
        return _of(PromotionState(image=image), found)

    async def _waits(self, view: PromotionView, state: PromotionState, image: Image) -> Step | None:
        """None, or why the image isn't proposed yet."""
        now = time.time()
        if view.promotion.spec.pin == "digest" and not image.digest:
            why = f"{image.tag} has no digest: its sender names none, and the promotion pins digests"
            return Step(msgspec.structs.replace(state, why=why))
        why = await self._gates.unmet(view, image)
        if why:
            return Step(msgspec.structs.replace(state, why=why, passed=0.0), GATE_SECONDS)
        state = msgspec.structs.replace(state, passed=state.passed or now, why="")
        if left := await self._gates.soaking(view, state.passed, now):
            why = f"the other gates hold for {view.promotion.spec.gates.soak}"
            return Step(msgspec.structs.replace(state, why=why), min(left, GATE_SECONDS))
        if await self._gates.needs_approval(view, image):
            return Step(msgspec.structs.replace(state, why=f"a person approves {image.tag}"))
        return None

    async def _proposed(
        self, view: PromotionView, pulls: PullRequests | None, state: PromotionState, image: Image
    ) -> Step:
        """The edit, and the pull request that shows it."""
        promotion, base = view.promotion, view.promotion.spec.target.branch
        message = words.message(promotion, image)
        if pulls is None:
            proposal = await self._propose(view, image, branch=base, message=message, keep=False)
            return Step(PromotionState("Promoted", image, branch=base, merge=proposal.commit, at=time.time()))
        branch = words.branch(promotion, image)
        found = await pulls.find(branch, base)
        if found is not None and found.state != "open" and _proposes(promotion.name, found, image):
            return Step(_of(state, found))  # somebody has decided on it already
        open_one = found if found is not None and found.state == "open" else None
        proposal = await self._propose(view, image, branch=branch, message=message, keep=open_one is not None)
        if proposal.commit == proposal.base:
            await self._superseded(view, pulls, f"`{base}` names {image.tag} already.", keep=0)
            return Step(PromotionState("Promoted", image, branch=branch, merge=proposal.commit, at=time.time()))
        if proposal.outcome == "conflict":
            return await self._conflict(pulls, state, proposal, open_one)
        pull, warnings = await self._shown(view, pulls, image, proposal, open_one, state.before)
        if words.is_per_image(promotion) or (state.pull and state.pull != pull.number):
            await self._superseded(view, pulls, f"Superseded by {pull.url}.", keep=pull.number)
        now = PromotionState("Proposed", image, pull.number, pull.url, branch, state.before, at=time.time(),
                             warnings=tuple(warnings), files=proposal.files, head=proposal.commit, alone=proposal.alone,
                             scheduled=state.scheduled and state.pull == pull.number)  # fmt: skip
        return await self._looked(view, pulls, now, proposed=True)

    async def _shown(
        self,
        view: PromotionView,
        pulls: PullRequests,
        image: Image,
        proposal: Proposal,
        found: PullRequest | None,
        before: str,
    ) -> tuple[PullRequest, list[str]]:
        """The open pull request that says so: opened, or changed where it is of another image."""
        if found is not None and _proposes(view.promotion.name, found, image):
            return found, []  # a person may have changed what it says
        promotion, spec = view.promotion, view.promotion.spec.pull_request
        title = words.title(promotion, image, proposal.previous)
        commits = await self._sources.commits(view, image, before)
        body = words.body(promotion, image, proposal.previous, proposal.edits, commits)
        if found is None:
            wanted = Wanted(
                proposal.branch,
                promotion.spec.target.branch,
                title,
                body,
                spec.labels,
                spec.reviewers,
                spec.assignees,
            )
            return await pulls.create(wanted)
        await pulls.update(found, title, body)
        return found, []

    async def _conflict(
        self, pulls: PullRequests, state: PromotionState, proposal: Proposal, found: PullRequest | None
    ) -> Step:
        why = f"what was pushed to {proposal.branch} conflicts with the image: {'; '.join(proposal.edits[:3])}"
        if found is not None:
            await pulls.comment(found, words.CONFLICT, words.conflict(proposal.edits))
            state = msgspec.structs.replace(state, pull=found.number, url=found.url, branch=proposal.branch)
        return Step(msgspec.structs.replace(state, phase="Conflict", why=why[:500], at=time.time()), LOOK_SECONDS)

    async def _superseded(self, view: PromotionView, pulls: PullRequests, reason: str, *, keep: int) -> None:
        """Close what else is open of this promotion, and say why."""
        for pull in await pulls.open():
            if pull.number != keep and not pull.fork and words.proposed(view.promotion.name, pull.body):
                await pulls.comment(pull, words.REASON, reason)
                await pulls.close(pull)
                log.info("promotion.superseded", promotion=view.promotion.name, pull=pull.number)

    async def _looked(
        self, view: PromotionView, pulls: PullRequests, state: PromotionState, *, proposed: bool = False
    ) -> Step:
        """What the forge says of the pull request now; merges it where the document asks for that. ``proposed``: just now."""
        pull = await pulls.get(state.pull)
        if not _is_ours(view, state, pull):
            why = f"pull request {pull.number} is none of this promotion: it is looked for again"
            return Step(msgspec.structs.replace(state, phase="Waiting", pull=0, url="", why=why), GATE_SECONDS)
        spec = view.promotion.spec.pull_request
        pushed = spec.auto_merge and pull.commit != state.head
        if pull.state == "open" and (pull.conflicts or pushed) and not proposed and state.image is not None:
            return await self._proposed(view, pulls, state, state.image)  # somebody pushed to it, or to its base
        if pull.state == "open" and spec.auto_merge:
            pull, state = await merged_by_itself(self._context, view, pulls, pull, state)
        if pull.state == "open":
            return Step(state, GATE_SECONDS if spec.auto_merge else LOOK_SECONDS)
        return Step(_of(state, pull), AT_ONCE if pull.state == "merged" else None)

    async def _followed(self, view: PromotionView, pulls: PullRequests | None, state: PromotionState) -> Step:
        """Tell the merged pull request what became of it, until it is healthy everywhere."""
        if pulls is None or state.phase != "Merged" or state.settled:
            return Step(state)
        state = await self._told(view, pulls, state)
        return Step(state, None if state.settled else LOOK_SECONDS)

    async def _told(
        self, view: PromotionView, pulls: PullRequests, state: PromotionState, last: str = ""
    ) -> PromotionState:
        """One comment says what became of the merge; the forge is called only if that is something else than before."""
        assert state.image is not None
        found = await standings(self._context, view, state)
        settled = all(one.stage == "healthy" for one in found) or time.time() - state.at > FOLLOWED_SECONDS
        text = words.outcome(view.promotion, state.image, state.merge, found, last)
        told = hashlib.sha256(text.encode()).hexdigest()[:16]
        if found and told != state.told:
            await pulls.comment(await pulls.get(state.pull), words.OUTCOME, text)
            log.info("promotion.told", promotion=view.promotion.name, pull=state.pull, stages=[s.stage for s in found])
        return msgspec.structs.replace(state, told=told, settled=settled)


def _newest(view: PromotionView, state: PromotionState, run: Run, seal: Seal) -> Image | None:
    """The newest image of what was noted and what is known; None if there is none."""
    policy, best = Policy(view.promotion.spec.policy), state.image
    for image in images(run.hints, view.promotion.name, seal):
        if policy.newer(image.candidate, best.candidate if best else None):
            best = image
    return best


def _occurrence(view: PromotionView, state: PromotionState) -> Occurrence:
    """The promotion's new phase, for who wants to be told."""
    return Occurrence(
        "promotion",
        time.time(),
        promotion=view.promotion.name,
        phase=state.phase,
        image=words.reference(view.promotion, state.image) if state.image else view.promotion.spec.image,
        repository=view.repository.name,
        url=state.url,
        why=state.why,
    )


def _proposes(promotion: str, pull: PullRequest, image: Image) -> bool:
    found = words.proposed(promotion, pull.body)
    return found is not None and found.identity == image.identity


def _is_ours(view: PromotionView, state: PromotionState, pull: PullRequest) -> bool:
    """Is it from our branch of this very repository, as it has to be to be merged? Its number comes from Redis."""
    promotion = view.promotion
    branches = words.branch(promotion, state.image or Image("any")), promotion.spec.target.branch
    return not pull.fork and (pull.head, pull.base) == branches


def _of(state: PromotionState, pull: PullRequest) -> PromotionState:
    """The state, with what the pull request says."""
    phases: dict[str, Phase] = {"merged": "Merged", "closed": "Declined", "open": "Proposed"}
    phase = phases[pull.state]
    return PromotionState(
        phase, state.image, pull.number, pull.url, pull.head, state.before, pull.merge, time.time(), files=state.files
    )


async def _nothing_more(run: Run, message: str) -> None:
    """The state that the queue keeps of a promotion says it; there is no commit to say it on."""
