"""What is signed is what is read: objects that could be read in two ways are refused before any signature counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.aiogit.errors import GitError
from workers.aiogit.proof import commit_parents, commit_tree
from workers.aiogit.signed_objects import ConfusingObjectError, commit_signature, tag_signature

TREE, PARENT = b"1" * 40, b"2" * 40
PERSON = b"A Developer <developer@shop.example> 1700000000 +0100"
START = b"tree " + TREE + b"\nparent " + PARENT + b"\nauthor " + PERSON + b"\ncommitter " + PERSON + b"\n"
SIGNATURE = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iHUEABYKAB0WIQ\n =abcd\n -----END PGP SIGNATURE-----\n"
SSH = b"gpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n"
CMS = b"gpgsig -----BEGIN SIGNED MESSAGE-----\n MIIE\n -----END SIGNED MESSAGE-----\n"
END = b"\nthe message\n"
MERGETAG = b"mergetag object " + PARENT + b"\n type commit\n tag v1\n tagger " + PERSON + b"\n \n words\n"


@pytest.mark.parametrize(("signature", "kind"), [(SIGNATURE, "gpg"), (SSH, "ssh"), (CMS, "x509"), (b"", None)])
def test_the_kind_of_a_signature_is_told_by_its_armour(signature: bytes, kind: str | None) -> None:
    assert commit_signature(START + signature + END) == kind


@pytest.mark.parametrize(
    "headers",
    [
        SIGNATURE.replace(b"-----END PGP SIGNATURE-----\n", b"-----END PGP SIGNATURE-----\n \n"),  # GitHub's
        b"encoding ISO-8859-1\n" + SIGNATURE,
        MERGETAG + MERGETAG + SIGNATURE,
        b"HG:rename-source hg\nchange-id kzwq\n" + SIGNATURE,
    ],
    ids=["empty line after it", "encoding", "two merged tags", "other tools' headers"],
)
def test_what_git_and_forges_write_is_read(headers: bytes) -> None:
    assert commit_signature(START + headers + END) == "gpg"


def test_a_root_commit_and_an_octopus_are_commits() -> None:
    for parents in (0, 3):
        lines = b"".join(b"parent " + str(number).encode() * 40 + b"\n" for number in range(parents))
        assert commit_signature(START.replace(b"parent " + PARENT + b"\n", lines) + SIGNATURE + END) == "gpg"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (START + SIGNATURE + SIGNATURE + END, "two headers gpgsig"),
        (START + SIGNATURE + b"x-y z\n" + SSH + END, "two headers gpgsig"),
        (START + b"gpgsig-sha256 x\n" + SIGNATURE + END, "gpgsig-sha256"),
        (START + b"gpgsigx tree\n" + SIGNATURE + END, "gpgsigx"),
        (START + b"GPGSIG x\n" + SIGNATURE + END, "GPGSIG"),
        (START + b"tree " + PARENT + b"\n" + SIGNATURE + END, "two headers tree"),
        (b"tree " + PARENT + b"\n" + START + SIGNATURE + END, "does not begin with"),
        (START + b"parent " + TREE + b"\n" + SIGNATURE + END, "header parent|does not begin"),
        (START + b"author " + PERSON + b"\n" + SIGNATURE + END, "two headers author"),
        (START + b"Tree " + PARENT + b"\n" + SIGNATURE + END, "header Tree"),
        (START + b"object " + PARENT + b"\n" + SIGNATURE + END, "header object"),
        (START.replace(b"\nparent", b"\n x\nparent") + SIGNATURE + END, "tree goes on|no object id"),
        (START + b"encoding a\n b\n" + SIGNATURE + END, "encoding goes on"),
        (b" " + START + SIGNATURE + END, "begins with a continued line"),
        (START.replace(TREE, TREE + b"\0") + SIGNATURE + END, "NUL"),
        (START + SIGNATURE + b"\nthe mess\0age\n", "NUL"),
        (START.replace(TREE, TREE.upper().replace(b"1", b"A")) + SIGNATURE + END, "no object id"),
        (START + SIGNATURE, "no end"),
        (START + b"lonely\n" + SIGNATURE + END, "none"),
        (START + b"\ttree x\n" + SIGNATURE + END, "none"),
        (START + SIGNATURE.replace(b"=abcd", b"-----BEGIN SSH SIGNATURE-----") + END, "single whole"),
        (START + SIGNATURE.replace(b"-----END PGP SIGNATURE-----", b"=") + END, "single whole"),
        (START + SIGNATURE.replace(b"SIGNATURE", b"MESSAGE") + END, "not known"),
        (START + b"gpgsig x\n" + END, "not known"),
        (b"", "no end"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(ConfusingObjectError, match=reason):
        commit_signature(raw)


LINES = [
    *START.split(b"\n"),
    *SIGNATURE.split(b"\n"),
    *SSH.split(b"\n"),
    b"tree " + PARENT,
    b" tree " + PARENT,
    b"gpgsig x",
]


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_a_commit_that_is_accepted_has_the_tree_and_parents_that_everybody_reads(lines: list[bytes]) -> None:
    raw = START + b"\n".join(lines) + SIGNATURE + END
    try:
        commit_signature(raw)
    except GitError:
        return
    head = raw.partition(b"\n\n")[0].split(b"\n")
    assert [line for line in head if line.startswith(b"tree ")] == [b"tree " + commit_tree(raw).hex().encode()]
    parents = [line.removeprefix(b"parent ").decode() for line in head if line.startswith(b"parent ")]
    assert parents == [parent.hex() for parent in commit_parents(raw)]
    assert sum(line.lower().startswith(b"gpgsig") for line in head) <= 1


TAG = b"object " + TREE + b"\ntype commit\ntag v1.0\ntagger " + PERSON + b"\n\nfirst release\n"
TAG_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----\n"


def of_tag(raw: bytes) -> str | None:
    return tag_signature(raw, name="v1.0", commit=TREE.decode())


def test_a_tags_signature_is_at_its_end() -> None:
    assert (of_tag(TAG + TAG_SIGNATURE), of_tag(TAG)) == ("gpg", None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (TAG + TAG_SIGNATURE + TAG_SIGNATURE, "two signatures"),
        (TAG + b"-----BEGIN PGP MESSAGE-----\n" + TAG_SIGNATURE, "two signatures"),
        (TAG + TAG_SIGNATURE + b"more words\n", "single whole"),
        (TAG.replace(b"v1.0", b"v0.9") + TAG_SIGNATURE, "made as 'v0.9'"),
        (TAG.replace(TREE, PARENT) + TAG_SIGNATURE, "not one of the commit"),
        (TAG.replace(b"type commit", b"type tag") + TAG_SIGNATURE, "not one of the commit"),
        (TAG.replace(b"tag v1.0", b"tag v1.0\ntag v1.0") + TAG_SIGNATURE, "in this order"),
        (TAG.replace(b"tag v1.0", b"tag v1.0\n x") + TAG_SIGNATURE, "second line"),
        (TAG.replace(b"tagger", b"gpgsig x\ntagger") + TAG_SIGNATURE, "in this order"),
        (TAG.replace(b"first", b"fi\0rst") + TAG_SIGNATURE, "NUL"),
    ],
)
def test_a_tag_that_could_be_taken_for_another_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(ConfusingObjectError, match=reason):
        of_tag(raw)
