"""What was edited, as the real kustomize, Helm and SOPS read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.integration.render.test_sops import IDENTITY, RECIPIENT, encrypted
from tests.parts import build
from windlass.documents.editing import Edit
from workers.promote.edit import EditError, NothingToEditError, Wanted, applied, edited

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


def test_kustomize_puts_another_image_in_its_place(tmp_path: Path) -> None:
    """With a tag of its own nothing that a manifest says of the image counts; without one, its tag does."""
    kustomize, wanted = str(build.binary("kustomize")), Wanted(IMAGE, "1.10")
    entry = f"resources: [pod.yaml]\nimages:\n- name: {IMAGE}\n  newName: mirror.example/web\n"
    (tmp_path / "kustomization.yaml").write_text(f"{entry}  newTag: v1\n")
    (tmp_path / "pod.yaml").write_text(POD % f"{IMAGE}:1.10")
    assert images(kustomize, "build", ".", folder=tmp_path) == ["mirror.example/web:v1"]
    names = ("kustomization.yaml", "pod.yaml")
    with pytest.raises(NothingToEditError):
        edited({name: (tmp_path / name).read_bytes() for name in names}, wanted, Edit())
    (tmp_path / "kustomization.yaml").write_text(entry)
    (tmp_path / "pod.yaml").write_text(POD % f"{IMAGE}:v0")
    edit(tmp_path, "pod.yaml", wanted)
    assert images(kustomize, "build", ".", folder=tmp_path) == ["mirror.example/web:1.10"]


VALUES = f"image:\n  repository: {IMAGE}\n  tag: v1\npassword: hush\n"


def test_what_sops_signed_as_a_whole_can_not_be_edited_without_its_keys(tmp_path: Path) -> None:
    data = encrypted(VALUES)
    (tmp_path / "values.yaml").write_bytes(data.replace(b"tag: v1", b"tag: v2"))
    assert b"MAC mismatch" in decrypted(tmp_path).stderr
    with pytest.raises(EditError, match="encrypted by SOPS"):
        edited({"values.yaml": data}, Wanted(IMAGE, "1.10"), Edit())


def test_the_image_beside_what_sops_signed_can_be_edited(tmp_path: Path) -> None:
    (tmp_path / "sops.yaml").write_text(f"creation_rules: [{{age: {RECIPIENT}, mac_only_encrypted: true}}]\n")
    (tmp_path / "values.yaml").write_bytes(encrypted(VALUES, SOPS_CONFIG=str(tmp_path / "sops.yaml")))
    edit(tmp_path, "values.yaml", Wanted(IMAGE, "1.10"))
    assert yaml.safe_load(decrypted(tmp_path).stdout) == yaml.safe_load(VALUES.replace("v1", '"1.10"'))


def decrypted(folder: Path) -> subprocess.CompletedProcess[bytes]:
    command = [str(build.binary("sops")), "decrypt", "values.yaml"]
    environment = {"SOPS_AGE_KEY": IDENTITY, "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


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
