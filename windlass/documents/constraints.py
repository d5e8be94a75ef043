"""What a schema can tell of the rules that parsing enforces: limits of single fields, and rules across fields, in CEL.

What must hold: nothing here refuses what `windlass.documents.parse` accepts in a custom resource; parsing remains the judge, this
only tells people sooner. Expressions name `has()` of a few fields: the API server bounds what a rule may cost, so a list that
holds such rules has a most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from windlass.documents import ignoring, signing, syntax
from windlass.documents.base import SecretKey, SecretRef
from windlass.documents.forge_api import GithubApp, PullRequestApi
from windlass.documents.health import HealthRule
from windlass.documents.ignoring import IgnoreRule
from windlass.documents.notification import LONGEST_TEMPLATE, NotificationSpec, To
from windlass.documents.pipeline import PipelineSource, PipelineSpec
from windlass.documents.promotion import IMAGE, LONGEST_ARGUMENT, Check, Gates, PromotionSpec
from windlass.documents.registry import RegistrySpec
from windlass.documents.rendering import ChartSource, HelmOptions, KustomizeImage, SopsOptions
from windlass.documents.status import Condition, ResourceStatus
from windlass.documents.types import (
    ApplicationSpec,
    ClusterSpec,
    Credentials,
    Destination,
    RepositorySpec,
    Source,
    StatusApi,
    Sync,
    Webhook,
)

T = TypeVar("T")

MOST_ITEMS = 1000
"""Of a list that says nothing else."""
_LABEL = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_SUBDOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
_HTTP = {"pattern": "^https?://[^@?#]+$", "maxLength": syntax.LONGEST_URL}
_FOLDER = {"maxLength": syntax.LONGEST_PATH, "pattern": r"^([^/\\]+(/[^/\\]+)*)?$"}
_REF = {"minLength": 1, "maxLength": syntax.LONGEST_REF}
_DURATION = {"pattern": "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$", "minLength": 2}
_IMAGE = {"pattern": f"^{IMAGE.pattern.removesuffix(chr(92) + 'Z')}$"}


class Rule(NamedTuple):
    """An expression that is true of every valid value, and what is said where it isn't."""

    rule: str
    message: str


def one_of(*fields: str) -> str:
    """Exactly one of these is there."""
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields) + " == 1"


def at_most_one_of(*fields: str) -> str:
    """None of these is there, or one."""
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields) + " <= 1"


def some_of(*lists: str) -> str:
    """At least one of these lists holds something."""
    return " || ".join(f"(has(self.{name}) && size(self.{name}) > 0)" for name in lists)


RULES: Mapping[type, tuple[Rule, ...]] = {
    RepositorySpec: (
        Rule(
            "!has(self.pullRequests) || self.forge != 'generic'",
            "forge: generic has no pull requests; name the repository's forge",
        ),
        Rule(
            "!has(self.credentials) || has(self.credentials.sshKey) == "
            "(self.url.startsWith('ssh://') || !self.url.contains('://'))",
            "expected sshKey with an SSH URL, and token or password with an HTTP one",
        ),
    ),
    Credentials: (
        Rule(
            one_of("token", "password", "sshKey"),
            "expected exactly one of token, password (with username) and sshKey (with knownHosts)",
        ),
        Rule("!has(self.password) || has(self.username)", "the field username is missing"),
        Rule("has(self.sshKey) == has(self.knownHosts)", "sshKey and knownHosts go together"),
    ),
    PullRequestApi: (
        Rule(one_of("token", "app"), "expected exactly one of token and app"),
        Rule("!has(self.username) || has(self.token)", "username goes with token only"),
    ),
    signing.KeyReference: (Rule(one_of("key", "secret"), "expected exactly one of key and secret"),),
    ClusterSpec: (
        Rule(
            "(self.inCluster ? 1 : 0) + (has(self.kubeconfig) ? 1 : 0) + (has(self.server) ? 1 : 0) == 1",
            "expected exactly one of inCluster, kubeconfig and server",
        ),
        Rule("!has(self.context) || has(self.kubeconfig)", "a context is chosen from a kubeconfig"),
        Rule("has(self.server) == has(self.token)", "server and token go together"),
        Rule("!has(self.caFile) || has(self.server)", "caFile goes with server only"),
    ),
    Source: (
        Rule(one_of("branch", "tag", "commit", "semver"), "expected exactly one of branch, tag, commit and semver"),
        Rule(at_most_one_of("helm", "kustomize", "jsonnet"), "expected at most one of helm, kustomize and jsonnet"),
    ),
    IgnoreRule: (Rule(some_of("jsonPointers", "managers"), "expected jsonPointers, managers, or both"),),
    HealthRule: (
        Rule(
            one_of("current", "jsonPath"),
            "expected exactly one of current (with failed and inProgress) and jsonPath (with value)",
        ),
        Rule(
            "!has(self.jsonPath) || !(has(self.failed) || has(self.inProgress))",
            "failed and inProgress go with current",
        ),
    ),
    SopsOptions: (Rule(some_of("age", "pgp", "cloud"), "expected at least one of age, pgp and cloud"),),
    Check: (
        Rule(
            "has(self.url) != (has(self.command) && size(self.command) > 0)", "expected exactly one of url and command"
        ),
    ),
    To: (
        Rule(
            one_of("slack", "teams", "discord", "webhook", "cloudevents", "githubDeployments"),
            "expected exactly one of slack, teams, discord, webhook, cloudevents and githubDeployments",
        ),
    ),
    PromotionSpec: (
        Rule("!has(self.policy.range) || self.policy.order == 'semver'", "policy.range goes with order: semver only"),
    ),
    PipelineSpec: (
        Rule(
            "!has(self.arguments) || self.arguments.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
            "arguments: expected names of letters, digits and underscores",
        ),
    ),
    RegistrySpec: (
        Rule(
            f"{some_of('secrets')} || has(self.poll)",
            "expected at least one secret: an event that nobody signs could be sent by anybody",
        ),
        Rule("has(self.poll) || !(has(self.api) || has(self.credentials))", "api and credentials go with poll only"),
    ),
}

FIELDS: Mapping[type, Mapping[str, Mapping[str, Any]]] = {
    SecretKey: {"name": {"pattern": _SUBDOMAIN, "maxLength": 253}, "key": {"pattern": "^[A-Za-z0-9._-]{1,253}$"}},
    RepositorySpec: {"url": {"minLength": 1, "maxLength": syntax.LONGEST_URL}},
    Webhook: {"name": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}, "secrets": {"maxItems": 100}},
    StatusApi: {"api": _HTTP},
    PullRequestApi: {"api": _HTTP},
    GithubApp: {"id": {"pattern": "^[A-Za-z0-9]{1,64}$"}, "installation": {"pattern": "^[A-Za-z0-9]{1,64}$"}},
    signing.SigningKey: {"kind": {"enum": list(signing.KINDS)}},
    signing.SignedCommits: {"mode": {"enum": list(signing.MODES)}, "keys": {"minItems": 1, "maxItems": 100}},
    ClusterSpec: {
        "namespace": {"pattern": _LABEL},
        "maxConcurrentRequests": {"minimum": 1, "maximum": 1000},
        "server": _HTTP,
        "kubeconfig": {"minLength": 1, "maxLength": syntax.LONGEST_PATH},
        "caFile": {"minLength": 1, "maxLength": syntax.LONGEST_PATH},
    },
    Source: {
        "branch": _REF,
        "tag": _REF,
        "commit": {"pattern": "^[0-9a-f]{40}$"},
        "path": _FOLDER,
        "repository": {"pattern": _LABEL},
    },
    Destination: {"cluster": {"pattern": _LABEL}, "namespace": {"pattern": _LABEL}},
    ApplicationSpec: {
        "sources": {"minItems": 1, "maxItems": 100},
        "health": {"maxItems": 100},
        "adopts": {"pattern": _LABEL},
    },
    Sync: {
        "ignore": {"maxItems": ignoring.MOST},
        "timeout": _DURATION,
    },
    IgnoreRule: {
        "jsonPointers": {"maxItems": ignoring.MOST},
        "managers": {"maxItems": ignoring.MOST},
    },
    HealthRule: {"kind": {"pattern": "^[A-Z][A-Za-z0-9]{0,62}$"}},
    HelmOptions: {"release": {"pattern": "^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$"}},
    ChartSource: {"repository": {"pattern": "^(oci|https?)://[^@?#]+$"}},
    KustomizeImage: {"digest": {"pattern": "^sha256:[0-9a-f]{64}$"}},
    Condition: {"lastTransitionTime": {"format": "date-time"}},
    ResourceStatus: {"conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}},
    Gates: {"checks": {"maxItems": 100}},
    Check: {
        "url": _HTTP,
        "status": {"minimum": 100, "maximum": 599},
        "command": {"maxItems": 100, "items": {"type": "string", "maxLength": LONGEST_ARGUMENT}},
    },
    PromotionSpec: {"image": _IMAGE},
    PipelineSource: {"repository": {"pattern": _LABEL}, "branch": _REF},
    PipelineSpec: {
        "image": _IMAGE,
        "context": _FOLDER,
        "dockerfile": _FOLDER,
        "platform": {"pattern": "^([a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?)?$"},
        "timeout": _DURATION,
    },
    NotificationSpec: {"events": {"minItems": 1}, "template": {"maxLength": LONGEST_TEMPLATE}},
    RegistrySpec: {"images": {"minItems": 1}, "secrets": {"maxItems": 100}, "api": _HTTP},
}

LEFT_OUT: Mapping[type, frozenset[str]] = {
    SecretRef: frozenset({"env", "file"}),
    SecretKey: frozenset({"namespace"}),
    signing.KeyReference: frozenset({"env", "file"}),
}
"""What only a document of the directory can say: who may write a resource must not read the files and the environment of
Windlass' processes by it."""
REQUIRED: Mapping[type, tuple[str, ...]] = {SecretRef: ("secret",), StatusApi: ("token",)}


def left_out(owner: type) -> frozenset[str]:
    """The fields of a type that no custom resource has."""
    return _first(LEFT_OUT, owner) or frozenset()


def required(owner: type) -> tuple[str, ...]:
    """The fields that the type could do without, and parsing can't."""
    return _first(REQUIRED, owner) or ()


def of_type(owner: type) -> dict[str, Any]:
    """What the schema of a type says beside its fields."""
    rules = _first(RULES, owner) or ()
    return {"x-kubernetes-validations": [rule._asdict() for rule in rules]} if rules else {}


def of_field(owner: type, field: str) -> dict[str, Any]:
    """What the schema of a field says beside its type."""
    return dict((_first(FIELDS, owner) or {}).get(field, {}))


def _first(table: Mapping[type, T], owner: type) -> T | None:
    return next((table[one] for one in owner.__mro__ if one in table), None)
