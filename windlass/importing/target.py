"""The Windlass documents that an import makes: one Repository for each address, one Cluster for each destination, Applications.

What must hold: names are labels, and each is there once; credentials are named by the files of a mounted Secret, never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from windlass.documents.base import SecretRef
from windlass.documents.types import (
    API_VERSION,
    Application,
    ApplicationSpec,
    Cluster,
    ClusterSpec,
    Credentials,
    Forge,
    Limits,
    Repository,
    RepositorySpec,
)
from windlass.forges.address import repository_address

IN_CLUSTER, IN_CLUSTER_SERVER = "in-cluster", "https://kubernetes.default.svc"
SECRETS = "/etc/windlass/secrets"
"""Where the Secrets that hold credentials are expected to be mounted, each in a folder of its name."""

_UNFIT = re.compile(r"[^a-z0-9-]+")
_FORGES: dict[str, Forge] = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
    "dev.azure.com": "azure",
    "ssh.dev.azure.com": "azure",
    "codeberg.org": "forgejo",
}


class Place(NamedTuple):
    """A source's repository (its document's name), and the ref that is followed, as the fields of a Source."""

    repository: str
    ref: dict[str, str]


class Documents:
    """What is made. ``kubeconfig``: how Windlass reaches clusters from outside of them; without it, the cluster that Argo CD
    or Flux is in is reached from inside."""

    def __init__(self, kubeconfig: str | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._names: set[tuple[type, str]] = set()
        self._repositories: dict[tuple[object, ...], Repository] = {}
        self.clusters: dict[str, Cluster] = {}
        self.applications: list[Application] = []

    # -- repositories -----------------------------------------------------------------------------------------------

    def repository(self, url: str, *, project: str = "", limits: Limits | None = None, secret: str = "") -> str:
        """The name of the Repository at ``url``. Where a project limits it, it is that project's own.

        :param secret: the name of the Secret with its credentials, mounted in a folder of that name.
        """
        address = repository_address(url) or url
        key = (address, project if limits is not None else "")
        if key not in self._repositories:
            path = address if isinstance(address, str) else address.path
            last, *before = reversed(path.removesuffix(".git").strip("/").split("/"))
            owner = f"{before[0]}-{last}" if before else last
            candidates = (f"{last}-{project}", f"{owner}-{project}") if limits is not None else (last, owner)
            name = self.name(Repository, *candidates)
            spec = RepositorySpec(url, forge_of(url), credentials_of(url, secret), limits=limits)
            self._repositories[key] = Repository(name, spec)
        return self._repositories[key].name

    # -- clusters ---------------------------------------------------------------------------------------------------

    def cluster(self, named: str, server: str = "", secret: str = "") -> str:
        """The name of the Cluster that a destination names, by its name or its server's address."""
        if server.rstrip("/") == IN_CLUSTER_SERVER or (not server and named in ("", IN_CLUSTER)):
            named, server = IN_CLUSTER, ""
        wanted = label(named or (urlsplit(server).hostname or server))
        if wanted not in self.clusters:
            self._names.add((Cluster, wanted))
            self.clusters[wanted] = Cluster(wanted, self._cluster(named, server, secret or wanted))
        return wanted

    def _cluster(self, named: str, server: str, secret: str) -> ClusterSpec:
        if named == IN_CLUSTER:
            return ClusterSpec(kubeconfig=self._kubeconfig) if self._kubeconfig else ClusterSpec(in_cluster=True)
        if server and not self._kubeconfig:
            folder = f"{SECRETS}/{label(secret)}"
            return ClusterSpec(server=server, token=SecretRef(file=f"{folder}/token"), ca_file=f"{folder}/ca.crt")
        kubeconfig = self._kubeconfig or f"{SECRETS}/{label(secret)}/kubeconfig"
        return ClusterSpec(kubeconfig=kubeconfig, context=named or label(server))

    # -- applications -----------------------------------------------------------------------------------------------

    def application(self, name: str, spec: ApplicationSpec) -> None:
        """Add one, under a name that `name` gave."""
        self.applications.append(Application(name, spec))

    def name(self, kind: type, *candidates: str) -> str:
        """The first of the candidates that nobody has, as a label; the last one with a number if all are taken."""
        labels = [label(candidate) for candidate in candidates]
        labels += [f"{labels[-1][:60]}-{number}" for number in range(2, 100)]
        free = next(text for text in labels if (kind, text) not in self._names)
        self._names.add((kind, free))
        return free

    # -- the result -------------------------------------------------------------------------------------------------

    @property
    def made(self) -> list[Repository | Cluster | Application]:
        """What the applications need, and they themselves, by kind and name."""
        sources = {source.repository for one in self.applications for source in one.spec.sources}
        clusters = {one.spec.destination.cluster for one in self.applications}
        return [
            *_by_name(one for one in self._repositories.values() if one.name in sources),
            *_by_name(one for one in self.clusters.values() if one.name in clusters),
            *_by_name(self.applications),
        ]


def written(document: Repository | Cluster | Application) -> dict[str, Any]:
    """The document as it stands in a file."""
    return {
        "apiVersion": API_VERSION,
        "kind": type(document).__name__,
        "metadata": {"name": document.name},
        "spec": {field: value for field, value in msgspec.to_builtins(document.spec).items() if value != {}},
    }


def forge_of(url: str) -> Forge:
    """The forge at a well-known host; generic elsewhere."""
    address = repository_address(url)
    return _FORGES.get(address.host, "generic") if address is not None else "generic"


def credentials_of(url: str, secret: str) -> Credentials | None:
    """Credentials from the files of a mounted Secret, by the names that Flux gives them; None without a Secret."""
    if not secret:
        return None
    folder = f"{SECRETS}/{label(secret)}"
    if url.startswith("ssh://") or "://" not in url:
        return Credentials(
            ssh_key=SecretRef(file=f"{folder}/identity"), known_hosts=SecretRef(file=f"{folder}/known_hosts")
        )
    return Credentials(username="git", password=SecretRef(file=f"{folder}/password"))


def label(text: str) -> str:
    """The RFC 1123 label that is nearest to ``text``."""
    return _UNFIT.sub("-", text.lower()).strip("-")[:63].rstrip("-") or "unnamed"


def _by_name(documents: Iterable[Any]) -> list[Any]:
    return sorted(documents, key=lambda document: document.name)
