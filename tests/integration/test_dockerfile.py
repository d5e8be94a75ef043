"""The image's recipe: linted, and the stage that installs Windlass run here, where no image can be built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import build

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "Dockerfile").read_text()


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage, continued lines joined."""
    text = re.split(r"^FROM ", RECIPE.replace("\\\n", ""), flags=re.MULTILINE)
    (found,) = [part for part in text if part.splitlines()[0].endswith(f" AS {name}")]
    lines = [line for line in found.splitlines()[1:] if line and not line.startswith("#")]
    return [(instruction, rest) for instruction, _, rest in (line.partition(" ") for line in lines)]


def test_the_linter_finds_nothing_to_complain_of() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_installs_runs_without_anything_else(tmp_path: Path) -> None:
    """The stage's own commands, by the lock and its hashes alone, in folders of this test."""
    source, target = tmp_path / "src", tmp_path / "windlass"
    source.mkdir()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for instruction, rest in stage("python"):
        if instruction == "COPY":
            *files, _ = rest.split()
            for file in files:
                copy = shutil.copytree if (ROOT / file).is_dir() else shutil.copy
                copy(ROOT / file, source / file)
        elif instruction == "RUN":
            command = rest.replace("/opt/windlass", str(target)).replace("/tmp/build", str(tmp_path / "build"))
            done = subprocess.run(["sh", "-ec", command], cwd=source, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-2000:]
    shutil.rmtree(source)
    clean = {"PATH": f"{target}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    for arguments in (["--version"], ["worker", "--help"], ["dashboard", "--help"], ["check", "."]):
        done = subprocess.run(["windlass", *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        assert (done.returncode, done.stdout != "") == (1 if arguments[0] == "check" else 0, True), done.stderr
    program = "import service.app, workers.main, windlass.queue.dashboard"
    subprocess.run([target / "bin/python", "-W", "error::ImportWarning", "-c", program], env=clean, check=True)


def test_the_user_has_a_name(tmp_path: Path) -> None:
    """Without one ssh says "No user exists for uid", and no repository over SSH can be fetched."""
    (tmp_path / "etc").mkdir()
    for file in ("passwd", "group"):
        (tmp_path / "etc" / file).write_text(f"root:x:0:{'0:root:/root:/bin/sh' if file == 'passwd' else ''}\n")
    (added,) = re.findall(r"&& useradd (.*?) \\\n", RECIPE)
    command = ["/usr/sbin/useradd", "--prefix", str(tmp_path), *added.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, _, user, group, _, home, _ = (tmp_path / "etc/passwd").read_text().splitlines()[-1].split(":")
    assert re.findall(r"^USER (.*)$", RECIPE, re.MULTILINE)[-1] == f"{user}:{group}"
    assert f"HOME={home} " in RECIPE


def test_the_renderers_are_those_that_the_tests_use() -> None:
    for name in ("helm", "kustomize", "sops"):
        part = build.PARTS[name]
        assert ("COPY", f"tests/parts/go/{part.module} ./") in stage("renderers")
        assert any(part.package in rest and f"/out/{name} " in rest for _, rest in stage("renderers"))
        for variable in part.variables:
            assert f"-X {variable}" in RECIPE


def test_everything_that_is_copied_is_sent_to_the_builder() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    for instruction, rest in [*stage("python"), *stage("renderers")]:
        if instruction == "COPY":
            for file in rest.split()[:-1]:
                assert any(file == entry or file.startswith(f"{entry}/") for entry in sent), file
                assert (ROOT / file).exists()
