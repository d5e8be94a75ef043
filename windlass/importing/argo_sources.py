"""Argo CD's sources, single and several: where they are, and how Helm, Kustomize and Jsonnet render them.

A chart from elsewhere stands in a Git repository's source with Windlass, since a commit is what is followed: in that of its
values files (`$ref/...`), else in another one of the import. Sources: Argo CD's user guide, "Helm", "Kustomize", "Directory",
"Multiple Sources for an Application"; the precedence of Helm's values is `values` < `valuesObject` < `parameters` there.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeVar

import msgspec

from windlass.documents.rendering import ChartSource, HelmOptions, JsonnetOptions, KustomizeOptions
from windlass.documents.types import Source
from windlass.importing import helm_values, overlays
from windlass.importing.given import Fields
from windlass.importing.trees import Tree, below, folder_of

T = TypeVar("T", bound=msgspec.Struct)

_MANIFESTS = (".yaml", ".yml", ".json")
_NOT_PLAIN = ("kustomization.yaml", "kustomization.yml", "Kustomization", "Chart.yaml")


class Git(NamedTuple):
    """A Git repository and ref as a source of its root, and its files if they are known."""

    source: Source
    tree: Tree | None


class Refs(NamedTuple):
    """What `$name/` in a values file's path means, by name; and where a chart from elsewhere may stand otherwise."""

    named: dict[str, Git]
    home: Git | None


def chart(source: Fields, refs: Refs, release: str | None) -> list[Source]:
    """A chart of a Helm or OCI repository; none if it can't be said which one, or where it may stand."""
    address, name, version = source.text("repoURL") or "", source.text("chart") or "", source.text("targetRevision")
    source.lost("path", "means nothing for a chart")
    helm = source.below("helm")
    files, used = _values_files(helm, refs, None)
    git = used[0] if used else refs.home
    if git is None:
        source.wrong("a chart stands in a Git repository's source: name one with --repository", "chart")
        return []
    if used and any(one.source != git.source for one in used):
        helm.wrong("values files of several repositories: only those of the first are taken over", "valueFiles")
        files = [file for file, of in zip(files, used, strict=True) if of.source == git.source]
    found = chart_source(address, name, version or "")
    options = _helm(helm, files, release)
    return [_with(git.source, helm=_with(options, chart=found))]


def chart_source(address: str, name: str, version: str) -> ChartSource:
    """A chart's address in Windlass' words: an OCI one begins with oci://, and a chart's name has no folders."""
    address = (address if "://" in address else f"oci://{address}").rstrip("/")
    folder, _, last = name.strip("/").rpartition("/")
    return ChartSource(f"{address}/{folder}" if folder else address, last, version)


def folder(source: Fields, git: Git, refs: Refs, release: str | None) -> list[Source]:
    """A folder of a Git repository: one source, or one for each Jsonnet program in it."""
    path = folder_of(source.text("path") or "")
    here = _with(git.source, path=path)
    if source.has("helm") or (release is not None and _holds(git, path, ("Chart.yaml",))):
        helm = source.below("helm")
        files, _ = _values_files(helm, refs, git)
        options = _helm(helm, files, release)
        return [here if options == HelmOptions() else _with(here, helm=options)]
    if source.has("kustomize"):
        options_of = kustomize(source.below("kustomize"))
        return [here if options_of.empty else _with(here, kustomize=options_of)]
    return _directory(source, git, here)


# -- Helm -----------------------------------------------------------------------------------------------------------


def _helm(helm: Fields, files: list[str], release: str | None) -> HelmOptions:
    helm.same("version", "releaseName", "valueFiles")
    for field in ("passCredentials", "fileParameters", "namespace", "skipSchemaValidation"):
        helm.lost(field, "Windlass' Helm options have nothing like it")
    helm.lost("ignoreMissingValueFiles", "a values file that is missing is an error")
    helm.note("skipTests", "Windlass never runs a chart's tests")
    return HelmOptions(
        release=helm.text("releaseName") or release,
        values_files=tuple(files),
        values=_values(helm, bool(files)),
        skip_crds=bool(helm.flag("skipCrds")),
        kube_version=helm.text("kubeVersion"),
        api_versions=helm.texts("apiVersions"),
    )


def _values(helm: Fields, files: bool) -> dict[str, Any]:
    text, given = helm.text("values"), helm.mapping("valuesObject")
    values: dict[str, Any] = {}
    if given:
        values = copy.deepcopy(given)
    elif text is not None:
        read = overlays.values_of(text)
        if read is None:
            helm.wrong("no YAML mapping", "values")
        values = dict(read or {})
    for parameter in helm.items("parameters"):
        name, value = parameter.text("name") or "", parameter.text("value") or ""
        try:
            helm_values.assign(values, name, value, as_text=bool(parameter.flag("forceString")), files=files)
        except helm_values.ParameterError as error:
            parameter.wrong(str(error))
    return values


def _values_files(helm: Fields, refs: Refs, own: Git | None) -> tuple[list[str], list[Git]]:
    """The values files that can be read, as Windlass writes their paths, and of each the repository that it is in."""
    files, used = [], []
    for index, path in enumerate(helm.texts("valueFiles")):
        name, _, rest = path.removeprefix("$").partition("/")
        git = refs.named.get(name) if path.startswith("$") else own
        if "://" in path or any(character in path for character in "*?["):
            helm.wrong("an address or a pattern: name files of the repository", "valueFiles", index)
        elif git is None and path.startswith("$"):
            helm.wrong(f"there is no source with `ref: {name[:60]}`", "valueFiles", index)
        elif git is None:
            helm.wrong(
                "a file in the chart's own archive: only files of Git repositories are read", "valueFiles", index
            )
        elif own is not None and git.source != own.source:
            helm.wrong("a file of another repository, or of another revision, than the chart's", "valueFiles", index)
        else:
            files.append(f"/{rest.lstrip('/')}" if path.startswith("$") else path)
            used.append(git)
    return files, used


# -- Kustomize ------------------------------------------------------------------------------------------------------


def kustomize(options: Fields) -> KustomizeOptions:
    """What Argo CD lays over a kustomization."""
    for field, why in (
        ("version", "Windlass has one kustomize"),
        ("commonAnnotationsEnvsubst", "there are no variables to put in"),
        ("ignoreMissingComponents", "a component that is missing is an error"),
        ("kubeVersion", "charts inside of a kustomization are not rendered"),
        ("apiVersions", "charts inside of a kustomization are not rendered"),
    ):
        options.lost(field, why)
    options.same("forceCommonLabels", "forceCommonAnnotations")
    found = []
    for index, text in enumerate(options.texts("images")):
        image = overlays.image_of(text)
        if image is None:
            options.wrong("no image such as name=new/name:tag", "images", index)
        else:
            found.append(image)
    labels = options.strings("commonLabels")
    without, templates = options.flag("labelWithoutSelector"), options.flag("labelIncludeTemplates")
    if labels and not without:
        options.wrong("Windlass puts labels on objects and pod templates, not into selectors", "commonLabels")
    objects_only = bool(without) and not templates
    return KustomizeOptions(
        namespace=options.text("namespace"),
        name_prefix=options.text("namePrefix"),
        name_suffix=options.text("nameSuffix"),
        labels={} if objects_only else labels,
        annotations=options.strings("commonAnnotations"),
        images=tuple(found),
        components=options.texts("components"),
        patches=overlays.patches(options.items("patches"))
        + overlays.replicas(options.items("replicas"))
        + overlays.metadata(labels if objects_only else {}, {}),
    )


# -- plain folders and Jsonnet --------------------------------------------------------------------------------------


def _directory(source: Fields, git: Git, here: Source) -> list[Source]:
    directory = source.below("directory")
    inside = [path for path in git.tree.files if _within(path, here.path)] if git.tree is not None else None
    recurse = directory.flag("recurse")
    if not recurse and not any(_name(path) in _NOT_PLAIN for path in _top(inside or [], here.path)):
        _deeper(directory, inside, here.path)
    for field in ("include", "exclude"):
        directory.lost(field, "every manifest of the folder is applied: move apart what isn't to be")
    said = directory.below("jsonnet")
    programs = [path for path in _top(inside or [], here.path) if path.endswith(".jsonnet")]
    if not said and not programs:
        return [here]
    options = _jsonnet(said)
    if inside is None:
        said.wrong("which programs there are is not known without a --checkout: main.jsonnet is assumed")
        programs = [below(here.path, options.file)]
    manifests = any(path.endswith(_MANIFESTS) for path in inside or ())
    made = [_with(here, jsonnet=_with(options, file=_name(path))) for path in programs]
    return [*made, here] if manifests or not made else made


def _deeper(directory: Fields, inside: list[str] | None, folder: str) -> None:
    """Argo CD leaves out the folders below, unless it is told; Windlass never does."""
    why = "without recurse, folders below are left out: Windlass applies what is in them"
    if inside is None:
        directory.report.note(directory.given, (*directory.path, "recurse"), f"{why}, if there are any")
    elif any(path.endswith(_MANIFESTS) for path in set(inside) - set(_top(inside, folder))):
        directory.wrong(why, "recurse")


def _jsonnet(said: Fields) -> JsonnetOptions:
    given: dict[str, dict[str, str]] = {"external": {}, "external_code": {}, "arguments": {}, "arguments_code": {}}
    for field, kind in (("extVars", "external"), ("tlas", "arguments")):
        for variable in said.items(field):
            into = f"{kind}_code" if variable.flag("code") else kind
            given[into][variable.text("name") or ""] = variable.text("value") or ""
    libraries = tuple(f"/{path.lstrip('/')}" for path in said.texts("libs"))
    return _with(JsonnetOptions(libraries=libraries), **given)


def _holds(git: Git, path: str, names: tuple[str, ...]) -> bool:
    return git.tree is not None and any(below(path, name) in git.tree.files for name in names)


def _within(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _top(paths: list[str], folder: str) -> list[str]:
    start = len(folder) + 1 if folder else 0
    return [path for path in paths if "/" not in path[start:]]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _with(document: T, **fields: Any) -> T:
    return msgspec.structs.replace(document, **fields)
