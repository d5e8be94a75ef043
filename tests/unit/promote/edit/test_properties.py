"""Edit, then parse, is parse, then edit; what isn't the image keeps its bytes; a second time there is nothing left to do.

What an edit means is said here once more, on values and in the plainest way, and compared.
"""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from windlass.documents.editing import Edit
from windlass.images import parse_image
from windlass.yamls import YamlError, load_all
from workers.promote.edit import EditError, NothingToEditError, Wanted, applied, edited

IMAGE, OTHER = "registry.example/shop/web", "registry.example/shop/api"
DIGEST = "sha256:" + "ab" * 32
EVERYWHERE = Edit()

tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,6}", fullmatch=True) | st.sampled_from(
    ["1.10", "1e3", "on", "0x1", "1_0"]
)
words = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"), max_size=8
)
noise = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
references = st.builds(
    lambda name, tag, digest: name + (f":{tag}" if tag else "") + digest,
    st.sampled_from([IMAGE, OTHER, "web"]), st.just("") | tags, st.sampled_from(["", "", f"@{DIGEST}"]),
)  # fmt: skip
containers = st.lists(st.fixed_dictionaries({"name": words, "image": references}, optional={"x": noise}), max_size=3)
objects = st.builds(
    lambda kind, first, more, extra: {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"annotations": {"note": IMAGE}},
        "spec": {"template": {"spec": {"initContainers": first, "containers": more}}, "extra": extra},
    },
    st.sampled_from(["Deployment", "Thing"]), containers, containers, noise,
)  # fmt: skip
images = st.fixed_dictionaries(
    {"repository": st.sampled_from([IMAGE, OTHER]), "tag": tags | st.just("")},
    optional={"digest": st.sampled_from(["", DIGEST]), "pullPolicy": words},
)
charts = st.fixed_dictionaries(
    {"replicas": st.integers(0, 9)},
    optional={"image": images, "web": st.fixed_dictionaries({"image": images}), "more": noise},
)
documents = st.lists(objects | charts, min_size=1, max_size=3)
wants = st.builds(
    lambda tag, digest, pin: Wanted(IMAGE, tag, digest, pin and bool(digest)),
    tags, st.sampled_from(["", "sha256:" + "cd" * 32]), st.booleans(),
)  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Documents as somebody may have written them: styles, comments, line ends, a byte order mark."""
    text = yaml.dump_all(
        draw(documents), Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False, width=1 << 30,
        explicit_start=True, indent=draw(st.sampled_from([2, 4])),
        default_style=draw(st.sampled_from([None, "'", '"'])), default_flow_style=draw(st.sampled_from([False, None, True])),
    )  # fmt: skip
    comment, lines = draw(st.sampled_from(["", "  # comment", " # a: b, [c"])), text.split("\n")
    plain = [
        line + comment if line and line[-1] not in "|>-" and not line.startswith("---") else line for line in lines
    ]
    joined = draw(st.sampled_from(["\n", "\r\n"])).join(plain if comment and _is_whole(text) else lines)
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + joined.encode()


def _is_whole(text: str) -> bool:
    """Every value on one line: a comment after it is one."""
    return all(line.count("'") % 2 == 0 and line.count('"') % 2 == 0 for line in text.split("\n"))


def read(data: bytes) -> list[Any]:
    return [parsed.value for parsed in load_all(data)]


def meant(value: Any, wanted: Wanted) -> Any:
    """The edit, on values."""
    value = copy.deepcopy(value)
    for one in value:
        if isinstance(one, dict) and "kind" in one:
            spec = one["spec"]["template"]["spec"]
            for container in spec["initContainers"] + spec["containers"]:
                container["image"] = reference(container["image"], wanted)
        elif isinstance(one, dict):
            for holder in (one, one.get("web", {})):
                if "image" in holder and holder["image"]["repository"] == IMAGE:
                    pair(holder["image"], wanted)
    return value


def reference(text: Any, wanted: Wanted) -> Any:
    found = parse_image(text) if isinstance(text, str) else None
    if found is None or found.written != IMAGE:
        return text
    digest = wanted.digest if wanted.pin or found.digest else ""
    return f"{IMAGE}:{wanted.tag}" + (f"@{digest}" if digest else "")


def pair(image: dict[str, Any], wanted: Wanted) -> None:
    digest = wanted.digest if wanted.pin or image.get("digest") else ""
    image["tag"] = wanted.tag
    if "digest" in image:
        image["digest"] = digest
    elif digest:
        image["tag"] += f"@{digest}"


@given(files(), wants)
def test_edit_then_parse_is_parse_then_edit(data: bytes, wanted: Wanted) -> None:
    try:
        before = read(data)
    except YamlError:
        return  # the dumper quotes less than our reader needs: a key is there twice, a number is none
    try:
        splices = edited({"f.yaml": data}, wanted, EVERYWHERE)
    except NothingToEditError:
        assert meant(before, wanted) == before
        return
    after = applied(data, splices)
    assert read(after) == meant(before, wanted)
    assert edited({"f.yaml": after}, wanted, EVERYWHERE) == []


@given(files(), wants)
def test_what_is_not_the_image_keeps_its_bytes(data: bytes, wanted: Wanted) -> None:
    try:
        splices = edited({"f.yaml": data}, wanted, EVERYWHERE)
    except NothingToEditError:
        return
    after, shift = applied(data, splices), 0
    back = []
    for splice in sorted(splices, key=lambda one: one.start):
        assert data[splice.start : splice.start + len(splice.old)] == splice.old
        assert len(splice.old) <= len(IMAGE) + 200
        assert b"\n" not in splice.old
        back.append(splice._replace(start=splice.start + shift, old=splice.new, new=splice.old))
        shift += len(splice.new) - len(splice.old)
    assert applied(after, back) == data
    assert len(after) == len(data) + shift


TOKENS = [
    IMAGE, f"{IMAGE}:1", "image: ", "tag: ", "repository: ", "- ", "  ", "\n", "\r\n", "{", "}", "[", "]", ", ", "&a ", "*a", "'",
    '"', "|\n", "containers:", "images:", "newTag: ", "name: ", '# {"$imagepolicy": "a:b:tag"}', "---\n", "<<: ", "? ", ": ",
    "apiVersion: v1\n", "kind: Pod\n", "!!str ", "\ufeff", "é", "patches:\n- patch: |\n  ", "helm:\n  values: |-\n   ",
]  # fmt: skip
anything = st.lists(st.sampled_from(TOKENS), max_size=30).map(lambda parts: "".join(parts).encode())
paths = st.sampled_from(["f.yaml", "kustomization.yaml", ".argocd-source.yaml"])


@given(st.binary(max_size=200) | anything, paths)
@example(f"images:\n- name: {IMAGE}".encode(), "kustomization.yaml")
@example(f"image: &a {IMAGE}:1\ntag: *a".encode(), "f.yaml")
def test_whatever_a_file_holds_it_is_edited_exactly_or_not_at_all(data: bytes, path: str) -> None:
    wanted = Wanted(IMAGE, "1.10", DIGEST, pin=True)
    try:
        splices = edited({path: data}, wanted, Edit(add=path == "kustomization.yaml"))
    except EditError:
        return
    after = applied(data, splices)
    assert edited({path: after}, wanted, EVERYWHERE) == []
    if splices:
        read(after)


parts = {
    "repository": st.sampled_from([IMAGE, OTHER, "*name"]),
    "tag": st.sampled_from(["v1", "*version", '""']),
    "digest": st.sampled_from([DIGEST, "*version", '""']),
}


@st.composite
def shared(draw: st.DrawFn) -> bytes:
    """Values whose parts are shared by anchors, aliases and merges."""
    lines = ["version: &version v1", f"name: &name {IMAGE}"]
    for number in range(draw(st.integers(2, 4))):
        lines.append(f"k{number}: &k{number}")
        if number and draw(st.booleans()):
            lines.append(f"  <<: *k{draw(st.integers(0, number - 1))}")
        some = draw(st.sets(st.sampled_from(sorted(parts))))
        lines += [f"  {key}: {draw(parts[key])}" for key in sorted(some)] + ["  end: 0"]
    return "\n".join(lines).encode()


def named_images(value: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The images that a chart reads, by their keys, aliases and merges followed."""
    return {
        key: tuple(one.get(part) for part in ("repository", "tag", "digest"))
        for key, one in value.items()
        if isinstance(one, dict) and "repository" in one
    }


@given(shared(), wants)
def test_whatever_is_shared_no_other_image_is_moved_along(data: bytes, wanted: Wanted) -> None:
    try:
        before = named_images(read(data)[0])
        after = named_images(read(applied(data, edited({"f.yaml": data}, wanted, EVERYWHERE)))[0])
    except (YamlError, EditError):
        return
    for key, image in before.items():
        if image[0] != IMAGE:
            assert after[key] == image
        elif any(image[1:]):
            assert after[key][:2] in {(IMAGE, wanted.tag), (IMAGE, f"{wanted.tag}@{wanted.digest}")}
