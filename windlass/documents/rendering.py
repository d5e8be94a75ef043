"""How a source becomes objects, where its files do not say so: the options of Helm, Kustomize, Jsonnet and SOPS. Pure data.

Everything here is the operator's word, not the repository's: what names a key, or what reaches a command line, is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from windlass.documents import syntax
from windlass.documents.base import SecretRef, Strict
from windlass.yamls import Path

_RELEASE = re.compile(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?\Z")
_KUBE_VERSION = re.compile(r"v?1\.\d{1,3}(\.\d{1,3})?([-+][0-9A-Za-z.+-]{1,40})?\Z")
_API_VERSION = re.compile(r"[a-z0-9.-]{1,253}(/[a-z0-9]{1,63}(/[A-Za-z0-9]{1,63})?)?\Z")
_VERSION = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]{1,64})?(\+[0-9A-Za-z.-]{1,64})?\Z")
_CHART_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?\Z")
_CHART_URL = re.compile(r"(oci|https?)://[^@?#]+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}\Z")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,254}\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")

Problem = tuple[Path, str]
CloudKeys = Literal["aws", "gcp", "azure", "vault"]


class ChartSource(Strict, frozen=True):
    """A chart that is not in the repository: one pinned version of one chart of a Helm (https) or OCI repository."""

    repository: str  # https://charts.example.com, oci://registry.example.com/charts
    name: str
    version: str  # a version, not a range


class HelmOptions(Strict, frozen=True):
    """`helm template`, as the application wants it. A path is relative to the source's; one that begins with / to the root."""

    release: str | None = None  # the application's name by default
    chart: ChartSource | None = None  # instead of the chart at the source's path
    values_files: tuple[str, ...] = ()  # the last one counts most
    values: dict[str, Any] = msgspec.field(default_factory=dict)  # count more than any file
    skip_crds: bool = False  # leave out what is in crds/
    skip_hooks: bool = False
    kube_version: str | None = None  # the cluster's by default
    api_versions: tuple[str, ...] = ()  # besides the cluster's


class KustomizeImage(Strict, frozen=True):
    """As in kustomization.yaml: images called ``name`` become ``newName``, ``newTag`` or ``digest``."""

    name: str
    new_name: str | None = None
    new_tag: str | None = None
    digest: str | None = None


class KustomizePatch(Strict, frozen=True):
    """As in kustomization.yaml: a strategic merge or JSON 6902 patch; ``target`` selects what a JSON 6902 one is for."""

    patch: str
    target: dict[str, str] = msgspec.field(default_factory=dict)


class KustomizeOptions(Strict, frozen=True):
    """What is laid over the kustomization at the source's path, in the words of kustomization.yaml."""

    namespace: str | None = None
    name_prefix: str | None = None
    name_suffix: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    images: tuple[KustomizeImage, ...] = ()
    components: tuple[str, ...] = ()
    patches: tuple[KustomizePatch, ...] = ()

    @property
    def empty(self) -> bool:
        return self == KustomizeOptions()


class JsonnetOptions(Strict, frozen=True):
    """One Jsonnet program, whose value is an object, a list of objects, or objects by name."""

    file: str = "main.jsonnet"  # below the source's path
    libraries: tuple[str, ...] = ()  # folders that imports are looked for in, after the importing file's own
    external: dict[str, str] = msgspec.field(default_factory=dict)  # std.extVar
    external_code: dict[str, str] = msgspec.field(default_factory=dict)
    arguments: dict[str, str] = msgspec.field(default_factory=dict)  # top-level arguments
    arguments_code: dict[str, str] = msgspec.field(default_factory=dict)


class SopsOptions(Strict, frozen=True):
    """Which keys decrypt this application's files. A repository never chooses: what asks for another one is refused."""

    age: tuple[SecretRef, ...] = ()  # age identities, AGE-SECRET-KEY-1…
    pgp: tuple[SecretRef, ...] = ()  # armoured private keys
    cloud: tuple[CloudKeys, ...] = ()  # KMS by the worker's own identity: it then needs the network


def helm_problems(options: HelmOptions) -> Iterator[Problem]:
    """What is wrong with the options: (path below them, message)."""
    if options.release is not None and not _RELEASE.match(options.release):
        yield ("release",), "expected at most 53 lower-case letters, digits and hyphens"
    for index, file in enumerate(options.values_files):
        if not valid_relative(file):
            yield ("valuesFiles", index), "expected the path of a file in the repository"
    if options.kube_version is not None and not _KUBE_VERSION.match(options.kube_version):
        yield ("kubeVersion",), "expected a version of Kubernetes, such as v1.36.0"
    for index, version in enumerate(options.api_versions):
        if not _API_VERSION.match(version):
            yield ("apiVersions", index), "expected group/version or group/version/Kind"
    if options.chart is not None:
        for path, message in _chart_problems(options.chart):
            yield ("chart", *path), message


def _chart_problems(chart: ChartSource) -> Iterator[Problem]:
    if not _CHART_URL.match(chart.repository) or not chart.repository.isprintable() or " " in chart.repository:
        yield ("repository",), "expected oci://host/path or https://host/path, without user name and query"
    if not _CHART_NAME.match(chart.name):
        yield ("name",), "expected the name of a chart"
    if not _VERSION.match(chart.version):
        yield ("version",), "expected one version, such as 1.2.3: a range would change without a commit"


def kustomize_problems(options: KustomizeOptions) -> Iterator[Problem]:
    """What is wrong with the options: (path below them, message)."""
    if options.namespace is not None and not syntax.valid_label(options.namespace):
        yield ("namespace",), "expected at most 63 lower-case letters, digits and hyphens (RFC 1123 label)"
    for index, image in enumerate(options.images):
        if not _IMAGE.match(image.name):
            yield ("images", index, "name"), "expected the name of an image, without its tag"
        if image.new_name is not None and not _IMAGE.match(image.new_name):
            yield ("images", index, "newName"), "expected the name of an image, without its tag"
        if image.new_tag is not None and not _TAG.match(image.new_tag):
            yield ("images", index, "newTag"), "expected a tag"
        if image.digest is not None and not _DIGEST.match(image.digest):
            yield ("images", index, "digest"), "expected sha256: and 64 hexadecimal digits"
    for index, folder in enumerate(options.components):
        if not valid_relative(folder):
            yield ("components", index), "expected a folder of the repository"


def jsonnet_problems(options: JsonnetOptions) -> Iterator[Problem]:
    """What is wrong with the options: (path below them, message)."""
    if not valid_relative(options.file):
        yield ("file",), "expected the path of a file in the repository"
    for index, folder in enumerate(options.libraries):
        if not valid_relative(folder):
            yield ("libraries", index), "expected a folder of the repository"
    for field in ("external", "external_code", "arguments", "arguments_code"):
        for name in getattr(options, field):
            if not _VARIABLE.match(name):
                yield (_camel(field), name), "expected the name of a variable"


def sops_problems(options: SopsOptions) -> Iterator[Problem]:
    """What is wrong with the options, besides the references themselves: (path below them, message)."""
    if not (options.age or options.pgp or options.cloud):
        yield (), "expected at least one of age, pgp and cloud"


def valid_relative(path: str) -> bool:
    """May ``path`` name something of the repository, relative to a folder (``..`` may lead up) or, after a /, to the root?

    Whether it stays inside is known only where it is resolved.
    """
    return 0 < len(path) <= syntax.LONGEST_PATH and path.isprintable() and "\\" not in path and "://" not in path


def _camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(map(str.capitalize, rest))
