"""The types of Windlass' documents, ``apiVersion: windlass.dev/v1alpha1``. Pure data, no I/O.

The names and the nesting here are the YAML's own: what a field means is said once, in its comment.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from windlass.documents.base import SecretRef as SecretRef
from windlass.documents.base import Strict as _Strict
from windlass.documents.rendering import HelmOptions, JsonnetOptions, KustomizeOptions, SopsOptions

API_VERSION = "windlass.dev/v1alpha1"

Forge = Literal["github", "gitlab", "gitea", "forgejo", "bitbucket", "bitbucket-server", "azure", "generic"]


class Credentials(_Strict, frozen=True):
    """How to read the repository: a token, user name and password, or an SSH key with its known hosts."""

    token: SecretRef | None = None
    username: str | None = None
    password: SecretRef | None = None
    ssh_key: SecretRef | None = None
    known_hosts: SecretRef | None = None


class Webhook(_Strict, frozen=True):
    """The webhook's endpoint (``POST /webhooks/{name}``, the repository's name by default) and secrets, all of them valid."""

    name: str | None = None
    secrets: tuple[SecretRef, ...] = ()


class StatusApi(_Strict, frozen=True):
    """Commit statuses on the forge: the token that may write them; ``api`` where it isn't the forge's usual address."""

    token: SecretRef | None = None
    api: str | None = None


class RepositorySpec(_Strict, frozen=True):
    url: str
    forge: Forge = "generic"
    credentials: Credentials | None = None
    webhook: Webhook | None = None
    status: StatusApi | None = None


class Repository(_Strict, frozen=True):
    name: str
    spec: RepositorySpec


class ClusterSpec(_Strict, frozen=True):
    """Exactly one of: ``inCluster``, ``kubeconfig`` (+ ``context``), ``server`` + ``token`` (+ ``caFile``)."""

    in_cluster: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    server: str | None = None
    token: SecretRef | None = None
    ca_file: str | None = None
    namespace: str = "windlass"  # Windlass' own namespace there: the ApplySet parents
    max_concurrent_requests: int = 32


class Cluster(_Strict, frozen=True):
    name: str
    spec: ClusterSpec


class Source(_Strict, frozen=True):
    """Exactly one of branch, tag and commit; ``path`` is a folder of the repository, "" its root.

    At most one of helm, kustomize and jsonnet; without one, the folder's files say what it is.
    """

    repository: str
    branch: str | None = None
    tag: str | None = None
    commit: str | None = None
    path: str = ""
    helm: HelmOptions | None = None
    kustomize: KustomizeOptions | None = None
    jsonnet: JsonnetOptions | None = None
    sops: SopsOptions | None = None

    @property
    def ref(self) -> str:
        """The full ref to follow, or the commit id itself when one is pinned."""
        if self.branch is not None:
            return f"refs/heads/{self.branch}"
        return f"refs/tags/{self.tag}" if self.tag is not None else str(self.commit)

    @property
    def id(self) -> str:
        """The queue's name of (repository, ref): readable, unique, and made of what RQ allows in a job's id."""
        return source_id(self.repository, self.ref)


class Destination(_Strict, frozen=True):
    cluster: str
    namespace: str | None = None  # for namespaced objects that name none


class Sync(_Strict, frozen=True):
    prune: bool = True
    force: bool = False  # take fields on first contact that other managers own


class ApplicationSpec(_Strict, frozen=True):
    sources: tuple[Source, ...]
    destination: Destination
    sync: Sync = Sync()
    adopts: str | None = None  # the application whose objects this one takes over


class Application(_Strict, frozen=True):
    name: str
    spec: ApplicationSpec

    @property
    def source(self) -> Source:
        return self.spec.sources[0]

    @property
    def manager(self) -> str:
        """The field manager: one an application, so that the API server tells two applications apart."""
        return f"windlass/{self.name}"


Document = Repository | Cluster | Application


def source_id(repository: str, ref: str) -> str:
    short = ref.removeprefix("refs/heads/").removeprefix("refs/")
    slug = re.sub(r"[^A-Za-z0-9_]+", "_", short)[:40]
    return f"{repository}-{slug}-{hashlib.sha256(ref.encode()).hexdigest()[:6]}"
