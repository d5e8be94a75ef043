"""What a document must keep to beyond its types, and the fields that are the design's but not built yet. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from windlass.documents.types import Application, Cluster, Credentials, Document, Repository, SecretRef, Source

Path = tuple[str | int, ...]

NOT_BUILT: dict[str, tuple[tuple[str, ...], ...]] = {
    "Repository": (("signedCommits",), ("verify",), ("limits",)),
    "Cluster": (("exec",), ("requestLimits",)),
    "Application": (
        ("destination", "serviceAccount"),
        ("sync", "automatic"),
        ("sync", "pruneLimit"),
        ("sync", "selfHeal"),
        ("sync", "dependsOn"),
        ("sync", "ignore"),
        ("sync", "timeout"),
        ("dependsOn",),
        ("ignore",),
        ("health",),
        ("rollback",),
    ),
}
NOT_BUILT_IN_SOURCE = ("helm", "kustomize", "jsonnet", "chart")

_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^:\s][^\s]*\Z")
_URL = re.compile(r"(https?|ssh)://(?:[A-Za-z0-9._-]+@)?(?!-)[A-Za-z0-9.-]+(:\d{1,5})?/[^\s]+\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_REF_REFUSED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|\Z)|(\A|/)\.")


def not_built(kind: str, spec: Any) -> Path | None:
    """The path (below ``spec``) of the first field whose behaviour is not built yet."""
    if not isinstance(spec, dict):
        return None
    for path in NOT_BUILT[kind]:
        holder: Any = spec
        for step in path[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] in holder:
            return path
    return next(_not_built_below(kind, spec), None)


def _not_built_below(kind: str, spec: dict[str, Any]) -> Iterator[Path]:
    sources = spec.get("sources")
    if kind == "Application" and isinstance(sources, list):
        if len(sources) > 1:
            yield ("sources", 1)
        for index, source in enumerate(sources):
            for field in NOT_BUILT_IN_SOURCE:
                if isinstance(source, dict) and field in source:
                    yield ("sources", index, field)
    yield from _secret_references(spec, ())


def _secret_references(value: Any, path: Path) -> Iterator[Path]:
    """References to Secrets of a cluster: `{secret: {name, key}}`."""
    if isinstance(value, dict):
        if set(value) == {"secret"} and isinstance(value["secret"], dict):
            yield (*path, "secret")
        for key, item in value.items():
            yield from _secret_references(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _secret_references(item, (*path, index))


def violations(document: Document) -> Iterator[tuple[Path, str]]:
    """What is wrong with a document whose types are right: (path below ``spec``, message)."""
    if isinstance(document, Repository):
        yield from _repository(document)
    elif isinstance(document, Cluster):
        yield from _cluster(document)
    else:
        yield from _application(document)


def _repository(document: Repository) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if not valid_url(spec.url):
        yield (
            ("url",),
            "expected https://host/path, http://…, ssh://user@host/path or user@host:path, without a password",
        )
    if spec.webhook:
        if spec.webhook.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", spec.webhook.name):
            yield ("webhook", "name"), "expected at most 63 letters, digits, dots, underscores and hyphens"
        for index, ref in enumerate(spec.webhook.secrets):
            yield from _secret(ref, ("webhook", "secrets", index))
    if spec.credentials:
        yield from _credentials(spec.credentials, spec.url)
    if spec.status:
        if spec.status.token is None:
            yield ("status",), "the field token is missing"
        else:
            yield from _secret(spec.status.token, ("status", "token"))
        if spec.status.api is not None and not re.match(r"https?://[^\s]+\Z", spec.status.api):
            yield ("status", "api"), "expected an http(s) URL"


def _credentials(credentials: Credentials, url: str) -> Iterator[tuple[Path, str]]:
    ssh = url.startswith("ssh://") or "://" not in url
    ways = [credentials.token is not None, credentials.password is not None, credentials.ssh_key is not None]
    if sum(ways) != 1:
        yield ("credentials",), "expected exactly one of token, password (with username) and sshKey (with knownHosts)"
    elif ssh != (credentials.ssh_key is not None):
        yield ("credentials",), "expected sshKey with an SSH URL, and token or password with an HTTP one"
    elif credentials.password is not None and not credentials.username:
        yield ("credentials",), "the field username is missing"
    elif credentials.ssh_key is not None and credentials.known_hosts is None:
        yield ("credentials",), "the field knownHosts is missing: Windlass does not trust a host key on first sight"
    for field in ("token", "password", "ssh_key", "known_hosts"):
        ref = getattr(credentials, field)
        if ref is not None:
            yield from _secret(ref, ("credentials", field))


def _secret(ref: SecretRef, path: Path) -> Iterator[tuple[Path, str]]:
    if (ref.env is None) == (ref.file is None):
        yield path, "expected exactly one of env and file"


def _cluster(document: Cluster) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if sum((spec.in_cluster, spec.kubeconfig is not None, spec.server is not None)) != 1:
        yield (), "expected exactly one of inCluster, kubeconfig and server"
    if spec.context is not None and spec.kubeconfig is None:
        yield ("context",), "a context is chosen from a kubeconfig"
    if (spec.server is None) != (spec.token is None):
        yield (), "server and token go together"
    if spec.token is not None:
        yield from _secret(spec.token, ("token",))
    if not 1 <= spec.max_concurrent_requests <= 1000:
        yield ("maxConcurrentRequests",), "expected 1 to 1000"


def _application(document: Application) -> Iterator[tuple[Path, str]]:
    if not document.spec.sources:
        yield ("sources",), "expected one source"
    for index, source in enumerate(document.spec.sources):
        for path, message in _source(source):
            yield ("sources", index, *path), message
    if document.spec.adopts == document.name:
        yield ("adopts",), "an application can't adopt itself"


def _source(source: Source) -> Iterator[tuple[Path, str]]:
    if sum(field is not None for field in (source.branch, source.tag, source.commit)) != 1:
        yield (), "expected exactly one of branch, tag and commit"
    for field in ("branch", "tag"):
        ref = getattr(source, field)
        if ref is not None and not valid_ref(ref):
            yield (field,), "not a valid name of a Git ref (git check-ref-format)"
    if source.commit is not None and not _COMMIT.match(source.commit):
        yield ("commit",), "expected 40 lower-case hexadecimal digits"
    path = source.path
    if path and (path.startswith("/") or path.endswith("/") or any(p in ("", ".", "..") for p in path.split("/"))):
        yield ("path",), "expected a folder of the repository, without a leading or trailing /, . or .."
    elif any(ord(character) < 32 for character in path) or "\\" in path or ".git" in path.lower().split("/"):
        yield ("path",), "expected a folder of the repository"


def valid_url(url: str) -> bool:
    """https, http, ssh, or user@host:path; nothing that Git would take for an option, a helper or a local file."""
    if any(ord(character) < 33 for character in url) or ".." in url.split("/"):
        return False
    return bool(_URL.match(url)) or ("://" not in url and "::" not in url and bool(_SCP.match(url)))


def valid_ref(name: str) -> bool:
    """May ``name`` follow ``refs/heads/``? The rules of git-check-ref-format(1)."""
    return (
        bool(name)
        and not _REF_REFUSED.search(name)
        and not name.startswith(("-", "/"))
        and not name.endswith(("/", "."))
    )
