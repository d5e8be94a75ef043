"""Which files a kustomization reads, and those that it builds upon, found without running it. Pure: a tree in, paths out.

What must hold: every file that `kustomize build` would read is found here, or it is not written and kustomize fails; what leads
out of the repository, or runs something, is refused with file and line. The fields are those of kustomize 5's types.Kustomization
(https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/). Keys are compared as Go's JSON decoder does it, without
regard to case: kustomize would follow `Resources` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from windlass.yamls import Parsed, Path, YamlError, load_all
from workers.render.commit_tree import CommitTree, RenderError, join

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MAX_FILES = 5_000
MAX_DEPTH = 64
"""Bases of bases."""

_REFUSED = {
    "helmCharts": "charts inside of a kustomization are not rendered: make the chart an application, or vendor its objects",
    "helmChartInflationGenerator": "charts inside of a kustomization are not rendered",
    "helmGlobals": "charts inside of a kustomization are not rendered",
}
_BASES = ("resources", "bases", "components")
_FILES = ("crds", "configurations")
_PLUGINS = ("generators", "transformers", "validators")
_FUNCTIONS = ("config.kubernetes.io/function", "config.k8s.io/function")


class Closure(NamedTuple):
    """All that a kustomization reads: files by path, and names that must stay absent for it to mean the same."""

    files: dict[str, str]  # path -> blob id
    absent: tuple[str, ...]
    secret: frozenset[str] = frozenset()  # those that become values of Secrets

    @property
    def inputs(self) -> dict[str, str]:
        return {**self.files, **dict.fromkeys(self.absent, "")}


def find(tree: CommitTree, folder: str) -> str | None:
    """The path of the folder's kustomization file; None: it has none.

    :raises RenderError: it has several, of which kustomize takes none.
    """
    found = [path for name in NAMES if tree.is_file(path := _below(folder, name))]
    if len(found) > 1:
        raise RenderError(f"stands beside {found[0]}: kustomize takes one of them only", found[1])
    return found[0] if found else None


def resolve(tree: CommitTree, *folders: str) -> Closure:
    """What the kustomizations in ``folders`` read, bases and components in other folders included.

    :raises RenderError: with file and line: something is missing, leads out of the repository, is not plain data, or
        builds upon itself.
    """
    resolver = _Resolver(tree)
    for folder in folders:
        resolver.folder(folder, ())
    return Closure(resolver.files, tuple(resolver.absent), frozenset(resolver.secret))


def names_of(folder: str) -> list[str]:
    """The paths that decide what ``folder`` is to kustomize."""
    return [_below(folder, name) for name in NAMES]


class _Text(NamedTuple):
    """A document, and where it is from: ``folder`` is what its paths are relative to; ``inline`` the line of the field that
    holds it."""

    value: dict[str, Any]
    parsed: Parsed
    file: str
    folder: str
    inline: int = 0

    def wrong(self, at: Path, message: str) -> RenderError:
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:63]}" for step in at).lstrip(".")
        return RenderError(f"{field}: {message}" if field else message, self.file, self.line(at))

    def line(self, at: Path) -> int:
        return self.inline or self.parsed.line_of(at)


class _Resolver:
    def __init__(self, tree: CommitTree) -> None:
        self.tree = tree
        self.files: dict[str, str] = {}
        self.absent: dict[str, None] = {}
        self.secret: set[str] = set()
        self._done: set[str] = set()

    def folder(self, folder: str, chain: tuple[str, ...]) -> None:
        """Follow the kustomization in ``folder``; ``chain`` are the folders that led here."""
        if folder in chain:
            loop = " -> ".join(f"{step or '/'}" for step in (*chain[chain.index(folder) :], folder))
            raise RenderError(f"the kustomization builds upon itself: {loop}", self._file_of(folder))
        if folder in self._done:
            return
        if len(chain) >= MAX_DEPTH:
            raise RenderError(f"more than {MAX_DEPTH} kustomizations build upon each other", self._file_of(folder))
        file = self._file_of(folder)
        self.absent.update((path, None) for path in names_of(folder) if path != file)
        self._add(file)
        for text in self._documents(self.tree.read(file), file, folder):
            self._follow(text, (*chain, folder))
        self._done.add(folder)

    def _file_of(self, folder: str) -> str:
        file = find(self.tree, folder)
        if file is None:
            raise RenderError(f"has none of {', '.join(NAMES)}", folder or "/")
        return file

    def _add(self, path: str) -> None:
        self.files[path] = self.tree.oid(path)
        if len(self.files) > MAX_FILES:
            raise RenderError(f"a kustomization reads more than {MAX_FILES} files", path)

    def _documents(self, data: bytes, file: str, folder: str, inline: int = 0) -> Iterator[_Text]:
        try:
            for parsed in load_all(data):
                if not isinstance(parsed.value, dict):
                    raise RenderError("expected a mapping", file, inline or parsed.line)
                yield _Text(parsed.value, parsed, file, folder, inline)
        except YamlError as error:
            raise RenderError(error.message, file, inline or error.line) from None

    def _follow(self, text: _Text, chain: tuple[str, ...]) -> None:
        """Everything that one kustomization file names."""
        for field, reason in _REFUSED.items():
            for at, value in _fields(text.value, field, ()):
                if value:
                    raise text.wrong(at, reason)
        for field in _BASES:
            for at, entry in self._entries(text, field):
                self._base(text, at, entry, chain, folder_only=field != "resources")
        for field in _FILES:
            for at, entry in self._entries(text, field):
                self._file(text, at, entry)
        for field in _PLUGINS:
            for at, entry in self._entries(text, field):
                self._plugin(text, at, entry, chain)
        self._patches(text)
        self._generators(text)

    def _generators(self, text: _Text) -> None:
        for field in ("configMapGenerator", "secretGenerator"):
            for at, generator in _mappings(text, field, ()):
                self._generator(text, at, generator, secret=field == "secretGenerator")

    def _patches(self, text: _Text) -> None:
        for field in ("patches", "patchesJson6902", "replacements"):
            for at, patch in _mappings(text, field, ()):
                self._path_of(text, at, patch)
        for at, openapi in _fields(text.value, "openapi", ()):
            self._path_of(text, at, openapi)
        for at, entry in self._entries(text, "patchesStrategicMerge"):
            self._file_or_inline(text, at, entry)

    def _generator(self, text: _Text, within: Path, generator: Any, *, secret: bool) -> None:
        """The files of a configMapGenerator or secretGenerator: `path` or `key=path`."""
        entries = [(at, entry.partition("=")[2] or entry) for at, entry in _texts(text, generator, "files", within)]
        entries += _texts(text, generator, "envs", within)
        entries += [(at, env) for at, env in _fields(generator, "env", within) if isinstance(env, str) and env]
        for at, entry in entries:
            path = self._file(text, at, entry)
            if secret:
                self.secret.add(path)

    def _path_of(self, text: _Text, within: Path, holder: Any) -> None:
        for at, path in _fields(holder, "path", within):
            if isinstance(path, str) and path:
                self._file(text, at, path)

    def _entries(self, text: _Text, field: str) -> Iterator[tuple[Path, str]]:
        return _texts(text, text.value, field, ())

    # -- what an entry leads to -----------------------------------------------------------------------------------

    def _base(self, text: _Text, at: Path, entry: str, chain: tuple[str, ...], *, folder_only: bool) -> None:
        path = self._lead(text, at, entry)
        if not folder_only and self.tree.is_file(path):
            self._below(text, at, path)
            self._add(path)
        elif not self.tree.is_folder(path):
            raise text.wrong(at, _missing(entry, path))
        elif find(self.tree, path) is None:
            raise text.wrong(at, f"{path or '/'} has none of {', '.join(NAMES)}")
        else:
            self.folder(path, chain)

    def _file(self, text: _Text, at: Path, entry: str) -> str:
        path = self._lead(text, at, entry)
        if not self.tree.is_file(path):
            raise text.wrong(at, _missing(entry, path))
        self._below(text, at, path)
        self._add(path)
        return path

    def _file_or_inline(self, text: _Text, at: Path, entry: str) -> bool:
        """Follow the file, if it is one; True: the entry is itself the document, as kustomize has it."""
        path = join(text.folder, entry) if "\n" not in entry and not entry.startswith("/") else None
        if (path is None or not self.tree.is_file(path)) and _is_mapping(entry):
            return True
        self._file(text, at, entry)
        return False

    def _plugin(self, text: _Text, at: Path, entry: str, chain: tuple[str, ...]) -> None:
        """A generator, transformer or validator: a file or folder of plugins' configurations, or one of them."""
        path = join(text.folder, entry) if "\n" not in entry and not entry.startswith("/") else None
        if path is not None and self.tree.is_folder(path):
            before = set(self.files)
            self.folder(path, chain)
            for file in [file for file in self.files if file not in before or file.startswith(f"{path}/")]:
                if file not in names_of(file.rpartition("/")[0]):
                    self._configurations(self.tree.read(file), file, text.folder, strict=False)
        elif self._file_or_inline(text, at, entry):
            self._configurations(entry.encode(), text.file, text.folder, inline=text.line(at))
        elif path is not None:
            self._configurations(self.tree.read(path), path, text.folder)

    def _configurations(self, data: bytes, file: str, folder: str, *, inline: int = 0, strict: bool = True) -> None:
        """Builtin plugins are configured like the fields of a kustomization; all others would run something."""
        try:
            found = list(self._documents(data, file, folder, inline))
        except RenderError:
            if strict:
                raise
            return  # a file of another kind, such as a generator's
        for text in found:
            metadata = text.value.get("metadata")
            annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
            if isinstance(annotations, dict) and any(name in annotations for name in _FUNCTIONS):
                raise text.wrong(("metadata", "annotations"), "functions are not run: only builtin plugins")
            if text.value.get("apiVersion") != "builtin":
                if strict:
                    raise text.wrong(("apiVersion",), "plugins are not run: only builtin ones")
                continue
            if text.value.get("kind") == "HelmChartInflationGenerator":
                raise text.wrong(("kind",), _REFUSED["helmCharts"])
            self._generator(text, (), text.value, secret=text.value.get("kind") == "SecretGenerator")
            self._path_of(text, (), text.value)
            for at, entry in self._entries(text, "paths"):
                self._file_or_inline(text, at, entry)
            for at, replacement in _mappings(text, "replacements", ()):
                self._path_of(text, at, replacement)

    def _lead(self, text: _Text, at: Path, entry: str) -> str:
        """The path in the repository that an entry names."""
        if entry.startswith("/"):
            raise text.wrong(at, "is an absolute path: expected one relative to this file's folder")
        path = join(text.folder, entry)
        if path is None:
            raise text.wrong(at, "leads out of the repository")
        return path

    def _below(self, text: _Text, at: Path, path: str) -> None:
        """kustomize reads files of its own folder only; other folders are bases."""
        if text.folder and not path.startswith(f"{text.folder}/"):
            raise text.wrong(
                at, f"{path} is not in or below {text.folder}: kustomize reads other folders as bases only"
            )


def _fields(holder: Any, name: str, within: Path) -> Iterator[tuple[Path, Any]]:
    """The values of the field, however it is capitalized."""
    if isinstance(holder, dict):
        wanted = name.casefold()
        for key, value in holder.items():
            if key.casefold() == wanted:
                yield (*within, key), value


def _items(text: _Text, holder: Any, name: str, within: Path) -> Iterator[tuple[Path, Any]]:
    for at, value in _fields(holder, name, within):
        if value is None:
            continue
        if not isinstance(value, list):
            raise text.wrong(at, "expected a list")
        for index, item in enumerate(value):
            yield (*at, index), item


def _texts(text: _Text, holder: Any, name: str, within: Path) -> Iterator[tuple[Path, str]]:
    for at, item in _items(text, holder, name, within):
        if not isinstance(item, str) or not item:
            raise text.wrong(at, "expected text")
        yield at, item


def _mappings(text: _Text, name: str, within: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for at, item in _items(text, text.value, name, within):
        if not isinstance(item, dict):
            raise text.wrong(at, "expected a mapping")
        yield at, item


def _is_mapping(entry: str) -> bool:
    try:
        return all(isinstance(parsed.value, dict | list) for parsed in load_all(entry.encode()))
    except YamlError:
        return "\n" in entry  # it was meant to be one: kustomize says what is wrong with it


def _missing(entry: str, path: str) -> str:
    host, slash, _ = entry.partition("/")
    if "://" in entry or "?" in entry or "::" in entry or "@" in host or (slash and "." in host.strip(".")):
        return f"there is no {path[:200]} in this commit, and what is remote is never read"
    return f"there is no {path or '/'} in this commit"


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
