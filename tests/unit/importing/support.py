"""Imports of a text, and what they say, for the specifications beside this file."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from windlass.importing.convert import Imported, convert
from windlass.importing.trees import Tree


class Files:
    """A commit's files, by path; ``branch`` is checked out."""

    def __init__(self, files: dict[str, str], branch: str | None = "main") -> None:
        self._files, self.branch = files, branch

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted(self._files))

    def read(self, path: str) -> bytes:
        return self._files[path].encode()


class Known:
    """The same files for every repository that is asked for."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def tree(self, url: str, revision: str) -> Tree | None:
        return Files(self._files)


def imported(text: str, files: dict[str, str] | None = None, **options: Any) -> Imported:
    """What an import of ``text`` makes; ``files``: of its Git repositories."""
    trees = None if files is None else Known(files)
    return convert([("given.yaml", textwrap.dedent(text).encode())], trees=trees, **options)


def documents(result: Imported, kind: str = "Application") -> dict[str, dict[str, Any]]:
    """The specs of a kind, by name."""
    return {one["metadata"]["name"]: plain(one["spec"]) for one in result.documents if one["kind"] == kind}


def only(result: Imported, kind: str = "Application") -> dict[str, Any]:
    (spec,) = documents(result, kind).values()
    return spec


def lost(result: Imported) -> dict[str, str]:
    """Why, by path."""
    return {finding.path: finding.why for finding in result.findings if finding.lost}


def plain(value: Any) -> Any:
    """As it is read from a file again."""
    return yaml.safe_load(yaml.safe_dump(value))


def argo(source: str = "", spec: str = "", name: str = "guestbook") -> str:
    """An Argo CD Application; ``source`` and ``spec`` are lines of these."""
    return "\n".join(
        [
            "apiVersion: argoproj.io/v1alpha1",
            "kind: Application",
            "metadata:",
            f"  name: {name}",
            "  namespace: argocd",
            "spec:",
            "  source:",
            "    repoURL: https://git.example.com/demo/apps.git",
            "    targetRevision: main",
            textwrap.indent(textwrap.dedent(source or "path: guestbook").strip("\n"), "    "),
            "  destination: {server: https://kubernetes.default.svc, namespace: guestbook}",
            textwrap.indent(textwrap.dedent(spec).strip("\n"), "  "),
            "---",
            "",
        ]
    )
