"""The types of Windlass' documents, ``apiVersion: windlass.dev/v1alpha1``. Pure data, no I/O.

The names and the nesting here are the YAML's own: what a field means is said once, in its comment.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from windlass.documents.base import SecretRef as SecretRef
from windlass.documents.base import Strict as _Strict
from windlass.documents.forge_api import PullRequestApi
from windlass.documents.health import HealthRule
from windlass.documents.ignoring import IgnoreRule
from windlass.documents.notification import Notification
from windlass.documents.ordering import Dependency
from windlass.documents.pipeline import Pipeline
from windlass.documents.promotion import Promotion
from windlass.documents.registry import Registry
from windlass.documents.rendering import HelmOptions, JsonnetOptions, KustomizeOptions, SopsOptions
from windlass.documents.signing import SignedCommits
from windlass.semver import semver_ref

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


class KindLimits(_Strict, frozen=True):
    """Patterns of ``Kind.group``, ``Kind`` for the core group. A denied ``Kind`` is denied in every group."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()


class Limits(_Strict, frozen=True):
    """What applications that follow the repository may touch (`windlass.documents.limits`); a field left out allows all."""

    clusters: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    kinds: KindLimits = KindLimits()
    cluster_scoped: bool = False  # objects that are in no namespace


class RepositorySpec(_Strict, frozen=True):
    url: str
    forge: Forge = "generic"
    credentials: Credentials | None = None
    webhook: Webhook | None = None
    status: StatusApi | None = None
    pull_requests: PullRequestApi | None = None
    signed_commits: SignedCommits | None = None
    limits: Limits | None = None


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
    """Exactly one of branch, tag, commit and semver; ``path`` is a folder of the repository, "" its root.

    At most one of helm, kustomize and jsonnet; without one, the folder's files say what it is.
    """

    repository: str
    branch: str | None = None
    tag: str | None = None
    commit: str | None = None
    semver: str | None = None  # a range of versions: the tag of the highest one within it is followed
    path: str = ""
    helm: HelmOptions | None = None
    kustomize: KustomizeOptions | None = None
    jsonnet: JsonnetOptions | None = None
    sops: SopsOptions | None = None

    @property
    def ref(self) -> str:
        """The full ref to follow, the commit id itself when one is pinned, or `windlass.semver`'s form of a range."""
        if self.semver is not None:
            return semver_ref(self.semver)
        if self.branch is not None:
            return f"refs/heads/{self.branch}"
        return f"refs/tags/{self.tag}" if self.tag is not None else str(self.commit)

    @property
    def id(self) -> str:
        """The queue's name of (repository, ref): readable, unique, and made of what RQ allows in a job's id."""
        return source_id(self.repository, self.ref)


class AccountRef(_Strict, frozen=True):
    """A ServiceAccount; its namespace is the destination's if it names none."""

    name: str
    namespace: str | None = None


class Destination(_Strict, frozen=True):
    """Where the objects are. When ``cluster`` changes, those on the former one stay there, and `windlass status` says so."""

    cluster: str
    namespace: str | None = None  # for namespaced objects that name none
    service_account: str | AccountRef | None = None  # who reads and writes the objects; NAME or NAMESPACE:NAME


class Sync(_Strict, frozen=True):
    automatic: bool = True  # otherwise a commit is only compared, and drift reported: `windlass sync` applies it
    prune: bool = True
    force: bool = False  # take fields on first contact that other managers own
    self_heal: bool = True  # undo what others change; otherwise only report it
    replace: bool = False  # objects with an immutable field that changed are deleted and created anew
    depends_on: tuple[str | Dependency, ...] = ()  # a name alone: until it is healthy
    prune_limit: int | str | None = None  # of one commit: a number of objects, or a share such as "50%"
    timeout: str | None = None  # how long a step may wait for health: 90s, 5m, 1h30m
    ignore: tuple[IgnoreRule, ...] = ()  # fields that are left to others
    rollback: Literal["automatic"] | None = None  # to the last healthy revision, from one that stays unhealthy

    @property
    def heals(self) -> bool:
        """Is drift undone without a person's word?"""
        return self.automatic and self.self_heal


class ApplicationSpec(_Strict, frozen=True):
    sources: tuple[Source, ...]
    destination: Destination
    sync: Sync = Sync()
    adopts: str | None = None  # the application whose objects this one takes over
    health: tuple[HealthRule, ...] = ()


class Application(_Strict, frozen=True):
    name: str
    spec: ApplicationSpec

    @property
    def source(self) -> Source:
        """The first source: its commit is the application's revision."""
        return self.spec.sources[0]

    @property
    def manager(self) -> str:
        """The field manager: one an application, so that the API server tells two applications apart."""
        return f"windlass/{self.name}"


Document = Repository | Cluster | Application | Promotion | Registry | Notification | Pipeline


def source_id(repository: str, ref: str) -> str:
    short = ref.removeprefix("refs/heads/").removeprefix("refs/")
    slug = re.sub(r"[^A-Za-z0-9_]+", "_", short)[:40]
    return f"{repository}-{slug}-{hashlib.sha256(ref.encode()).hexdigest()[:6]}"
