"""`sync.automatic: false`: a commit only says what it would do; `windlass sync` does it. Pure.

What must hold: a person's word is for one commit, the tip when the run that they asked for begins. It holds for that commit's
waits and retries, and not for a newer one, however the run ended.
"""

from __future__ import annotations

from windlass.documents.types import Application
from windlass.state import ApplicationState
from workers.plan import Plan
from workers.rollout import hooks_digest

OUT_OF_SYNC = "OutOfSync"
"""The phase of an application that waits for a person's word."""


def withheld(application: Application, state: ApplicationState, commit: str, plan: Plan) -> str:
    """What a run would do that nobody has asked for, for people; "" if it may do all there is to do."""
    if application.spec.sync.automatic or _granted(state, commit):
        return ""
    parts = [f"{len(plan.writes)} objects to write" if plan.writes else ""]
    parts += [f"{len(plan.leaving)} to delete" if plan.leaving else ""]
    parts += ["other hooks to run" if hooks_digest(plan.hooks) != state.hooked else ""]
    found = ", ".join(filter(None, parts))
    return f"{found}: `windlass sync {application.name}` does it" if found else ""


def grant(application: Application, state: ApplicationState, commit: str, *, complete: bool) -> dict[str, str]:
    """What to record of a word that was given: which one it was (``whole`` counts them), and for which commit."""
    if application.spec.sync.automatic or not _granted(state, commit):
        return {}
    return {"granted": "" if complete else f"{state.whole} {commit}"}


def _granted(state: ApplicationState, commit: str) -> bool:
    asked, _, given = state.granted.partition(" ")
    return bool(state.whole) and (asked != state.whole or given == commit)
