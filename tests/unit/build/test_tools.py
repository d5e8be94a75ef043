"""What each builder is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass.errors import PermanentError
from workers.build import tools
from workers.build.tools import TOOLS, Order, argument

ORDER = Order(
    Path("/files/app"),
    Path("/files/app/Dockerfile"),
    ["registry.example/web:1.0.0", "registry.example/web:abc"],
    {"a": "b"},
    {"VERSION": "1; rm -rf /"},
    1700000000,
    target="final",
    platform="linux/arm64",
)


def commands(name: str, order: Order = ORDER) -> list[list[str]]:
    [tool] = [tool for tool in TOOLS if tool.name == name]
    return tool.steps(order, Path("/scratch"))


@pytest.mark.parametrize("name", ["buildah", "podman"])
def test_buildah_and_podman_build_once_and_push_each_name(name: str) -> None:
    build, *pushes = commands(name)
    assert build[:4] == [name, "build", "--timestamp", "1700000000"]
    assert build[-1] == "/files/app"
    assert [push[-1] for push in pushes] == list(ORDER.references)
    assert not any("tls-verify" in part for push in pushes for part in push)


def test_docker_publishes_with_the_build() -> None:
    [command] = commands("docker")
    assert command[:4] == ["docker", "buildx", "build", "--push"]
    assert commands("docker", ORDER._replace(publish=False))[0][3] == "--load"


def test_buildctl_is_given_both_names_in_one_output() -> None:
    [command] = commands("buildctl")
    assert command[-1] == 'type=image,"name=registry.example/web:1.0.0,registry.example/web:abc",push=true'


@pytest.mark.parametrize("name", [tool.name for tool in TOOLS])
def test_an_argument_is_one_word_whatever_it_holds(name: str) -> None:
    [word] = [part for part in commands(name)[0] if "rm -rf" in part]
    assert word.removeprefix("build-arg:") == "VERSION=1; rm -rf /"


@pytest.mark.parametrize("text", ["HOME", "=x", "a b=c", "--flag=x"])
def test_a_build_argument_has_a_value_of_its_own(text: str) -> None:
    with pytest.raises(PermanentError, match="expected NAME=VALUE"):
        argument(text)


def test_a_machine_without_a_builder_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PermanentError, match="none of buildah, podman, docker, buildctl is on the PATH"):
        tools.find()
