"""Images in text that a document holds: Helm values and patches of Argo CD, Flux and Kustomize; byte-exact, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.promote.edit.test_properties import charts, meant, words
from windlass.documents.editing import Edit
from workers.promote.edit import EditError, NothingToEditError, Wanted, applied, edited

WEB = "registry.example/shop/web"
NEW = "sha256:" + "cd" * 32
APP = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n"


def edit(text: str, path: str = "app.yaml", wanted: Wanted | None = None) -> str:
    wanted = wanted or Wanted(WEB, "2.0")
    data = text.encode()
    splices = edited({path: data}, wanted, Edit())
    after = applied(data, splices)
    assert edited({path: after}, wanted, Edit()) == [], "a second time there is nothing left"
    return after.decode()


def changed(before: str, after: str) -> list[tuple[str, str]]:
    """The lines that differ; nothing came or went."""
    one, other = before.splitlines(keepends=True), after.splitlines(keepends=True)
    assert len(one) == len(other)
    return [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]


BLOCK = f"""{APP}  source:
    helm:
      values: |{{header}}
        # the shop's values

        image:
          repository: {WEB}   # ours
          tag: v1 # set by promotion
        sidecar: {{{{image: other.example/x:v1}}}}

          # odd comment
        more: "v1"
  destination: {{{{}}}}
"""


@pytest.mark.parametrize("header", ["", "-", "+", " # comment", "8"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_values_in_a_block_keep_every_other_byte(header: str, newline: str) -> None:
    text = BLOCK.format(header=header.replace("8", "2")).replace("\n", newline)
    assert changed(text, edit(text)) == [
        (f"          tag: v1 # set by promotion{newline}", f'          tag: "2.0" # set by promotion{newline}')
    ]


def test_several_images_in_one_text() -> None:
    text = f"{APP}  sources:\n  - helm:\n      values: |\n        a: {{repository: {WEB}, tag: v1}}\n        image: {WEB}:v0\n"
    assert edit(text) == text.replace("tag: v1", 'tag: "2.0"').replace("web:v0", "web:2.0")


def test_a_tag_that_is_missing_is_added_on_a_line_of_its_own() -> None:
    text = f"{APP}  source:\n    helm:\n      values: |\n        image:\n          repository: {WEB}\n        x: 1\n"
    assert edit(text) == text.replace(f"{WEB}\n", f'{WEB}\n          tag: "2.0"\n')


@pytest.mark.parametrize(
    ("written", "after"),
    [
        (json.dumps(f"image:\n  repository: {WEB}\n  tag: v1\n"), rf'image:\n  repository: {WEB}\n  tag: \"2.0\"\n'),
        (f'"\\u0069mage: {{repository: \\"{WEB}\\", tag: v1}}\\t# \\x41"',
         r'\u0069mage: {repository: \"WEB\", tag: \"2.0\"}\t# \x41'.replace("WEB", WEB)),
        (f"'image: {{repository: ''{WEB}'', tag: ''v1''}}'", f"image: {{repository: ''{WEB}'', tag: ''2.0''}}"),
    ],
)  # fmt: skip
def test_values_in_quotes_are_escaped_as_they_were(written: str, after: str) -> None:
    text = f"{APP}  source: {{helm: {{values: {written}, releaseName: x}}}}\n"
    assert edit(text) == text.replace(written, written[0] + after + written[0])


def test_json_holds_text_too() -> None:
    values = json.dumps({"image": {"repository": WEB, "tag": "v1"}})
    source = {"source": {"helm": {"values": values}}}
    text = json.dumps({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "spec": source})
    assert json.loads(json.loads(edit(text))["spec"]["source"]["helm"]["values"])["image"]["tag"] == "2.0"


@pytest.mark.parametrize(
    "style",
    [
        ">\n        image:\n\n          repository: %s\n          tag: v1\n",
        '"image: {repository: %s,\n        tag: v1}"\n',
    ],
)
def test_folded_text_is_refused_with_its_place(style: str) -> None:
    text = f"{APP}  source:\n    helm:\n      values: {style % WEB}"
    with pytest.raises(
        EditError, match=r"app.yaml: line 6: text that is folded can't be edited exactly; write it after |"
    ):
        edit(text)


def test_values_that_an_object_outweighs_do_not_count() -> None:
    text = f"{APP}  source:\n    helm:\n      valuesObject: {{x: 1}}\n      values: |\n        image: {WEB}:v1\n"
    with pytest.raises(NothingToEditError):
        edit(text)


@pytest.mark.parametrize("value", ["|\n        {{ not yaml", "7", "''", "|\n        just text web:v1"])
def test_what_is_no_yaml_names_nothing(value: str) -> None:
    with pytest.raises(NothingToEditError):
        edit(f"{APP}  source:\n    helm:\n      values: {value}\n# web\n")


SMP = f"""      apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: web}}
      spec:
        template:
          spec:
            containers:
            - name: web
              image: {WEB}:v1 # ours
            - {{name: x, image: other:v1}}
"""
JSON6902 = f"""      - op: replace
        path: /spec/template/spec/containers/0/image
        value: {WEB}:v1
      - {{op: add, path: /spec/template/spec/containers/-, value: {{name: b, image: "{WEB}:v1"}}}}
      - op: add
        path: /spec/template/spec/initContainers
        value: [{{name: i, image: '{WEB}:v1'}}]
      - op: test
        path: /spec/template/spec/containers/0/image
        value: {WEB}:v1
      - op: replace
        path: /metadata/annotations/note
        value: {WEB}:v1
"""


class TestPatches:
    """Wherever kustomizations hold them as text."""

    @pytest.mark.parametrize("patch", [SMP, JSON6902])
    @pytest.mark.parametrize(
        ("path", "before"),
        [
            ("kustomization.yaml", "resources: [x.yaml]\npatches:\n- target: {kind: Deployment}\n  patch: |-\n"),
            ("kustomization.yaml", "patchesJson6902:\n- target: {kind: Deployment}\n  patch: |\n"),
            ("app.yaml", f"{APP}  source:\n    kustomize:\n      patches:\n      - patch: |-\n"),
            (
                "f.yaml",
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  patches:\n  - patch: |\n",
            ),
        ],
    )
    def test_what_they_set_is_edited(self, path: str, before: str, patch: str) -> None:
        text = before + patch.replace("\n      ", "\n         ").replace("      ", "         ", 1)
        lines = [(old.strip(), new.strip()) for old, new in changed(text, edit(text, path))]
        if patch is SMP:
            assert lines == [(f"image: {WEB}:v1 # ours", f"image: {WEB}:2.0 # ours")]
        else:
            assert len(lines) == 3, "neither what is tested, nor an annotation"
            assert lines[0] == (f"value: {WEB}:v1", f"value: {WEB}:2.0")
            assert all(new == old.replace("v1", "2.0") for old, new in lines)

    def test_the_older_list_of_texts(self) -> None:
        text = "patchesStrategicMerge:\n- other.yaml\n- |-\n" + SMP
        assert edit(text, "kustomization.yaml") == text.replace(f"{WEB}:v1", f"{WEB}:2.0")

    def test_an_entry_of_images_counts_more(self) -> None:
        text = f"images: [{{name: {WEB}, newTag: v1}}]\npatches:\n- patch: |-\n" + SMP
        assert edit(text, "kustomization.yaml") == text.replace("newTag: v1", 'newTag: "2.0"')

    def test_a_digest_stays_one(self) -> None:
        old = "sha256:" + "ab" * 32
        text = f"{APP}  source:\n    kustomize:\n      patches:\n      - patch: |-\n" + SMP.replace(
            "      ", "         ", 1
        ).replace("\n      ", "\n         ").replace(":v1 # ours", f":v1@{old} # ours")
        assert f"{WEB}:2.0@{NEW} # ours" in edit(text, wanted=Wanted(WEB, "2.0", NEW))


embedded = st.sampled_from(["|", "|-", "|+", '"', "'"])


@given(charts, embedded, st.sampled_from([None, "'", '"']), st.sampled_from(["\n", "\r\n"]), words)
def test_edit_of_a_text_is_the_edit_of_its_values(
    chart: dict[str, Any], outer: str, inner: str | None, newline: str, other: str
) -> None:
    """For all values, however they are written and held: what Argo CD reads is what was meant, and nothing else moved."""
    options = {"allow_unicode": True, "sort_keys": False, "width": 1 << 30, "default_style": inner}
    values = yaml.dump(chart, Dumper=yaml.CSafeDumper, default_flow_style=outer == "'", **options)
    if outer == '"':
        held = json.dumps(values, ensure_ascii=False)
    elif outer == "'":
        held = "'" + values.strip().replace("'", "''") + "'"
    else:
        held = f"{outer}\n" + "".join(f"        {line}\n" for line in values.splitlines()) + "        # end"
    note = json.dumps(other, ensure_ascii=False)
    text = f"{APP}  source:\n    helm:\n      values: {held}\n  note: {note}\n".replace("\n", newline)
    wanted = Wanted("registry.example/shop/web", "1.10")
    try:
        splices = edited({"a.yaml": text.encode()}, wanted, Edit())
    except NothingToEditError:
        assert meant([chart], wanted) == [chart]
        return
    after = applied(text.encode(), splices)
    spec = yaml.load(after, Loader=yaml.CSafeLoader)["spec"]
    assert yaml.load(spec["source"]["helm"]["values"], Loader=yaml.CSafeLoader) == meant([chart], wanted)[0]
    assert spec["note"] == yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["note"]
    assert edited({"a.yaml": after}, wanted, Edit()) == []
