"""ApplicationSets with list and git generators, resolved once: the Applications that they make at this moment.

Windlass has no generators: a folder that appears later is nobody's application until it is imported again, and that is said.
Source: Argo CD's operator manual, "Git Generator" (directories, files, pathParamPrefix, values) and "List Generator".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from windlass.importing.given import Fields, Given, Report
from windlass.importing.templates import TemplateError, fill
from windlass.importing.trees import Tree, Trees
from windlass.yamls import YamlError, load_all

_UNFIT = re.compile(r"[^a-z0-9.-]+")
_OTHERS = ("clusters", "matrix", "merge", "scmProvider", "pullRequest", "clusterDecisionResource", "plugin")
_ONCE = "resolved now: what it would make later is not followed, import it again then"

Parameters = dict[str, Any]


def applications(given: Given, report: Report, trees: Trees) -> list[Given]:
    """The Applications that an ApplicationSet makes."""
    spec = Fields(report, given, given.body.get("spec"), ("spec",))
    go = bool(spec.flag("goTemplate"))
    spec.same("goTemplateOptions", "template", "generators", "applyNestedSelectors")
    spec.note("syncPolicy", "a document that goes deletes nothing")
    for field in ("strategy", "ignoreApplicationDifferences", "preservedFields"):
        spec.lost(field, "Windlass has no sets: each application is a document of its own")
    if spec.lost("templatePatch", "not imported: a template that patches each application"):
        return []
    made: list[Given] = []
    for generator in spec.items("generators"):
        for parameters in _parameters(generator, trees, go):
            found = _application(spec, generator, parameters, go)
            made += [given.made(found)] if found is not None else []
    spec.rest()
    return made


def _application(spec: Fields, generator: Fields, parameters: Parameters, go: bool) -> dict[str, Any] | None:
    """The Application of these parameters; the generator's own template goes over the set's."""
    bodies = [spec.given.body["spec"].get("template"), *[_kind(generator).mapping("template")]]
    try:
        merged = _merged(*(body for body in bodies if isinstance(body, dict)))
        filled: dict[str, Any] = fill(merged, parameters, go=go)
    except TemplateError as error:
        spec.wrong(f"not imported: {error}", "template")
        return None
    return {"apiVersion": spec.given.body.get("apiVersion"), "kind": "Application", **filled}


def _kind(generator: Fields) -> Fields:
    return next((generator.below(kind) for kind in ("list", "git") if generator.has(kind)), generator)


def _parameters(generator: Fields, trees: Trees, go: bool) -> Iterator[Parameters]:
    for kind in _OTHERS:
        generator.lost(kind, "only list and git generators are resolved")
    selector = generator.below("selector")
    wanted = selector.strings("matchLabels")
    selector.lost("matchExpressions", "only matchLabels are understood")
    found = [*_list(generator.below("list"), go), *_git(generator.below("git"), trees, go)]
    for parameters in found:
        if all(str(parameters.get(key)) == value for key, value in wanted.items()):
            yield parameters


def _list(said: Fields, go: bool) -> Iterator[Parameters]:
    said.same("template")
    elements = [element.taken() for element in said.items("elements")]
    if text := said.text("elementsYaml"):
        try:
            elements += [one for parsed in load_all(text.encode()) for one in parsed.value if isinstance(one, dict)]
        except (YamlError, TypeError):
            said.wrong("expected the YAML of a list", "elementsYaml")
    for element in elements:
        yield element if go else _texts(element)


def _texts(element: Parameters) -> Parameters:
    """Without Go's templates parameters are texts; `values` of an element are named values.NAME."""
    values = element.get("values")
    nested = {f"values.{key}": value for key, value in values.items()} if isinstance(values, dict) else {}
    return {key: value for key, value in {**element, **nested}.items() if not isinstance(value, dict | list)}


# -- git ------------------------------------------------------------------------------------------------------------


def _git(said: Fields, trees: Trees, go: bool) -> Iterator[Parameters]:
    if not said:
        return
    said.same("template", "requeueAfterSeconds")
    url, revision = said.text("repoURL") or "", said.text("revision") or ""
    prefix, values = said.text("pathParamPrefix") or "", said.strings("values")
    directories, files = said.items("directories"), said.items("files")
    tree = trees.tree(url, revision)
    patterns = [(one.text("path") or "", bool(one.flag("exclude"))) for one in (*directories, *files)]
    if tree is None:
        said.wrong("not imported: its content is not known; give a --checkout of it, or --fetch", "repoURL")
        return
    said.report.note(said.given, said.path, _ONCE)
    try:
        for parameters in _found(tree, patterns, prefix, go, folders=bool(directories)):
            filled = {key: fill(text, parameters, go=go) for key, text in values.items()}
            yield {**parameters, **({"values": filled} if go else {f"values.{k}": v for k, v in filled.items()})}
    except TemplateError as error:
        said.wrong(f"not imported: {error}", "values")


def _found(
    tree: Tree, patterns: list[tuple[str, bool]], prefix: str, go: bool, *, folders: bool
) -> Iterator[Parameters]:
    if folders:
        for path in _folders(tree):
            if _chosen(path, patterns):
                yield _path(path, "", prefix, go)
        return
    for path in tree.files:
        if not _chosen(path, patterns):
            continue
        folder, _, name = path.rpartition("/")
        for content in _content(tree.read(path)):
            flat = content if go else dict(_flattened(content, ""))
            yield {**flat, **_path(folder, name, prefix, go)}


def _folders(tree: Tree) -> list[str]:
    found: set[str] = set()
    for file in tree.files:
        steps = file.split("/")[:-1]
        found.update("/".join(steps[:count]) for count in range(1, len(steps) + 1))
    return sorted(path for path in found if not any(step.startswith(".") for step in path.split("/")))


def _chosen(path: str, patterns: list[tuple[str, bool]]) -> bool:
    hits = [exclude for pattern, exclude in patterns if _matches(path, pattern.strip("/"))]
    return bool(hits) and not any(hits)


def _matches(path: str, pattern: str) -> bool:
    """As Go's path.Match, where * stays within a folder; ** goes through any number of them (files only, in Argo CD)."""
    return _match(path.split("/"), pattern.split("/"))


def _match(steps: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not steps
    if patterns[0] == "**":
        return any(_match(steps[skipped:], patterns[1:]) for skipped in range(len(steps) + 1))
    return bool(steps) and fnmatchcase(steps[0], patterns[0]) and _match(steps[1:], patterns[1:])


def _path(folder: str, file: str, prefix: str, go: bool) -> Parameters:
    """The parameters of a path; Go's are nested, the others have dotted names, with `path` itself the whole."""
    steps, name = folder.split("/"), folder.rpartition("/")[2]
    parts: Parameters = {"path": folder, "basename": name, "basenameNormalized": _normal(name), "segments": steps}
    if file:
        parts |= {"filename": file, "filenameNormalized": _normal(file)}
    if go:
        return {prefix: {"path": parts}} if prefix else {"path": parts}
    start = f"{prefix}.path" if prefix else "path"
    flat = {f"{start}.{key}": value for key, value in parts.items() if key not in ("path", "segments")}
    return {start: folder, **flat, **{f"{start}[{index}]": step for index, step in enumerate(steps)}}


def _content(data: bytes) -> list[Parameters]:
    """A file's parameters: a mapping, or a list of them; none of a file that is neither."""
    try:
        values = [parsed.value for parsed in load_all(data)]
    except YamlError:
        return []
    several = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [item for item in several if isinstance(item, dict)]


def _flattened(content: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """As Argo CD does without Go's templates: dotted names, items by their number."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict | list):
            yield from _flattened(value, name)
        elif value is not None:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _normal(text: str) -> str:
    return _UNFIT.sub("-", text.lower().replace("_", "-")).strip("-.")


def _merged(*bodies: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for body in bodies:
        for key, value in body.items():
            old = made.get(key)
            made[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return made
