"""An import as a whole: files in, Windlass documents and what was lost out.

What must hold: what comes out passes `windlass check`. What would not is taken out, and said to be lost with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

from windlass import yaml_scalars as scalars
from windlass.documents.catalog import Placed, build
from windlass.documents.parse import parse_documents
from windlass.documents.types import Application, Cluster, Repository
from windlass.importing import argo_sets
from windlass.importing.argo import GROUP as ARGO
from windlass.importing.argo import ArgoCD
from windlass.importing.argo_sources import Git
from windlass.importing.flux import HELM, KUSTOMIZE, SOURCE, Flux
from windlass.importing.flux_sources import Sources
from windlass.importing.given import Finding, Given, Report, read
from windlass.importing.target import Documents, written
from windlass.importing.trees import NoTrees, Trees, ref_of

_READ = {
    (ARGO, "Application"),
    (ARGO, "ApplicationSet"),
    (ARGO, "AppProject"),
    (KUSTOMIZE, "Kustomization"),
    (HELM, "HelmRelease"),
    (SOURCE, "GitRepository"),
    (SOURCE, "HelmRepository"),
    (SOURCE, "OCIRepository"),
}
_FLUX = ".toolkit.fluxcd.io"
_OTHERS = {
    "ImageRepository": "say it as a Promotion and a Registry",
    "ImagePolicy": "say it as a Promotion's tag policy",
    "ImageUpdateAutomation": "say it as a Promotion",
    "Receiver": "the Repository's webhook is the receiver",
    "Bucket": "Windlass follows Git",
    "HelmChart": "say it within the HelmRelease",
}

Made = Repository | Cluster | Application


class Imported(NamedTuple):
    """``documents`` as they stand in files, by kind and name; ``others``: objects that are none of the import's business."""

    documents: list[dict[str, Any]]
    findings: list[Finding]
    others: int

    @property
    def applications(self) -> int:
        return sum(document["kind"] == "Application" for document in self.documents)

    @property
    def lost(self) -> int:
        return sum(finding.lost for finding in self.findings)


def convert(
    files: Iterable[tuple[str, bytes]],
    *,
    trees: Trees | None = None,
    kubeconfig: str | None = None,
    repository: str | None = None,
) -> Imported:
    """The Windlass documents of ``files`` (name, content).

    :param trees: what is known of Git repositories' content.
    :param kubeconfig: how Windlass reaches the clusters, where it runs in none of them.
    :param repository: the Git repository whose sources hold the charts that are in none.
    """
    report, trees, documents = Report(), trees or NoTrees(), Documents(kubeconfig)
    given = [one for name, content in files for one in read(content, name, report)]
    known = [one for one in given if (one.group, one.kind) in _READ]
    others = [one for one in given if (one.group, one.kind) not in _READ]
    for one in others:
        if one.group.endswith(_FLUX) or one.group == ARGO:
            report.lost(one, (), f"not imported: {_OTHERS.get(one.kind, 'Windlass has nothing like it')}")
    home = None
    if repository is not None:
        home = Git(ref_of("", trees.tree(repository, "")).of(documents.repository(repository)), None)
    _argo([one for one in known if one.group == ARGO], documents, report, trees, home)
    _flux([one for one in known if one.group != ARGO], documents, report, trees, home)
    made = _valid(documents.made, report)
    return Imported([written(one) for one in made], report.findings, len(others))


def _argo(given: list[Given], documents: Documents, report: Report, trees: Trees, home: Git | None) -> None:
    applications: list[Given] = []
    for one in given:
        if one.kind == "ApplicationSet":
            applications += argo_sets.applications(one, report, trees)
        elif one.kind == "Application":
            applications.append(one)
    argo = ArgoCD(documents, report, trees, home)
    for one in given:
        if one.kind == "AppProject":
            argo.project(one)
    for one in applications:
        argo.application(one)


def _flux(given: list[Given], documents: Documents, report: Report, trees: Trees, home: Git | None) -> None:
    sources = Sources(given, report, documents, trees)
    gits = sources.gits()
    only = gits[0] if len({git.source for git in gits if git.source}) == 1 else None
    flux = Flux(given, documents, report, sources, home or only)
    for one in given:
        if one.kind == "Kustomization":
            flux.kustomization(one)
        elif one.kind == "HelmRelease":
            flux.release(one)


def _valid(made: list[Made], report: Report) -> list[Made]:
    """What passes `windlass check`; what doesn't is said. What waits for it doesn't pass either, so again until all does."""
    while made:
        names = [f"{type(one).__name__} {one.name}" for one in made]
        reads = [parse_documents(dump([written(one)]), name) for one, name in zip(made, names, strict=True)]
        placed = [
            Placed(document, name, 1) for read, name in zip(reads, names, strict=True) for document, _ in read.documents
        ]
        errors = [error for read in reads for error in read.errors]
        wrong = build(placed, errors).errors
        for error in wrong:
            report.findings.append(
                Finding("the result", 0, error.file, error.field, f"left out: {error.message}", lost=True)
            )
        bad = {error.file for error in wrong}
        if not bad:
            break
        made = [one for one, name in zip(made, names, strict=True) if name not in bad]
    return made


class _Dumper(yaml.SafeDumper):
    """Quotes what other readers of YAML, ours among them, would take for something else than a text: PyYAML leaves `y` bare."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if _bare(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _bare(text: str) -> bool:
    try:
        return bool(scalars.plain(text) == text)
    except scalars.ScalarError:
        return False


_Dumper.add_representer(str, _text)


def dump(documents: list[dict[str, Any]]) -> bytes:
    """The documents as YAML."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120).encode()
