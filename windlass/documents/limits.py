"""What applications may touch that follow a repository: which clusters, namespaces and kinds. Pure.

What must hold: a field that is left out allows everything of its sort, an empty list nothing; objects of the whole
cluster (ClusterRoles, Namespaces) need to be allowed by name of the field, for who may write those has no other limits.
Patterns are the shell's (``*``, ``?``, ``[ab]``), match the whole text, and tell upper from lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from windlass.documents.types import Destination, Limits, Repository
from windlass.yamls import Path

LONGEST_PATTERN = 253
MOST_PATTERNS = 1000

_NAMES = re.compile(r"[a-z0-9*?\[\]!.-]+\Z")
_KINDS = re.compile(r"[A-Z*?\[][A-Za-z0-9*?\[\]!-]*(\.[a-z0-9*?\[\]!.-]+)?\Z")


def refuse_destination(limits: Limits, destination: Destination) -> Iterator[tuple[Path, str]]:
    """What of an application's destination is outside: (path below ``spec``, message)."""
    if not _matches(destination.cluster, limits.clusters):
        yield ("destination", "cluster"), f"outside of its Repository's limits: {_expected(limits.clusters)}"
    if destination.namespace is not None and not _matches(destination.namespace, limits.namespaces):
        yield ("destination", "namespace"), f"outside of its Repository's limits: {_expected(limits.namespaces)}"


def refuse_follower(repository: Repository, namespace: str) -> str:
    """Why an Application that is a resource of ``namespace`` may not follow a Repository of the installation; "" if it may.

    It would get to read, as objects of its own, what the Repository's credentials open: so the Repository offers itself.
    """
    limits = repository.spec.limits
    if limits is None or limits.namespaces is None:
        return (
            f"Repository {repository.name} is not offered to {namespace}: its limits.namespaces would have to name it"
        )
    return ""


def refuse_object(limits: Limits, group_kind: str, namespace: str, name: str) -> str:
    """Why an object is outside; "" if it is not.

    :param group_kind: ``Deployment.apps``, or ``ConfigMap`` in the core group.
    :param namespace: "" for an object of the whole cluster. A Namespace is in the limits by its own name.
    """
    kind = group_kind.partition(".")[0]
    if not _matches(group_kind, limits.kinds.allow):
        return f"the Repository's limits do not allow {group_kind}: {_expected(limits.kinds.allow)}"
    if _matches(group_kind, limits.kinds.deny) or _matches(kind, limits.kinds.deny):
        return f"the Repository's limits deny {group_kind}"
    if not namespace and not limits.cluster_scoped:
        return (
            f"the Repository's limits allow no objects of the whole cluster, as {group_kind} is (clusterScoped: false)"
        )
    place = name if group_kind == "Namespace" else namespace
    if place and not _matches(place, limits.namespaces):
        return f"the Repository's limits do not allow the namespace {place}: {_expected(limits.namespaces)}"
    return ""


def violations(limits: Limits) -> Iterator[tuple[Path, str]]:
    """Patterns that can match nothing, and so would limit other things than they seem to."""
    for field, patterns in (("clusters", limits.clusters), ("namespaces", limits.namespaces)):
        yield from _wrong((field,), patterns or (), _NAMES, "a pattern of names, like shop-*")
    for field, patterns in (("allow", limits.kinds.allow), ("deny", limits.kinds.deny)):
        expected = "a pattern of Kind (core group) or Kind.group, like Deployment.apps"
        yield from _wrong(("kinds", field), patterns, _KINDS, expected)


def _wrong(path: Path, patterns: tuple[str, ...], valid: re.Pattern[str], expected: str) -> Iterator[tuple[Path, str]]:
    if len(patterns) > MOST_PATTERNS:
        yield path, f"expected at most {MOST_PATTERNS} patterns"
    for index, pattern in enumerate(patterns):
        if len(pattern) > LONGEST_PATTERN or not valid.match(pattern):
            yield (*path, index), f"expected {expected}"


def _matches(text: str, patterns: Iterable[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(text, pattern) for pattern in patterns)


def _expected(patterns: Iterable[str] | None) -> str:
    some = list(patterns or ())
    return f"expected {', '.join(some[:5])}{', …' if len(some) > 5 else ''}" if some else "none is allowed"
