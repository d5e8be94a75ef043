"""What was edited, as the real kustomize and the real Helm read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.parts import build
from windlass.documents.editing import Edit
from workers.promote.edit import Wanted, applied, edited

pytestmark = pytest.mark.integration

IMAGE = "registry.example/shop/web"
DIGEST, OLD = "sha256:" + "cd" * 32, "sha256:" + "ab" * 32
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: %s}]}\n"
TAGS = ["1.10", "1e3", "0x10", "2024-01-02", "on", "v1.2.3", "007", "1_000"]
"""What looks like something else to one reader or another."""


def edit(folder: Path, path: str, wanted: Wanted, spec: Edit | None = None) -> None:
    file = folder / path
    data = file.read_bytes()
    file.write_bytes(applied(data, edited({path: data}, wanted, spec or Edit())))


def images(*command: str, folder: Path) -> list[str]:
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return [container["image"] for container in yaml.safe_load(process.stdout)["spec"]["containers"]]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    ("entry", "base"),
    [
        (f"- name: {IMAGE}\n  newTag: v0\n", IMAGE),
        (f"- name: {IMAGE}\n  digest: {OLD}\n", IMAGE),
        (f"- {{name: web, newName: {IMAGE}, newTag: 1.9}}\n", "web"),
        (f"- name: {IMAGE}\n", f"{IMAGE}:v0"),
    ],
)
def test_kustomize(tmp_path: Path, tag: str, entry: str, base: str) -> None:
    (tmp_path / "pod.yaml").write_text(POD % base)
    for wanted, expected in (
        (Wanted(IMAGE, tag), f":{tag}"),
        (Wanted(IMAGE, tag, DIGEST, pin=True), f":{tag}@{DIGEST}"),
    ):
        (tmp_path / "kustomization.yaml").write_text(f"resources: [pod.yaml]\nimages:\n{entry}")
        edit(tmp_path, "kustomization.yaml", wanted)
        assert images(str(build.binary("kustomize")), "build", ".", folder=tmp_path) == [IMAGE + expected]


def test_an_entry_added_to_kustomize(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(POD % "web")
    (tmp_path / "kustomization.yaml").write_text("resources: [pod.yaml]\n# end")
    edit(tmp_path, "kustomization.yaml", Wanted(IMAGE, "1.10"), Edit(add=True, kustomize="web"))
    assert images(str(build.binary("kustomize")), "build", ".", folder=tmp_path) == [f"{IMAGE}:1.10"]


@pytest.mark.parametrize("tag", TAGS)
def test_helm(tmp_path: Path, tag: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\n")
    template = POD % '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"'
    (tmp_path / "templates/pod.yaml").write_text(template)
    (tmp_path / "values.yaml").write_text(f"image:\n  repository: {IMAGE}\n  tag: 1.9\n")
    for wanted, expected in (
        (Wanted(IMAGE, tag), f":{tag}"),
        (Wanted(IMAGE, tag, DIGEST, pin=True), f":{tag}@{DIGEST}"),
    ):
        edit(tmp_path, "values.yaml", wanted)
        assert images(str(build.binary("helm")), "template", "web", ".", folder=tmp_path) == [IMAGE + expected]
