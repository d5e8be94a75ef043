"""`Notification`: who is told what of which applications and promotions. Pure data and its rules.

The field is ``events`` and not ``on``: that is a boolean in YAML as Kubernetes reads it. The address is a secret: whoever knows a
chat's webhook can write to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Literal

from windlass.documents.base import SecretRef, Strict
from windlass.yamls import Path

EventName = Literal["started", "applied", "healthy", "degraded", "failed", "drift", "promotion"]
DEPLOYED = ("started", "applied", "healthy", "degraded", "failed")
"""What happens to a commit of an application."""
WORDS = ("event", "application", "cluster", "revision", "message", "why", "promotion", "image", "url")
"""What a template may name. ``message`` is what is said without a template."""
ENVIRONMENT_WORDS = ("application", "cluster")
LONGEST_TEMPLATE, LONGEST_ENVIRONMENT = 2000, 255
_PLACE = re.compile(r"\{\{\s*([A-Za-z]*)\s*\}\}")
_PATTERN = re.compile(r"[a-z0-9*?\[\]!-]{1,63}\Z")


class Chat(Strict, frozen=True):
    """An incoming webhook. ``private``: it may be at a loopback or private address, and without TLS."""

    url: SecretRef
    private: bool = False


class Hook(Strict, frozen=True):
    """An address of one's own. ``key`` signs the body (HMAC-SHA256, ``X-Windlass-Signature: sha256=HEX``)."""

    url: SecretRef
    key: SecretRef | None = None
    private: bool = False


class GithubDeployments(Strict, frozen=True):
    """Deployments of the application's own repository on GitHub; the token may write them."""

    token: SecretRef
    environment: str = "{{cluster}}/{{application}}"


class To(Strict, frozen=True):
    """Exactly one of them."""

    slack: Chat | None = None
    teams: Chat | None = None
    discord: Chat | None = None
    webhook: Hook | None = None
    cloudevents: Hook | None = None
    github_deployments: GithubDeployments | None = None

    @property
    def kind(self) -> str:
        """As the document spells it."""
        kinds = {
            "slack": self.slack,
            "teams": self.teams,
            "discord": self.discord,
            "webhook": self.webhook,
            "cloudevents": self.cloudevents,
            "githubDeployments": self.github_deployments,
        }
        return next((kind for kind, found in kinds.items() if found is not None), "")

    @property
    def hook(self) -> Chat | Hook | None:
        """The address that is called; None for GitHub's API."""
        return self.slack or self.teams or self.discord or self.webhook or self.cloudevents


class NotificationSpec(Strict, frozen=True):
    """``applications`` and ``promotions``: patterns of names."""

    to: To
    events: tuple[EventName, ...]
    applications: tuple[str, ...] = ("*",)
    promotions: tuple[str, ...] = ("*",)
    template: str = ""


class Notification(Strict, frozen=True):
    name: str
    spec: NotificationSpec

    def wants(self, event: str, *, application: str = "", promotion: str = "") -> bool:
        """Is it to be told of this event of this application, or promotion?"""
        name, patterns = (
            (promotion, self.spec.promotions) if event == "promotion" else (application, self.spec.applications)
        )
        return event in self.spec.events and any(fnmatchcase(name, pattern) for pattern in patterns)


def references(spec: NotificationSpec) -> Iterator[tuple[Path, SecretRef]]:
    """The secrets that the document names, and where."""
    path, hook = ("to", spec.to.kind), spec.to.hook
    if hook is not None:
        yield (*path, "url"), hook.url
    if isinstance(hook, Hook) and hook.key is not None:
        yield (*path, "key"), hook.key
    if spec.to.github_deployments is not None:
        yield ("to", "githubDeployments", "token"), spec.to.github_deployments.token


def violations(spec: NotificationSpec) -> Iterator[tuple[Path, str]]:
    """What is wrong with a notification: (path below ``spec``, message). References are judged by `windlass.documents.rules`."""
    ways = (spec.to.slack, spec.to.teams, spec.to.discord, spec.to.webhook, spec.to.cloudevents)
    if sum(way is not None for way in (*ways, spec.to.github_deployments)) != 1:
        yield ("to",), "expected exactly one of slack, teams, discord, webhook, cloudevents and githubDeployments"
        return
    if not spec.events:
        yield ("events",), "expected at least one event"
    if spec.to.github_deployments is not None:
        for index, event in enumerate(spec.events):
            if event not in DEPLOYED:
                yield ("events", index), f"is no event of a deployment; expected {', '.join(DEPLOYED)}"
        environment = spec.to.github_deployments.environment
        path = ("to", "githubDeployments", "environment")
        yield from _template(path, environment, LONGEST_ENVIRONMENT, ENVIRONMENT_WORDS)
        if not environment.strip() or not environment.isprintable():
            yield path, "expected one line"
    yield from _template(("template",), spec.template, LONGEST_TEMPLATE, WORDS)
    for field, patterns in (("applications", spec.applications), ("promotions", spec.promotions)):
        for index, pattern in enumerate(patterns):
            if not _PATTERN.match(pattern):
                yield (field, index), "expected a pattern of names, like shop-*"


def _template(path: Path, template: str, longest: int, words: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    if len(template) > longest:
        yield path, f"expected at most {longest} characters"
    for word in _PLACE.findall(template):
        if word not in words:
            yield path, f"{{{{{word[:40]}}}}} is not known; expected {', '.join(words)}"
