"""Parameters that an import turns into values: what `helm --set` makes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.parts.build import binary
from windlass.importing.helm_values import assign
from windlass.yamls import load_all

pytestmark = pytest.mark.integration

TEMPLATE = "{{ .Values | toYaml }}\n"
PARAMETERS = [
    [("a.b", "1"), ("a.c", "x")],
    [(r"ingress.annotations.kubernetes\.io/tls-acme", "true")],
    [("list[0].name", "x"), ("list[1].name", "y")],
    [("list[1]", "x")],
    [("list", "{a,1,true,b c}")],
    [("list", "{}")],
    [("list", "[]")],
    [("list", "{a,}")],
    [("text", "True"), ("number", "-7"), ("octal", "007"), ("float", "1.5"), ("none", "null"), ("empty", "")],
    [("a", "x"), ("a", "{1}")],
    [(r"escaped", r"a\.b\{c")],
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=lambda parameters: parameters[0][0])
def test_they_are_the_same(tmp_path: Path, parameters: list[tuple[str, str]]) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: values\nversion: 1.0.0\n")
    (tmp_path / "templates/all.yaml").write_text(TEMPLATE)
    made: dict[str, Any] = {}
    sets: list[str] = []
    for name, text in parameters:
        assign(made, name, text, as_text=False, files=False)
        sets += ["--set", f"{name}={text}"]
    (tmp_path / "ours.yaml").write_bytes(orjson.dumps(made))
    outputs = []
    for options in (sets, ["-f", str(tmp_path / "ours.yaml")]):
        command = [binary("helm"), "template", str(tmp_path), *options]
        done = subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(next(load_all(done.stdout.encode())).value)
    assert outputs[0] == outputs[1]
