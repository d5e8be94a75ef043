"""`Promotion`: which image goes where in a manifest repository, how it is proposed, and what must come true first.

Pure data and its rules. Templates know a few words in double braces and nothing else: what an image's name or tag holds is
put into them as text, and never read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from windlass import tag_policy
from windlass.documents import ordering, syntax
from windlass.documents.base import Strict
from windlass.documents.editing import Commit, Edit, commit_violations, edit_violations
from windlass.tag_policy import TagPolicy
from windlass.yamls import Path

Mode = Literal["pullRequest", "commit"]
MergeMethod = Literal["merge", "squash", "rebase"]

WORDS = ("promotion", "image", "name", "tag", "digest", "previous", "commit")
"""What a template may name: ``name`` is the image's last part, ``previous`` the tag that is replaced, ``commit`` the source's."""
BRANCH_WORDS = ("promotion", "name", "tag")
LONGEST_TITLE, LONGEST_BODY = 250, 20_000
LONGEST_ARGUMENT, LONGEST_CHECK = 1000, 300.0
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_UNSAFE_IN_REF = re.compile(r"\.lock(?=/|\Z)|\.\.+|\A\.|\.\Z")
_PLACE = re.compile(r"\{\{\s*([A-Za-z]*)\s*\}\}")
IMAGE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*\Z", re.ASCII)
_HANDLE = re.compile(r"[^\x00-\x1f\x7f]{1,255}\Z")


class Target(Strict, frozen=True):
    """Where the image is named: a folder of a branch of a Repository; the branch is what pull requests are merged into."""

    repository: str
    branch: str = "main"
    path: str = ""


class PullRequest(Strict, frozen=True):
    branch: str = "promote/{{promotion}}"
    title: str = "{{promotion}}: {{name}} {{tag}}"
    body: str = ""  # said below what Windlass says
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    auto_merge: bool = False  # when its checks pass; by the forge itself where it can
    merge_method: MergeMethod = "merge"


class After(Strict, frozen=True):
    """Another promotion that must have brought this image first; with ``application``, that one must be healthy by it."""

    promotion: str
    application: str | None = None


class Check(Strict, frozen=True):
    """A GET of ``url`` that must be answered with ``status`` (within 10 s, without a redirect); or a program that must succeed
    (within 30 s): its name in the folder that WINDLASS_CHECKS names, and its arguments."""

    url: str | None = None
    private: bool = False  # the page may be at a private address
    status: int = 200
    command: tuple[str, ...] = ()
    timeout: str | None = None


class Gates(Strict, frozen=True):
    """What must come true before the image is proposed; in this order, and all of it."""

    after: tuple[After, ...] = ()
    soak: str | None = None  # for so long it must have been true: 90s, 10m, 1h
    checks: tuple[Check, ...] = ()
    approval: bool = False  # a person says so, for this very image


class PromotionSpec(Strict, frozen=True):
    image: str  # without tag and digest
    target: Target
    source: str | None = None  # the Repository of its code: pull requests show the commits that the image brings
    policy: TagPolicy = TagPolicy()
    pin: Literal["tag", "digest"] = "tag"  # digest: TAG@DIGEST is written, and an image without a digest waits for one
    edit: Edit = Edit()
    commit: Commit = Commit()
    mode: Mode = "pullRequest"
    pull_request: PullRequest = PullRequest()
    gates: Gates = Gates()


class Promotion(Strict, frozen=True):
    name: str
    spec: PromotionSpec

    @property
    def id(self) -> str:
        return promotion_id(self.name)


def promotion_id(name: str) -> str:
    """The queue's name of a promotion. No source has it: up to its first hyphen, a source's is a name without underscores."""
    return f"promotion_{name}"


def filled(template: str, words: dict[str, str]) -> str:
    """The template with its words put in, once: a word's own braces stay what they are."""
    return _PLACE.sub(lambda match: words.get(match[1], ""), template)


def branch_of(promotion: Promotion, tag: str) -> str:
    """The branch that proposes the image of this tag. A tag may hold what a ref may not (``..``, ``.lock``): that becomes a
    hyphen."""
    words = {"promotion": promotion.name, "name": promotion.spec.image.rpartition("/")[2], "tag": tag}
    safe = {word: _UNSAFE_IN_REF.sub("-", words[word]) for word in BRANCH_WORDS}
    return filled(promotion.spec.pull_request.branch, safe)


def violations(document: Promotion) -> Iterator[tuple[Path, str]]:
    """What is wrong with a promotion: (path below ``spec``, message)."""
    spec = document.spec
    if len(spec.image) > 255 or not IMAGE.match(spec.image):
        yield ("image",), "expected an image without tag and digest, such as registry.example/shop/web"
    if not syntax.valid_ref(spec.target.branch):
        yield ("target", "branch"), "not a valid name of a Git ref (git check-ref-format)"
    if not syntax.valid_folder(spec.target.path):
        yield ("target", "path"), "expected a folder of the repository, without a leading or trailing /, . or .."
    for path, message in tag_policy.violations(spec.policy):
        yield ("policy", *path), message
    for path, message in _pull_request(spec.pull_request, spec.target.branch):
        yield ("pullRequest", *path), message
    for path, message in edit_violations(spec.edit):
        yield ("edit", *path), message
    for path, message in (
        *commit_violations(spec.commit),
        *_template("message", spec.commit.message, LONGEST_BODY, WORDS),
    ):
        yield ("commit", *path), message
    for path, message in _gates(document.name, spec.gates):
        yield ("gates", *path), message


def _pull_request(spec: PullRequest, base: str) -> Iterator[tuple[Path, str]]:
    yield from _template("branch", spec.branch, syntax.LONGEST_REF, BRANCH_WORDS)
    yield from _template("title", spec.title, LONGEST_TITLE, WORDS)
    yield from _template("body", spec.body, LONGEST_BODY, WORDS)
    if not spec.title or not spec.title.isprintable():
        yield ("title",), "expected one line"
    branch = filled(spec.branch, dict.fromkeys(BRANCH_WORDS, "x"))
    if not syntax.valid_ref(branch):
        yield ("branch",), "not a valid name of a Git ref (git check-ref-format)"
    elif branch == base:
        yield ("branch",), "is the branch that pull requests are merged into"
    for field, names in (("labels", spec.labels), ("reviewers", spec.reviewers), ("assignees", spec.assignees)):
        for index, name in enumerate(names):
            if not _HANDLE.match(name):
                yield (field, index), "expected a name"


def _template(field: str, template: str, longest: int, words: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    if len(template) > longest:
        yield (field,), f"expected at most {longest} characters"
    for word in _PLACE.findall(template):
        if word not in words:
            yield (field,), f"{{{{{word[:40]}}}}} is not known; expected {', '.join(words)}"


def _gates(name: str, gates: Gates) -> Iterator[tuple[Path, str]]:
    for index, after in enumerate(gates.after):
        if after.promotion == name:
            yield ("after", index, "promotion"), "a promotion can't wait for itself"
    if gates.soak is not None and ordering.seconds(gates.soak) is None:
        yield ("soak",), "expected a duration such as 90s, 5m or 1h30m, of a day at most"
    for index, check in enumerate(gates.checks):
        for path, message in _check(check):
            yield ("checks", index, *path), message


def _check(check: Check) -> Iterator[tuple[Path, str]]:
    if (check.url is None) == (not check.command):
        yield (), "expected exactly one of url and command"
        return
    if check.url is not None and not syntax.valid_http(check.url):
        yield ("url",), "expected an http(s) URL, without user name and query"
    if not 100 <= check.status <= 599:
        yield ("status",), "expected a status of HTTP"
    if check.command and not _PROGRAM.match(check.command[0]):
        yield ("command", 0), "expected the name of a program in the folder of WINDLASS_CHECKS"
    for index, argument in enumerate(check.command):
        if "\0" in argument or len(argument) > LONGEST_ARGUMENT:
            yield ("command", index), f"expected at most {LONGEST_ARGUMENT} characters"
    seconds = ordering.seconds(check.timeout) if check.timeout is not None else 0.0
    if seconds is None or seconds > LONGEST_CHECK:
        yield ("timeout",), f"expected a duration such as 90s, of {LONGEST_CHECK:.0f} s at most"
