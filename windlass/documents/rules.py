"""What a document must keep to beyond its types, and the fields that are the design's but not built yet. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from windlass.documents import (
    accounts,
    forge_api,
    health,
    ignoring,
    limits,
    notification,
    ordering,
    pipeline,
    promotion,
    registry,
    rendering,
    signing,
    syntax,
    walk,
)
from windlass.documents.notification import Notification
from windlass.documents.pipeline import Pipeline
from windlass.documents.promotion import Promotion
from windlass.documents.registry import Registry
from windlass.documents.types import (
    Application,
    Cluster,
    ClusterSpec,
    Credentials,
    Destination,
    Document,
    Repository,
    SecretRef,
    Source,
    StatusApi,
    Sync,
    Webhook,
)
from windlass.semver import Range, RangeError
from windlass.yamls import Path

REFUSED = "not built yet: Windlass would ignore it, so it refuses it"
IN_RESOURCES_ONLY = "a custom resource has a namespace whose Secrets it names, a file has none: expected env or file"
NOT_BUILT: dict[str, tuple[tuple[str, ...], ...]] = {
    "Repository": (("verify",),),
    "Cluster": (("exec",), ("requestLimits",)),
    "Application": (
        ("dependsOn",),
        ("ignore",),
        ("rollback",),  # it is below sync
    ),
    "Promotion": (),
    "Registry": (),
    "Notification": (),
    "Pipeline": (),
}
LABEL_EXPECTED = "expected at most 63 lower-case letters, digits and hyphens (RFC 1123 label)"
NOT_BUILT_IN_SOURCE = ("chart",)


def not_built(kind: str, spec: Any) -> Iterator[Path]:
    """The paths (below ``spec``) of the fields whose behaviour is not built yet."""
    if not isinstance(spec, dict):
        return
    for path in NOT_BUILT[kind]:
        holder: Any = spec
        for step in path[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] in holder:
            yield path
    sources = spec.get("sources")
    if kind == "Application" and isinstance(sources, list):
        for index, source in enumerate(sources):
            for field in NOT_BUILT_IN_SOURCE:
                if isinstance(source, dict) and field in source:
                    yield ("sources", index, field)


def secrets_of_clusters(document: Document) -> Iterator[Path]:
    """The paths (below ``spec``) of references to Secrets: `{secret: {name, key}}`."""
    for path, part in walk.parts(document.spec):
        if isinstance(part, SecretRef | signing.KeyReference) and part.secret is not None:
            yield (*path, "secret")


def violations(document: Document) -> Iterator[tuple[Path, str]]:
    """What is wrong with a document whose types are right: (path below ``spec``, message)."""
    if isinstance(document, Repository):
        yield from _repository(document)
        if document.spec.limits is not None:
            yield from ((("limits", *path), message) for path, message in limits.violations(document.spec.limits))
    elif isinstance(document, Cluster):
        yield from _cluster(document)
    elif isinstance(document, Promotion):
        yield from _promotion(document)
    elif isinstance(document, Registry):
        yield from _registry(document)
    elif isinstance(document, Pipeline):
        yield from _pipeline(document)
    elif isinstance(document, Notification):
        yield from notification.violations(document.spec)
        for path, ref in notification.references(document.spec):
            yield from _secret(ref, path)
    else:
        yield from _application(document)


def _registry(document: Registry) -> Iterator[tuple[Path, str]]:
    yield from registry.violations(document.spec)
    for index, ref in enumerate(document.spec.secrets):
        yield from _secret(ref, ("secrets", index))
    if document.spec.credentials is not None:
        yield from _secret(document.spec.credentials.password, ("credentials", "password"))


def _promotion(document: Promotion) -> Iterator[tuple[Path, str]]:
    yield from promotion.violations(document)
    if document.spec.commit.signing is not None:
        yield from _secret(document.spec.commit.signing.key, ("commit", "signing", "key"))


def _pipeline(document: Pipeline) -> Iterator[tuple[Path, str]]:
    yield from pipeline.violations(document.spec)
    if document.spec.credentials is not None:
        yield from _secret(document.spec.credentials, ("credentials",))


def _repository(document: Repository) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if not syntax.valid_url(spec.url):
        message = "expected https://host/path, http://…, ssh://user@host/path or user@host:path, without a password"
        yield ("url",), message
    if spec.webhook:
        yield from _webhook(spec.webhook)
    if spec.credentials:
        yield from _credentials(spec.credentials, spec.url)
    if spec.status:
        yield from _status(spec.status)
    if spec.pull_requests:
        yield from _pull_requests(spec.pull_requests, spec.forge)
    if spec.signed_commits:
        for path, message in signing.violations(spec.signed_commits):
            yield ("signedCommits", *path), message


def _webhook(webhook: Webhook) -> Iterator[tuple[Path, str]]:
    if webhook.name is not None and not syntax.valid_endpoint(webhook.name):
        yield ("webhook", "name"), "expected at most 63 letters, digits, dots, underscores and hyphens"
    for index, ref in enumerate(webhook.secrets):
        yield from _secret(ref, ("webhook", "secrets", index))


def _pull_requests(spec: forge_api.PullRequestApi, forge: str) -> Iterator[tuple[Path, str]]:
    for path, message in forge_api.violations(spec, forge):
        yield ("pullRequests", *path), message
    if spec.token is not None:
        yield from _secret(spec.token, ("pullRequests", "token"))
    if spec.app is not None:
        yield from _secret(spec.app.private_key, ("pullRequests", "app", "privateKey"))


def _status(status: StatusApi) -> Iterator[tuple[Path, str]]:
    if status.token is None:
        yield ("status",), "the field token is missing"
    else:
        yield from _secret(status.token, ("status", "token"))
    if status.api is not None and not syntax.valid_http(status.api):
        yield ("status", "api"), "expected an http(s) URL, without user name and query"


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
    if credentials.known_hosts is not None and credentials.ssh_key is None:
        yield ("credentials", "knownHosts"), "goes with sshKey only"
    if credentials.username is not None and (":" in credentials.username or not credentials.username.isprintable()):
        yield ("credentials", "username"), "expected a user name without colons and control characters"
    references = {
        "token": credentials.token,
        "password": credentials.password,
        "sshKey": credentials.ssh_key,
        "knownHosts": credentials.known_hosts,
    }
    for field, ref in references.items():
        if ref is not None:
            yield from _secret(ref, ("credentials", field))


def _secret(ref: SecretRef, path: Path) -> Iterator[tuple[Path, str]]:
    if sum(way is not None for way in (ref.env, ref.file, ref.secret)) != 1:
        yield path, "expected exactly one of env and file"
    elif ref.env is not None and not syntax.valid_variable(ref.env):
        yield (*path, "env"), "expected the name of an environment variable"
    elif ref.file is not None and not syntax.valid_file(ref.file):
        yield (*path, "file"), "expected the path of a file"
    elif ref.secret is not None and not syntax.valid_secret_key(ref.secret.name, ref.secret.key):
        yield (*path, "secret"), "expected the name of a Secret, and of one of its keys"


def _cluster(document: Cluster) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if sum((spec.in_cluster, spec.kubeconfig is not None, spec.server is not None)) != 1:
        yield (), "expected exactly one of inCluster, kubeconfig and server"
    if spec.context is not None and spec.kubeconfig is None:
        yield ("context",), "a context is chosen from a kubeconfig"
    for field, file in (("kubeconfig", spec.kubeconfig), ("caFile", spec.ca_file)):
        if file is not None and not syntax.valid_file(file):
            yield (field,), "expected the path of a file"
    yield from _server(spec)
    if not syntax.valid_label(spec.namespace):
        yield ("namespace",), LABEL_EXPECTED
    if not 1 <= spec.max_concurrent_requests <= 1000:
        yield ("maxConcurrentRequests",), "expected 1 to 1000"


def _server(spec: ClusterSpec) -> Iterator[tuple[Path, str]]:
    if (spec.server is None) != (spec.token is None):
        yield (), "server and token go together"
    if spec.server is not None and not syntax.valid_http(spec.server):
        yield ("server",), "expected an http(s) URL, without user name and query"
    if spec.token is not None:
        yield from _secret(spec.token, ("token",))
    if spec.ca_file is not None and spec.server is None:
        yield ("caFile",), "goes with server only"


def _application(document: Application) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if not spec.sources:
        yield ("sources",), "expected at least one source"
    for index, source in enumerate(spec.sources):
        for path, message in _source(source):
            yield ("sources", index, *path), message
    if spec.destination.namespace is not None and not syntax.valid_label(spec.destination.namespace):
        yield ("destination", "namespace"), LABEL_EXPECTED
    if spec.destination.service_account is not None:
        yield from _account(spec.destination)
    for path, message in _sync(document.name, spec.sync):
        yield ("sync", *path), message
    if spec.adopts == document.name:
        yield ("adopts",), "an application can't adopt itself"
    elif spec.adopts is not None and not syntax.valid_label(spec.adopts):
        yield ("adopts",), LABEL_EXPECTED
    for path, message in health.violations(spec.health):
        yield ("health", *path), message


def _sync(name: str, sync: Sync) -> Iterator[tuple[Path, str]]:
    yield from ordering.violations(name, sync.depends_on, sync.prune_limit, sync.timeout)
    for path, message in ignoring.violations(sync.ignore):
        yield ("ignore", *path), message


def _account(destination: Destination) -> Iterator[tuple[Path, str]]:
    """An empty or half a name would be nobody, or somebody else."""
    assert destination.service_account is not None
    text = accounts.text_of(destination.service_account)
    if not accounts.valid_account(text):
        yield ("destination", "serviceAccount"), accounts.EXPECTED
    elif accounts.parse_account(text, destination.namespace) is None:
        yield ("destination", "serviceAccount"), accounts.NO_NAMESPACE


def _source(source: Source) -> Iterator[tuple[Path, str]]:
    if sum(field is not None for field in (source.branch, source.tag, source.commit, source.semver)) != 1:
        yield (), "expected exactly one of branch, tag, commit and semver"
    for field, ref in (("branch", source.branch), ("tag", source.tag)):
        if ref is not None and not syntax.valid_ref(ref):
            yield (field,), "not a valid name of a Git ref (git check-ref-format)"
    if source.commit is not None and not syntax.valid_commit(source.commit):
        yield ("commit",), "expected 40 lower-case hexadecimal digits"
    if source.semver is not None:
        try:
            Range(source.semver)
        except RangeError as error:
            yield ("semver",), str(error)
    if not syntax.valid_folder(source.path):
        yield ("path",), "expected a folder of the repository, without a leading or trailing /, . or .."
    yield from _renderers(source)


def _renderers(source: Source) -> Iterator[tuple[Path, str]]:
    if sum(options is not None for options in (source.helm, source.kustomize, source.jsonnet)) > 1:
        yield (), "expected at most one of helm, kustomize and jsonnet"
    problems = {
        "helm": rendering.helm_problems(source.helm) if source.helm else (),
        "kustomize": rendering.kustomize_problems(source.kustomize) if source.kustomize else (),
        "jsonnet": rendering.jsonnet_problems(source.jsonnet) if source.jsonnet else (),
        "sops": rendering.sops_problems(source.sops) if source.sops else (),
    }
    for field, found in problems.items():
        for path, message in found:
            yield (field, *path), message
    for kind, refs in (("age", source.sops.age), ("pgp", source.sops.pgp)) if source.sops else ():
        for index, ref in enumerate(refs):
            yield from _secret(ref, ("sops", kind, index))
