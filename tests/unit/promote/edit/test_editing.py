"""Which fields name an image, in each of the forms that people use; and what is said if none does."""

from __future__ import annotations

import pytest

from windlass.documents.editing import Edit, Field
from workers.promote.edit import EditError, NothingToEditError, Splice, Wanted, applied, edited

WEB = "registry.example/shop/web"
OLD, NEW = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
EVERYWHERE = Edit()
POD = f"apiVersion: v1\nkind: Pod\nspec: {{containers: [{{image: {WEB}:1}}]}}\n"
POLICY = '# {"$imagepolicy": "flux-system:web%s"}'


def edit(
    files: dict[str, str],
    spec: Edit = EVERYWHERE,
    *,
    tag: str = "2.0",
    digest: str = "",
    pin: bool = False,
    image: str = WEB,
) -> dict[str, str]:
    """The files after the edit; nothing is left to do then."""
    wanted, data = Wanted(image, tag, digest, pin), {path: text.encode() for path, text in files.items()}
    after = done(data, edited(data, wanted, spec))
    assert edited(after, wanted, spec) == []
    return {path: text.decode() for path, text in after.items()}


def done(files: dict[str, bytes], splices: list[Splice]) -> dict[str, bytes]:
    return {path: applied(data, [one for one in splices if one.path == path]) for path, data in files.items()}


def values(before: str, after: str, **more: str | bool) -> None:
    assert edit({"values.yaml": before}, **more) == {"values.yaml": after}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"image:\n  repository: {WEB}\n  tag: v1\n", f'image:\n  repository: {WEB}\n  tag: "2.0"\n'),
        ("image: {registry: registry.example, repository: shop/web, tag: 'v1'}",
         "image: {registry: registry.example, repository: shop/web, tag: '2.0'}"),
        (f"image:\n  repository: {WEB}  # no tag\n", f'image:\n  repository: {WEB}  # no tag\n  tag: "2.0"\n'),
        (f"web:\n  image: {WEB}\n  tag: 1\n", f'web:\n  image: {WEB}\n  tag: "2.0"\n'),
        (f"web:\n  name: {WEB}\n  tag: 1\n", f'web:\n  name: {WEB}\n  tag: "2.0"\n'),
        (f"web:\n  name: web\n  image: {WEB}\n  tag: 1\n", f'web:\n  name: web\n  image: {WEB}\n  tag: "2.0"\n'),
        (f"webImage: {WEB}:v1\n", f"webImage: {WEB}:2.0\n"),
        (f"list: ['{WEB}:v1', other:1]\n", f"list: ['{WEB}:2.0', other:1]\n"),
        (f"image: {{repository: {WEB}, tag: v1@{OLD}}}", f'image: {{repository: {WEB}, tag: "2.0"}}'),
        (f"base: &b {{repository: {WEB}, tag: v1}}\nimage:\n  <<: *b\n",
         f'base: &b {{repository: {WEB}, tag: "2.0"}}\nimage:\n  <<: *b\n'),
        (f"a: {{image: {{repository: {WEB}, tag: &v v1}}}}\nb: *v\n",
         f'a: {{image: {{repository: {WEB}, tag: &v "2.0"}}}}\nb: *v\n'),
        (f"a: &i {WEB}:v1\nimage: *i\nimages: [*i, *i]\n", f"a: &i {WEB}:2.0\nimage: *i\nimages: [*i, *i]\n"),
        (f'{{"image":{{"repository":"{WEB}","tag":1}}}}', f'{{"image":{{"repository":"{WEB}","tag":"2.0"}}}}'),
    ],
)  # fmt: skip
def test_helm_values(before: str, after: str) -> None:
    values(before, after)


def test_a_port_is_no_tag() -> None:
    """A host and its port look like a reference of Docker Hub's."""
    values("host: redis:6379\nimage: redis:7\n", "host: redis:6379\nimage: redis:8\n", image="redis", tag="8")


def test_an_image_is_known_by_any_of_its_names() -> None:
    values("image: docker.io/library/redis:7\n", "image: docker.io/library/redis:8\n", image="redis", tag="8")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"image: {WEB}:1@{OLD}", f"image: {WEB}:2.0@{NEW}"),
        (f"image: {WEB}@{OLD}", f"image: {WEB}:2.0@{NEW}"),
        (f"image: {WEB}:1", f"image: {WEB}:2.0"),
        (f"image: {{repository: {WEB}, tag: v1, digest: '{OLD}'}}",
         f"image: {{repository: {WEB}, tag: \"2.0\", digest: '{NEW}'}}"),
        (f"image: {{repository: {WEB}, tag: v1, digest: ''}}", f"image: {{repository: {WEB}, tag: \"2.0\", digest: ''}}"),
    ],
)  # fmt: skip
def test_what_is_pinned_stays_pinned_and_what_is_not_does_not(before: str, after: str) -> None:
    values(before, after, digest=NEW)


def test_a_promotion_that_pins_pins_everything() -> None:
    values(f"image: {WEB}:1", f"image: {WEB}:2.0@{NEW}", digest=NEW, pin=True)
    tag = f"image: {{repository: {WEB}, tag: v1}}"
    values(tag, tag.replace("v1", f"2.0@{NEW}"), digest=NEW, pin=True)


def test_a_digest_that_would_hide_the_new_tag_goes() -> None:
    values(f"image: {WEB}:1@{OLD}", f"image: {WEB}:2.0")
    entry = f"images:\n- name: {WEB}\n  digest: {OLD}\n"
    after = edit({"kustomization.yaml": entry})["kustomization.yaml"]
    assert after == f'images:\n- name: {WEB}\n  newTag: "2.0"\n  digest: ""\n'


def test_every_container_of_every_kind_in_lists_and_many_documents() -> None:
    spec = (
        f"{{initContainers: [{{image: {WEB}:1}}], containers: [{{image: '{WEB}:1'}}, {{image: other:1}}], "
        f"ephemeralContainers: [{{image: {WEB}}}], volumes: [{{image: {{reference: {WEB}:1}}}}]}}"
    )
    text = (
        f"apiVersion: v1\nkind: List\nitems:\n- apiVersion: batch/v1\n  kind: CronJob\n"
        f"  spec: {{jobTemplate: {{spec: {{template: {{spec: {spec}}}}}}}}}\n---\napiVersion: shop.example/v1\nkind: Till\n"
        f"spec: {{image: {WEB}:1, deep: {{containers: [{{image: {WEB}:1}}]}}}}\n"
    )
    after = edit({"all.yaml": text})["all.yaml"]
    assert after == text.replace(f"{WEB}:1", f"{WEB}:2.0").replace(f"{{image: {WEB}}}", f"{{image: {WEB}:2.0}}")


def test_data_is_not_looked_into() -> None:
    data = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{image: '{WEB}:1'}}\n---\n"
    assert edit({"a.yaml": data + POD})["a.yaml"] == data + POD.replace(":1", ":2.0")


def test_kustomize() -> None:
    text = f"# top\r\nimages:\r\n  - name: {WEB}   # c\r\n    newTag: 'v1'\r\n  - {{name: app, newName: {WEB}}}\r\n"
    after = edit({"o/kustomization.yml": text}, digest=NEW, pin=True)["o/kustomization.yml"]
    expected = text.replace("'v1'", f"'2.0'\r\n    digest: {NEW}")
    assert after == expected.replace(f"newName: {WEB}}}", f'newName: {WEB}, newTag: "2.0", digest: {NEW}}}')


def test_what_a_kustomization_overrides_is_left_alone() -> None:
    files = {
        "a/kustomization.yaml": f"images: [{{name: {WEB}, newTag: v1}}]",
        "a/base/pod.yaml": POD,
        "b/pod.yaml": POD,
    }
    after = edit(files)
    assert after["a/base/pod.yaml"] == POD
    assert after["b/pod.yaml"] == POD.replace(":1", ":2.0")


def test_kustomize_by_the_name_that_the_manifests_use() -> None:
    after = edit({"kustomization.yaml": "images:\n- name: web\n"}, Edit(kustomize="web"))["kustomization.yaml"]
    assert after == f'images:\n- name: web\n  newName: {WEB}\n  newTag: "2.0"\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("resources: [a]  # c\n\n# end\n", f'resources: [a]  # c\nimages:\n- name: {WEB}\n  newTag: "2.0"\n\n# end\n'),
        ("images:\r\n- name: b\r\n# c\r\n", f'images:\r\n- name: b\r\n- name: {WEB}\r\n  newTag: "2.0"\r\n# c\r\n'),
        ("images: []\n", f'images: [{{name: {WEB}, newTag: "2.0"}}]\n'),
        ('{"resources":["a"]}', f'{{"resources":["a"], "images": [{{"name": "{WEB}", "newTag": "2.0"}}]}}'),
    ],
)  # fmt: skip
def test_an_entry_is_added_only_if_asked(before: str, after: str) -> None:
    assert edit({"kustomization.yaml": before}, Edit(add=True)) == {"kustomization.yaml": after}
    with pytest.raises(NothingToEditError):
        edit({"kustomization.yaml": before})


def test_markers_as_flux_writes_them() -> None:
    text = (
        f"image: {WEB}:1 {POLICY % ''}\r\ntag: 'v1' {POLICY % ':tag'}\nname: mirror/web {POLICY % ':name'}\n"
        f"digest: {OLD} {POLICY % ':digest'}\nflow: {{a: b, tag: v1}} {POLICY % ':tag'}\n"
        'other: v1 # {"$imagepolicy": "x:y:tag"}\n'
        f"unmarked: {{image: '{WEB}:1'}}\n"
    )
    after = edit({"any.yaml": text, "pod.yaml": POD}, digest=NEW)
    assert after["pod.yaml"] == POD
    assert after["any.yaml"].splitlines() == [
        f"image: {WEB}:2.0 {POLICY % ''}",
        f"tag: '2.0' {POLICY % ':tag'}",
        f"name: {WEB} {POLICY % ':name'}",
        f"digest: {NEW} {POLICY % ':digest'}",
        f'flow: {{a: b, tag: "2.0"}} {POLICY % ":tag"}',
        *text.splitlines()[5:],
    ]


def test_a_marker_is_named_where_no_field_says_which_image_it_marks() -> None:
    text = f"tag: v1 {POLICY % ':tag'}\n"
    assert edit({"a.yaml": text}, Edit(marker="flux-system:web")) == {"a.yaml": text.replace("v1", '"2.0"')}
    with pytest.raises(NothingToEditError):
        edit({"a.yaml": text})


def test_a_marked_digest_needs_one() -> None:
    text = f"image: {WEB}:1 {POLICY % ''}\ndigest: x {POLICY % ':digest'}\n"
    with pytest.raises(EditError, match=r"a\.yaml: digest: .* is not known"):
        edit({"a.yaml": text})


def test_argo_cd() -> None:
    text = (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  sources:\n  - targetRevision: v1\n    kustomize:\n"
        f"      images: ['web={WEB}:v1', {WEB}:v1, other:v1]\n    helm:\n      parameters:\n"
        f"      - {{name: image.repository, value: {WEB}}}\n      - name: image.tag\n        value: v1 # c\n"
        f"      - {{name: other.tag, value: v1}}\n      valuesObject: {{image: {{repository: {WEB}, tag: v1}}}}\n"
    )
    after = edit({"app.yaml": text})["app.yaml"]
    expected = text.replace(f"{WEB}:v1", f"{WEB}:2.0").replace("value: v1 # c", 'value: "2.0" # c')
    assert after == expected.replace("tag: v1}}", 'tag: "2.0"}}')


def test_argo_cds_files_of_overrides() -> None:
    text = f"kustomize:\n  images:\n  - {WEB}:v1\n"
    assert edit({".argocd-source-shop.yaml": text}) == {".argocd-source-shop.yaml": text.replace("v1", "2.0")}


def test_flux_releases_and_kustomizations() -> None:
    release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n"
    release += f"spec: {{values: {{image: {{repository: {WEB}, tag: v1}}}}}}\n"
    kustomization = "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n"
    kustomization += f"spec: {{images: [{{name: {WEB}, newTag: v1}}]}}\n"
    assert edit({"a.yaml": release + kustomization})["a.yaml"] == (release + kustomization).replace("v1}", '"2.0"}')


@pytest.mark.parametrize(
    "text",
    [
        f"web:\n  repository: {WEB}\n  tag: &v v1\napi:\n  repository: registry.example/shop/api\n  tag: *v\n",
        f"d: &d {{tag: v1}}\nweb: {{<<: *d, repository: {WEB}}}\napi: {{<<: *d, repository: registry.example/shop/api}}\n",
        f"image: &i {{repository: {WEB}}}\napi: {{image: {{<<: *i, repository: registry.example/shop/api}}}}\n",
    ],
)
def test_an_image_that_shares_a_value_with_this_one_is_not_moved_along(text: str) -> None:
    with pytest.raises(
        EditError, match=r"^values\.yaml: .*shop/api.* shares a value .* name what is to change in edit\.fields$"
    ):
        edit({"values.yaml": text})


def test_who_names_a_shared_field_means_all_that_share_it() -> None:
    text = f"version: &v v1\nweb: {{repository: {WEB}, tag: *v}}\napi: {{repository: registry.example/shop/api, tag: *v}}\n"
    after = edit({"values.yaml": text}, Edit(fields=(Field("values.yaml", "version"),)))
    assert after == {"values.yaml": text.replace("v1", '"2.0"')}


def test_a_file_whose_checksum_covers_the_image_is_not_broken() -> None:
    text = f"image: {{repository: {WEB}, tag: v1}}\npassword: ENC[AES256_GCM,data:x]\nsops:\n  mac: ENC[AES256_GCM,data:y]\n"
    with pytest.raises(EditError, match=r"^values\.yaml: is encrypted by SOPS"):
        edit({"values.yaml": text})
    values(f"{text}  mac_only_encrypted: true\n", text.replace("v1", '"2.0"') + "  mac_only_encrypted: true\n")
    with pytest.raises(EditError, match="is encrypted by SOPS"):
        edit({"values.yaml": text.replace("v1", "'ENC[AES256_GCM,data:z]'") + "  mac_only_encrypted: true\n"})


def test_what_a_kustomization_replaces_by_another_image_does_not_count() -> None:
    entry = f"images:\n- name: {WEB}\n  newName: mirror.example/web\n"
    with pytest.raises(NothingToEditError, match=r"replaced by another \(k/kustomization\.yaml:2\)"):
        edit({"k/kustomization.yaml": entry + "  newTag: v1\n", "k/base/pod.yaml": POD})
    files = {"k/kustomization.yaml": entry, "k/base/pod.yaml": POD}
    assert edit(files) == files | {"k/base/pod.yaml": POD.replace(":1}", ":2.0}")}
    other = {"k/kustomization.yaml": entry + "  newTag: v1\n", "pod.yaml": POD}
    assert edit(other) == other | {"pod.yaml": POD.replace(":1}", ":2.0}")}


def test_named_fields_are_edited_alone() -> None:
    fields = (
        Field("values.yaml", "web.tag"),
        Field("more/x.yaml", '.p[?(@.name=="tag")].value'),
        Field("values.yaml", "full", "image"),
    )
    files = {
        "values.yaml": f"web: {{tag: 1e3}}\nfull: ''\nimage: {WEB}:1",
        "more/x.yaml": "p: [{name: tag, value: 1}]",
    }
    assert edit(files, Edit(fields=fields)) == {
        "values.yaml": f"web: {{tag: \"2.0\"}}\nfull: '{WEB}:2.0'\nimage: {WEB}:1",
        "more/x.yaml": 'p: [{name: tag, value: "2.0"}]',
    }


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (Field("values.yaml", "web.tagg"), r"values\.yaml: there is no web\.tagg"),
        (Field("values.yaml", "web"), r"values\.yaml: line 1: web is no single value"),
        (Field("nowhere.yaml", "web"), r"nowhere\.yaml: there is no such file"),
        (Field("broken.yaml", "web"), r"broken\.yaml:2: "),
    ],
)
def test_a_named_field_that_is_not_there(field: Field, message: str) -> None:
    with pytest.raises(EditError, match=message):
        edit({"values.yaml": "web: {tag: 1}", "broken.yaml": "{"}, Edit(fields=(field,)))


def test_files_by_pattern_and_hidden_ones_never() -> None:
    files = dict.fromkeys(
        ("a/values-prod.yaml", "a/values-dev.yaml", ".gitlab-ci.yml", ".github/x.yaml", "x.txt"), f"image: {WEB}:1"
    )
    after = edit(files, Edit(files=("*values-prod.yaml",)))
    assert [path for path in files if after[path] != files[path]] == ["a/values-prod.yaml"]
    assert [path for path in files if edit(files)[path] != files[path]] == ["a/values-prod.yaml", "a/values-dev.yaml"]


def test_nothing_to_edit_says_where_it_looked_and_what_is_there() -> None:
    files = {
        "pod.yaml": POD.replace("shop/web", "shop/api"),
        "templates/x.yaml": "{{ if .x }}\nimage: web\n",
        "values.yaml": "a: 1",
    }
    with pytest.raises(NothingToEditError) as caught:
        edit(files)
    assert str(caught.value).startswith(
        f"no field names the image {WEB}: looked at pod.yaml, templates/x.yaml, values.yaml; "
        "images there: registry.example/shop/api:1 (pod.yaml:3); not readable: templates/x.yaml:"
    )


def test_a_chart_that_can_not_be_read_does_not_stop_its_values() -> None:
    files = {"templates/web.yaml": "{{ if .web }}\nimage: {{ .web }}\n", "values.yaml": f"image: {WEB}:1"}
    assert edit(files)["values.yaml"] == f"image: {WEB}:2.0"


def test_what_can_not_be_written_exactly_is_not_written() -> None:
    shared = f"a: {{image: {{repository: {WEB}, tag: &x v1}}}}\nimage: {{repository: {WEB}, tag: !!float 1.0}}\n"
    with pytest.raises(EditError, match=r"values\.yaml: .*more than the image"):
        edit({"values.yaml": shared})


@pytest.mark.parametrize(
    ("image", "tag"), [(WEB, "1\nx: y"), (WEB, '"'), (WEB, ""), ("a b", "1"), (WEB, "$(id)"), (WEB, "a}}")]
)
def test_hostile_names_and_tags_are_no_images(image: str, tag: str) -> None:
    with pytest.raises(EditError, match="no reference of an image"):
        Wanted(image, tag)


def test_a_splice_of_another_file_is_refused() -> None:
    splices = edited({"a.yaml": f"image: {WEB}:1".encode()}, Wanted(WEB, "2"), EVERYWHERE)
    with pytest.raises(EditError, match=r"a\.yaml:1: the file is not the one"):
        applied(b"image: something else entirely, and longer than that", splices)


def test_a_splice_is_told_in_a_line() -> None:
    (splice,) = edited({"a.yaml": f"x: 1\nimage: {WEB}:1".encode()}, Wanted(WEB, "2"), EVERYWHERE)
    assert str(splice) == f"a.yaml:2: image: {WEB}:1 → {WEB}:2"


def test_merges_of_merges_of_merges_are_looked_into_once() -> None:
    """Twice as many ways at every level, and only a few mappings."""
    levels = "\n".join(f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}" for n in range(1, 12))
    text = f"l0: &l0 {{x: 1}}\n{levels}\nimage: {WEB}:v1\n"
    values(text, text.replace(":v1", ":2.0"))


def test_many_images_beyond_ascii_in_one_file() -> None:
    text = "".join(f"é🚀{n}: {{image: '{WEB}:v1', note: ü}}\n" for n in range(500))
    values(text, text.replace(":v1", ":2.0"))
