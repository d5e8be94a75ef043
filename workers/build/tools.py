"""The builders that a machine may have, and what each is told: lists of arguments, never a shell's line.

Sources: buildah-build(1), buildah-push(1), podman-build(1), `docker buildx build`, and BuildKit's `buildctl build`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from windlass.errors import PermanentError


class Order(NamedTuple):
    """What is to be built: ``context`` and ``dockerfile`` are absolute, ``references`` all names that the image gets."""

    context: Path
    dockerfile: Path
    references: Sequence[str]
    labels: Mapping[str, str]
    arguments: Mapping[str, str]
    time: int  # of the commit: that of all layers, where the tool can
    target: str = ""
    platform: str = ""
    insecure: bool = False  # the registry speaks no TLS
    publish: bool = True


class Tool(NamedTuple):
    """``steps``: the commands, in their order, that build (and publish); ``result``, after them: the image's digest."""

    name: str
    steps: Callable[[Order, Path], list[list[str]]]
    digest: Callable[[Path], str]


def find(name: str = "") -> Tool:
    """The builder called ``name``, or the first that this machine has.

    :raises PermanentError: there is none.
    """
    wanted = [tool for tool in TOOLS if name in ("", tool.name)]
    for tool in wanted:
        if shutil.which(tool.name):
            return tool
    raise PermanentError(
        f"no image can be built here: none of {', '.join(tool.name for tool in wanted)} is on the PATH"
    )


def _flags(order: Order) -> list[str]:
    """What buildah, podman and docker call the same."""
    flags = [
        *_each("--tag", order.references),
        *_pairs("--label", order.labels),
        *_pairs("--build-arg", order.arguments),
    ]
    flags += ["--target", order.target] if order.target else []
    flags += ["--platform", order.platform] if order.platform else []
    return [*flags, "--file", str(order.dockerfile)]


def _containers(name: str) -> Tool:
    """buildah and podman: built with the commit's time, pushed one name after another."""

    def steps(order: Order, scratch: Path) -> list[list[str]]:
        build = [name, "build", "--timestamp", str(order.time), "--iidfile", str(scratch / "id"), *_flags(order)]
        commands = [[*build, str(order.context)]]
        trust = ["--tls-verify=false"] if order.insecure else []
        push = [name, "push", *trust, "--digestfile", str(scratch / "digest")]
        return commands + ([[*push, reference] for reference in order.references] if order.publish else [])

    return Tool(name, steps, lambda scratch: _first(scratch / "digest", scratch / "id"))


def _docker_steps(order: Order, scratch: Path) -> list[list[str]]:
    output = "--push" if order.publish else "--load"
    build = ["docker", "buildx", "build", output, "--metadata-file", str(scratch / "metadata")]
    return [[*build, "--build-arg", f"SOURCE_DATE_EPOCH={order.time}", *_flags(order), str(order.context)]]


def _buildctl_steps(order: Order, scratch: Path) -> list[list[str]]:
    options = {"filename": order.dockerfile.name, "target": order.target, "platform": order.platform}
    options |= {f"build-arg:{name}": value for name, value in order.arguments.items()}
    options |= {f"label:{name}": value for name, value in order.labels.items()}
    output = ["type=image", f'"name={",".join(order.references)}"', f"push={str(order.publish).lower()}"]
    output += ["registry.insecure=true"] if order.insecure else []
    return [
        [
            *("buildctl", "build", "--frontend", "dockerfile.v0", "--metadata-file", str(scratch / "metadata")),
            *("--local", f"context={order.context}", "--local", f"dockerfile={order.dockerfile.parent}"),
            *_pairs("--opt", {name: value for name, value in options.items() if value}),
            *("--opt", f"build-arg:SOURCE_DATE_EPOCH={order.time}", "--output", ",".join(output)),
        ]
    ]


class _Metadata(msgspec.Struct):
    digest: str = msgspec.field(name="containerimage.digest", default="")


def _metadata(scratch: Path) -> str:
    return msgspec.json.decode((scratch / "metadata").read_bytes(), type=_Metadata).digest


def _first(*files: Path) -> str:
    return next((file.read_text().strip() for file in files if file.exists()), "")


def _each(flag: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (flag, value)]


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return _each(flag, [f"{name}={value}" for name, value in values.items()])


TOOLS = (
    _containers("buildah"),
    _containers("podman"),
    Tool("docker", _docker_steps, _metadata),
    Tool("buildctl", _buildctl_steps, _metadata),
)

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


def argument(text: str) -> tuple[str, str]:
    """``NAME=VALUE``.

    :raises PermanentError: it is none. A name alone would take its value from this process' environment.
    """
    name, equals, value = text.partition("=")
    if not equals or not _ARGUMENT.match(name):
        raise PermanentError(f"{text[:60]!r}: expected NAME=VALUE")
    return name, value
