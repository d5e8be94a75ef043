"""Argo CD's `syncPolicy` and `ignoreDifferences`, in the words of `spec.sync`.

Sources: Argo CD's user guide, "Automated Sync Policy", "Sync Options", "Diff Customization".
"""

from __future__ import annotations

from typing import NamedTuple

from windlass.documents.ignoring import IgnoreRule
from windlass.importing import jq
from windlass.importing.given import Fields

_NOT_MADE = "Windlass does not make namespaces by itself: add a Namespace to the manifests"
_ANYWAY = frozenset(
    {
        "ServerSideApply=true",
        "ApplyOutOfSyncOnly=true",
        "PruneLast=true",
        "FailOnSharedResource=true",
        "RespectIgnoreDifferences=true",
        "SkipDryRunOnMissingResource=true",
        "ClientSideApplyMigration=true",
        "PrunePropagationPolicy=background",
        "Validate=true",
        "CreateNamespace=false",
        "Replace=false",
        "Force=false",
        "ServerSideApply=false",
        "ApplyOutOfSyncOnly=false",
        "PruneLast=false",
    }
)
"""What Windlass does in any case, or what says that something isn't asked for."""
_LOST = {
    "CreateNamespace=true": _NOT_MADE,
    "Validate=false": "the API server always validates what Windlass applies",
    "PrunePropagationPolicy=foreground": "Windlass deletes in the background",
    "PrunePropagationPolicy=orphan": "Windlass deletes in the background: dependents go too",
    "Delete=false": "for single objects only, as their annotation",
    "Prune=false": "use sync.prune; as an annotation of single objects it is understood",
    "RespectIgnoreDifferences=false": "ignored fields are left alone when Windlass applies, too",
}


class Synced(NamedTuple):
    """The fields of a Sync that the policy decides."""

    automatic: bool
    prune: bool
    self_heal: bool
    replace: bool
    ignore: tuple[IgnoreRule, ...]


def sync(policy: Fields, ignored: list[Fields]) -> Synced:
    """What an Application's `syncPolicy` and `ignoreDifferences` say. Without `automated` nothing is applied by itself."""
    automated = policy.below("automated")
    automatic = policy.has("automated")
    enabled = automated.flag("enabled")
    automated.lost("allowEmpty", "an empty render never deletes anything: `windlass delete` does")
    policy.note("retry", "Windlass retries what can be retried by itself, until a newer commit")
    namespace = policy.below("managedNamespaceMetadata")
    for field in ("labels", "annotations"):
        namespace.lost(field, _NOT_MADE)
    replace = _options(policy)
    prune = bool(automated.flag("prune"))
    if not automatic:
        policy.report.note(
            policy.given, policy.path, "no automated sync: `windlass sync` applies it, and prunes nothing"
        )
    return Synced(
        automatic=automatic and enabled is not False,
        prune=prune,
        self_heal=bool(automated.flag("selfHeal")),
        replace=replace,
        ignore=tuple(rule for rule in map(_rule, ignored) if rule is not None),
    )


def _options(policy: Fields) -> bool:
    """Does an option ask that objects be replaced?"""
    replace = False
    for index, option in enumerate(policy.texts("syncOptions")):
        if option in ("Replace=true", "Force=true"):
            replace = True
        elif option not in _ANYWAY:
            policy.wrong(_LOST.get(option, f"Windlass has no {option[:60]}"), "syncOptions", index)
    return replace


def _rule(difference: Fields) -> IgnoreRule | None:
    """A rule; Argo CD's group and kind may be patterns, and a group that is left out is the core group."""
    pointers = list(difference.texts("jsonPointers"))
    for index, expression in enumerate(difference.texts("jqPathExpressions")):
        pointer = jq.pointer(expression)
        if pointer is None:
            why = 'is no path: only fields, indexes, [] and select(.key == "value") can be said as a pointer'
            difference.wrong(why, "jqPathExpressions", index)
        else:
            pointers.append(pointer)
    managers = difference.texts("managedFieldsManagers")
    group = difference.text("group")
    rule = IgnoreRule(
        kind=difference.text("kind") or "*",
        group=None if group == "*" else group or "",
        name=difference.text("name"),
        namespace=difference.text("namespace"),
        json_pointers=tuple(pointers),
        managers=managers,
    )
    return rule if pointers or managers else None
