"""What an object's annotations ask of a run: when it is written, whether it is a hook, and what may be deleted. Pure.

Argo CD's and Helm's words are understood, so that repositories and charts move over unchanged; `windlass.dev/prune` and
`windlass.dev/replace` go before them. `windlass.dev/run: each-revision` makes a Job (or whatever else runs) a hook of the
Sync phase: created anew for each revision, in its wave, and waited for. What must hold: a word that protects something is
never lost to a misspelling, a word that both of them ignore stays a warning, and 10,000 objects without such annotations
cost one shared value.

Sources: Argo CD's user guide ("Sync Phases and Waves", "Sync Options", "Helm: Helm Hooks") and `gitops-engine/pkg/sync`
(`hook`, `hook/helm`, `syncwaves`); Helm's "Chart Hooks".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeVar

from workers.kube.keys import PRECIOUS

T = TypeVar("T")

ARGO = "argocd.argoproj.io/"
HOOK, WAVE = ARGO + "hook", ARGO + "sync-wave"
DELETE_POLICY, OPTIONS = ARGO + "hook-delete-policy", ARGO + "sync-options"
HELM_HOOK, HELM_WEIGHT = "helm.sh/hook", "helm.sh/hook-weight"
HELM_DELETE_POLICY, HELM_RESOURCE_POLICY = "helm.sh/hook-delete-policy", "helm.sh/resource-policy"
OWN_PRUNE, OWN_REPLACE, OWN_RUN = "windlass.dev/prune", "windlass.dev/replace", "windlass.dev/run"
READ = (
    *(HOOK, WAVE, DELETE_POLICY, OPTIONS),
    *(HELM_HOOK, HELM_WEIGHT, HELM_DELETE_POLICY, HELM_RESOURCE_POLICY),
    *(OWN_PRUNE, OWN_REPLACE, OWN_RUN),
)
EACH_REVISION = "each-revision"
LONGEST_REMEMBERED = 300
"""Characters of annotations whose reading is shared between objects: a longer text is read anew each time."""

_KEYS = frozenset(READ)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z", re.ASCII)
_CRD = "CustomResourceDefinition.apiextensions.k8s.io"


class Phase(StrEnum):
    """When an object is written; by Argo CD's names. The first three follow each other in a run."""

    PRE_SYNC = "PreSync"
    SYNC = "Sync"
    POST_SYNC = "PostSync"
    SYNC_FAIL = "SyncFail"
    SKIP = "Skip"
    PRE_DELETE = "PreDelete"
    POST_DELETE = "PostDelete"


class DeletePolicy(StrEnum):
    """When a hook is deleted; by Argo CD's names. (`Never` is the empty set of these.)"""

    BEFORE_CREATION = "BeforeHookCreation"
    SUCCEEDED = "HookSucceeded"
    FAILED = "HookFailed"


class Say(Enum):
    """What an object says about its own deletion."""

    NOTHING = "nothing"
    YES = "yes"
    NO = "no"
    CONFIRM = "confirm"  # only after a person's approval


class Problem(NamedTuple):
    """An annotation that isn't understood. An error keeps the object from being written; a warning is told."""

    annotation: str
    message: str
    error: bool

    def __str__(self) -> str:
        return f"metadata.annotations[{self.annotation}]: {self.message}"


class Directives(NamedTuple):
    """What an object asks for; the defaults are those of an object that asks for nothing."""

    phases: tuple[Phase, ...] = (Phase.SYNC,)  # of a hook perhaps several, in the order of `Phase`
    wave: int = 0
    is_hook: bool = False
    delete_policies: frozenset[DeletePolicy] = frozenset()  # of hooks only
    prune: Say = Say.NOTHING  # when it leaves Git
    prune_last: bool = False  # only after everything that Git names is healthy
    delete: Say = Say.NOTHING  # with its application
    replace: bool | None = None  # `Replace=`: None leaves it to the application
    force: bool = False  # `Force=true`
    own_replace: bool | None = None  # `windlass.dev/replace`
    skip_dry_run: bool = False  # a preview needs no kind that the cluster doesn't know yet
    create_namespace: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(str(problem) for problem in self.problems if problem.error)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(str(problem) for problem in self.problems if not problem.error)

    @property
    def skipped(self) -> bool:
        """Neither written nor pruned: Git still names it."""
        return self.phases == (Phase.SKIP,)

    @property
    def kept_equal(self) -> bool:
        """Is it an ordinary object, that is kept equal to Git?"""
        return not self.is_hook and not self.skipped

    @property
    def anew(self) -> bool:
        """Deleted and created anew rather than updated (`Force=true,Replace=true`); see `workers.replacing`."""
        return self.force and self.replace is True


PLAIN = Directives()

_HELM_PHASES = {
    "pre-install": Phase.PRE_SYNC,
    "pre-upgrade": Phase.PRE_SYNC,
    "post-install": Phase.POST_SYNC,
    "post-upgrade": Phase.POST_SYNC,
    "pre-delete": Phase.PRE_DELETE,
    "post-delete": Phase.POST_DELETE,
}
_HELM_NEVER = frozenset({"test", "test-success", "test-failure", "pre-rollback", "post-rollback"})
"""Hooks of commands that a reconciler has none of: their objects are left out, as Argo CD does."""
_HELM_POLICIES = {
    "before-hook-creation": DeletePolicy.BEFORE_CREATION,
    "hook-succeeded": DeletePolicy.SUCCEEDED,
    "hook-failed": DeletePolicy.FAILED,
}
_NEVER = "Never"
_BOOLEANS = {"true": True, "false": False}
_SAYS = {"true": Say.YES, "false": Say.NO, "confirm": Say.CONFIRM}
_SWITCHES = frozenset({"PruneLast", "Replace", "Force", "SkipDryRunOnMissingResource", "CreateNamespace"})
_ALWAYS = {
    "ServerSideApply": "every object is applied server-side",
    "ApplyOutOfSyncOnly": "only what changed is written",
    "FailOnSharedResource": "what another application has is an error",
    "RespectIgnoreDifferences": "ignored fields are left alone",
    "ClientSideApplyMigration": "fields of kubectl's client-side apply are taken over",
}
"""Options that can't be turned off here, with what holds instead."""
_IDLE = frozenset({"Validate", "PrunePropagationPolicy", "ControllerReferencesOnly"})
"""Options of Argo CD's that have no meaning on an object here: the API server checks every apply by its schema."""


def directives(annotations: Mapping[str, str] | None, group_kind: str = "") -> Directives:
    """What ``annotations`` ask for, of an object of ``group_kind`` (`ObjectKey.group_kind`).

    Never raises: what isn't understood is among the ``problems``, and an object with ``errors`` is not to be written.
    """
    if not annotations or _KEYS.isdisjoint(annotations):
        return PLAIN
    values = tuple(annotations.get(key) for key in READ)
    kind = group_kind if group_kind in PRECIOUS else ""  # no other kind makes a difference
    if sum(len(value) for value in values if value) > LONGEST_REMEMBERED:
        return _understand(values, kind)
    return _remembered(values, kind)


@lru_cache(maxsize=1024)
def _remembered(values: tuple[str | None, ...], kind: str) -> Directives:
    return _understand(values, kind)


def _understand(values: tuple[str | None, ...], kind: str) -> Directives:
    said = {key: value for key, value in zip(READ, values, strict=True) if value is not None}
    problems: list[Problem] = []
    phases = _phases(said, kind, problems)
    is_hook = phases is not None and phases != (Phase.SKIP,)
    options = _options(said.get(OPTIONS, ""), problems)
    prune, delete = _says(said, options, problems)
    found = Directives(
        phases=phases or PLAIN.phases,
        wave=_wave(said, problems),
        is_hook=is_hook,
        delete_policies=_delete_policies(said, kind, problems) if is_hook else PLAIN.delete_policies,
        prune=prune,
        prune_last=options.get("PruneLast") == "true",
        delete=delete,
        replace=_BOOLEANS.get(options.get("Replace", "")),
        force=options.get("Force") == "true",
        own_replace=_own(said, OWN_REPLACE, _BOOLEANS, False, problems),
        skip_dry_run=options.get("SkipDryRunOnMissingResource") == "true",
        create_namespace=options.get("CreateNamespace") == "true",
        problems=tuple(problems),
    )
    return PLAIN if found == PLAIN else found


def _words(text: str) -> list[str]:
    """The entries of a comma-separated list, each once."""
    return list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else word[:57] + "...")


# -- when -----------------------------------------------------------------------------------------------------------


def _phases(said: Mapping[str, str], kind: str, problems: list[Problem]) -> tuple[Phase, ...] | None:
    """The phases of a hook; None: it isn't one. Any hook of Argo CD's makes Helm's count for nothing."""
    if _own(said, OWN_RUN, {EACH_REVISION: True}, False, problems) and HOOK not in said and HELM_HOOK not in said:
        return (Phase.SYNC,)
    if HOOK in said:
        return _argo_phases(said[HOOK], problems)
    if HELM_HOOK in said:
        return _helm_phases(said[HELM_HOOK], kind, problems)
    return None


def _argo_phases(text: str, problems: list[Problem]) -> tuple[Phase, ...]:
    """Argo CD leaves an object out whose hook it doesn't know: a misspelt migration never runs. Here that is an error."""
    words = _words(text)
    known = {Phase(word) for word in words if word in set(Phase)}
    unknown = [word for word in words if word not in set(Phase)]
    if unknown or not known:
        expected = f"expected {', '.join(Phase)}" + (f"; found {_shown(unknown[0])}" if unknown else "")
        problems.append(Problem(HOOK, expected, error=not known))
    if len(known) > 1 and Phase.SKIP in known:
        problems.append(Problem(HOOK, "Skip counts only alone", error=False))
        known.discard(Phase.SKIP)
    return _in_order(known) or (Phase.SKIP,)


def _helm_phases(text: str, kind: str, problems: list[Problem]) -> tuple[Phase, ...] | None:
    """Helm leaves out an object whose hook it doesn't know, and says so; charts that carry one move over all the same.

    A CustomResourceDefinition with Helm 2's `crd-install` is an object like others: definitions go first anyway.
    """
    words = _words(text)
    if "crd-install" in words and (kind == _CRD or len(words) == 1):
        return None
    known = {_HELM_PHASES[word] for word in words if word in _HELM_PHASES}
    unknown = [word for word in words if word not in _HELM_PHASES and word not in _HELM_NEVER]
    problems += [Problem(HELM_HOOK, f"Helm has no hook {_shown(word)}: left out", error=False) for word in unknown]
    return _in_order(known) or (Phase.SKIP,)


def _in_order(phases: set[Phase]) -> tuple[Phase, ...]:
    return tuple(phase for phase in Phase if phase in phases)


def _wave(said: Mapping[str, str], problems: list[Problem]) -> int:
    """An integer as Go's `strconv.Atoi` reads it. Helm takes a weight that is none for 0, so that is a warning only."""
    if WAVE in said:
        if _INTEGER.match(said[WAVE]):
            return int(said[WAVE])
        problems.append(Problem(WAVE, 'expected an integer, such as "-1" or "5"', error=True))
    elif HELM_WEIGHT in said:
        if _INTEGER.match(said[HELM_WEIGHT]):
            return int(said[HELM_WEIGHT])
        problems.append(Problem(HELM_WEIGHT, "expected an integer: taken for 0, as Helm does", error=False))
    return 0


# -- what may be deleted --------------------------------------------------------------------------------------------


def _delete_policies(said: Mapping[str, str], kind: str, problems: list[Problem]) -> frozenset[DeletePolicy]:
    """Both tools' words together; by default the last hook is deleted before it is created anew.

    That default doesn't reach a claim or a namespace: nothing precious goes that nobody asked to delete.
    """
    found = {policy for word in _words(said.get(HELM_DELETE_POLICY, "")) if (policy := _HELM_POLICIES.get(word))}
    for word in _words(said.get(HELM_DELETE_POLICY, "")):
        if word not in _HELM_POLICIES:
            message = f"expected {', '.join(_HELM_POLICIES)}; found {_shown(word)}"
            problems.append(Problem(HELM_DELETE_POLICY, message, error=False))
    words = _words(said.get(DELETE_POLICY, ""))
    for word in words:
        if word in set(DeletePolicy):
            found.add(DeletePolicy(word))
        elif word != _NEVER:
            message = f"expected {', '.join(DeletePolicy)} or {_NEVER}; found {_shown(word)}"
            problems.append(Problem(DELETE_POLICY, message, error=False))
    if _NEVER in words:
        if found:
            problems.append(Problem(DELETE_POLICY, f"{_NEVER} goes before the others", error=False))
        return frozenset()
    default = frozenset() if kind else frozenset({DeletePolicy.BEFORE_CREATION})
    return frozenset(found) or default


def _options(text: str, problems: list[Problem]) -> dict[str, str]:
    """The sync options by name; of one that is there twice the first counts, as Argo CD has it."""
    options: dict[str, str] = {}
    for word in _words(text):
        name, _, value = (part.strip() for part in word.partition("="))
        if options.setdefault(name, value) != value:
            problems.append(Problem(OPTIONS, f"{_shown(name)} is there twice: the first counts", error=False))
    problems += [Problem(OPTIONS, message, error=False) for item in options.items() for message in _misfits(*item)]
    return options


def _misfits(name: str, value: str) -> Iterator[str]:
    if name in ("Prune", "Delete"):
        if value not in _SAYS:
            yield f"{name}: expected true, false or confirm; kept, to be safe"
    elif name in _SWITCHES or name in _ALWAYS:
        if value not in ("true", "false"):
            yield f"{name}: expected true or false"
        elif value == "false" and name in _ALWAYS:
            yield f"{name}=false has no effect: {_ALWAYS[name]}"
    elif name in _IDLE:
        yield f"{name} has no effect on an object"
    else:
        yield f"there is no option {_shown(name)}"


def _says(said: Mapping[str, str], options: Mapping[str, str], problems: list[Problem]) -> tuple[Say, Say]:
    """What it says about being pruned, and about being deleted with its application.

    Helm's `resource-policy: keep` holds for upgrades as for uninstalls, so here it keeps an object from both.
    """
    keep = Say.NOTHING
    if (policy := said.get(HELM_RESOURCE_POLICY)) is not None:
        if policy.strip().lower() == "keep":
            keep = Say.NO
        else:
            problems.append(Problem(HELM_RESOURCE_POLICY, "expected keep", error=False))
    prune, delete = (
        _SAYS.get(options[name], Say.NO) if name in options else Say.NOTHING for name in ("Prune", "Delete")
    )
    own = _own(said, OWN_PRUNE, _SAYS, Say.NO, problems)
    return own or (prune if prune is not Say.NOTHING else keep), delete if delete is not Say.NOTHING else keep


def _own(said: Mapping[str, str], key: str, words: Mapping[str, T], safe: T, problems: list[Problem]) -> T | None:
    """Windlass's own annotation: nothing that it says may be misread, so what isn't known is an error."""
    value = said.get(key)
    if value is not None and value not in words:
        problems.append(Problem(key, f"expected {' or '.join(words)} (quoted)", error=True))
    return words.get(value, safe) if value is not None else None
