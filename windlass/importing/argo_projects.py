"""Argo CD's AppProjects, as the limits of the repositories that their applications follow.

What must hold: a limit that can't be said exactly becomes narrower, or is said to be lost: never wider in silence. Source:
Argo CD's user guide, "Projects", and the declarative set-up's AppProject.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from windlass.documents.types import KindLimits, Limits
from windlass.importing.given import Fields, Given, Report
from windlass.importing.target import Documents

_EVERY = "*"


class Account(NamedTuple):
    """The ServiceAccount of applications in some cluster and namespace; both may be patterns."""

    server: str
    namespace: str
    account: str


class Project(NamedTuple):
    """A project's limits, the repositories it may follow, and its accounts."""

    name: str
    limits: Limits | None
    repositories: tuple[str, ...]
    accounts: tuple[Account, ...]

    def account(self, server: str, namespace: str) -> str | None:
        """Who applies to ``namespace`` of the cluster at ``server``; None: the project doesn't say."""
        for one in self.accounts:
            if fnmatchcase(server, one.server) and fnmatchcase(namespace, one.namespace):
                return one.account
        return None

    def refuses(self, url: str) -> bool:
        """Is the repository none of the project's?"""
        allowed = [pattern for pattern in self.repositories if not pattern.startswith("!")]
        denied = [pattern[1:] for pattern in self.repositories if pattern.startswith("!")]
        hit = any(fnmatchcase(url, pattern) or _same(url, pattern) for pattern in allowed)
        return not hit or any(fnmatchcase(url, pattern) or _same(url, pattern) for pattern in denied)


def project(given: Given, report: Report, documents: Documents) -> Project:
    """What an AppProject limits; the default project of an installation allows everything, and limits nothing."""
    spec = Fields(report, given, given.body.get("spec"), ("spec",))
    spec.same("description", "sourceNamespaces")
    spec.note("roles", "who may do what is decided by the cluster and by the forge")
    spec.lost("syncWindows", "Windlass has no sync windows")
    spec.lost("signatureKeys", "only key ids stand here: put the public keys into the Repository's signedCommits")
    spec.lost("orphanedResources", "Windlass does not look for objects of nobody")
    spec.lost("permitOnlyProjectScopedClusters", "Windlass has no clusters of a project")
    clusters, namespaces = _destinations(spec, documents)
    kinds, cluster_scoped = _kinds(spec)
    limits = Limits(clusters, namespaces, kinds, cluster_scoped)
    accounts = tuple(
        Account(
            one.text("server") or _EVERY,
            one.text("namespace") or _EVERY,
            one.text("defaultServiceAccount") or "default",
        )
        for one in spec.items("destinationServiceAccounts")
    )
    repositories = spec.texts("sourceRepos")
    spec.rest()
    everything = Limits(cluster_scoped=True)
    return Project(given.name, None if limits == everything else limits, repositories, accounts)


def _destinations(spec: Fields, documents: Documents) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Clusters and namespaces, each with each."""
    pairs: set[tuple[str, str]] = set()
    for one in spec.items("destinations"):
        server, name = one.text("server") or "", one.text("name") or ""
        namespace = one.text("namespace") or _EVERY
        if any(text.startswith("!") for text in (server, name, namespace)):
            one.wrong(
                "what is denied: Windlass' limits name what is allowed, so this destination is to be taken out there"
            )
            continue
        anywhere = _EVERY in (server, name)
        pairs.add((_EVERY if anywhere else documents.cluster(name, server), namespace))
    clusters, namespaces = {cluster for cluster, _ in pairs}, {namespace for _, namespace in pairs}
    if len(pairs) < len(clusters) * len(namespaces) and (_EVERY, _EVERY) not in pairs:
        spec.wrong("becomes each of its clusters with each of its namespaces, which is more", "destinations")
    return _patterns(clusters), _patterns(namespaces)


def _patterns(found: set[str]) -> tuple[str, ...] | None:
    return None if _EVERY in found else tuple(sorted(found))


def _kinds(spec: Fields) -> tuple[KindLimits, bool]:
    """Kinds that are allowed and denied, and whether objects of the whole cluster are allowed at all."""
    whole, named = _group_kinds(spec, "clusterResourceWhitelist"), _group_kinds(spec, "namespaceResourceWhitelist")
    denied = _group_kinds(spec, "clusterResourceBlacklist") + _group_kinds(spec, "namespaceResourceBlacklist")
    deny = tuple(pattern for group, kind in denied for pattern in _denied(spec, group, kind))
    if (_EVERY, _EVERY) in whole and (not named or (_EVERY, _EVERY) in named):
        return KindLimits(deny=deny), True
    if not named or (_EVERY, _EVERY) in named:
        if whole:
            why = (
                "only some kinds of the whole cluster: without a namespaceResourceWhitelist beside it, none is allowed"
            )
            spec.wrong(why, "clusterResourceWhitelist")
        return KindLimits(deny=deny), False
    allowed = tuple(pattern for group, kind in (*whole, *named) for pattern in _allowed(spec, group, kind))
    return KindLimits(allow=allowed, deny=deny), bool(whole)


def _group_kinds(spec: Fields, field: str) -> list[tuple[str, str]]:
    found = []
    for one in spec.items(field):
        one.lost("name", "Windlass limits kinds, not single objects")
        found.append((one.text("group") or "", one.text("kind") or _EVERY))
    return found


def _allowed(spec: Fields, group: str, kind: str) -> list[str]:
    if not group and kind == _EVERY:
        spec.wrong("all kinds of the core group: name them, for a pattern of them is one of all groups, too")
        return []
    if group == _EVERY:
        return [_EVERY] if kind == _EVERY else [kind, f"{kind}.*"]
    return [f"{kind}.{group}" if group else kind]


def _denied(spec: Fields, group: str, kind: str) -> list[str]:
    if not group and kind == _EVERY:
        spec.wrong("all kinds of the core group can't be denied with one pattern: name them")
        return []
    if group == _EVERY:
        return [kind]
    return [f"{kind}.{group}" if group else kind]


def _same(url: str, pattern: str) -> bool:
    return url.removesuffix(".git") == pattern.removesuffix(".git")
