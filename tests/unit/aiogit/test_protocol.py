"""Protocol version 2: what is asked, and which answers are believed."""

import pytest

from workers.aiogit.errors import CommitMissingError, GitError, ProtocolError, RefusedRepositoryError, RemoteError
from workers.aiogit.pktline import FrameReader, Mark
from workers.aiogit.protocol import (
    Capabilities,
    FetchAnswer,
    fetch_request,
    ls_refs_request,
    parse_advertisement,
    parse_refs,
)

COMMIT, TAG = "1" * 40, "2" * 40
ALL = Capabilities(fetch=True, ls_refs=True, object_format="sha1", agent=True)


def advertisement(*lines):
    return [b"# service=git-upload-pack\n", Mark.FLUSH, b"version 2\n", *lines, Mark.FLUSH]


def test_a_version_2_server_tells_what_it_can():
    found = parse_advertisement(
        advertisement(b"agent=git/2.39.5\n", b"ls-refs=unborn\n", b"fetch=shallow filter\n", b"object-format=sha1\n")
    )
    assert found == ALL
    assert found.usable


def test_an_older_server_is_not_asked_by_version_2():
    assert parse_advertisement([b"# service=git-upload-pack\n", Mark.FLUSH, b"1111 HEAD\0multi_ack\n"]) is None
    assert parse_advertisement([]) is None
    assert not parse_advertisement(advertisement(b"ls-refs\n")).usable


def test_a_sha256_repository_is_refused_clearly():
    with pytest.raises(RefusedRepositoryError, match="SHA-256"):
        parse_advertisement(advertisement(b"fetch\n", b"ls-refs\n", b"object-format=sha256\n"))


def test_only_what_was_offered_is_sent():
    bare = Capabilities(fetch=True, ls_refs=True, object_format="", agent=False)
    frames = FrameReader().feed(fetch_request(bare, COMMIT, [TAG]))
    assert frames == [
        b"command=fetch\n", Mark.DELIMITER, b"thin-pack\n", b"no-progress\n", b"ofs-delta\n",
        b"want " + COMMIT.encode() + b"\n", b"have " + TAG.encode() + b"\n", b"done\n", Mark.FLUSH,
    ]  # fmt: skip
    head = FrameReader().feed(ls_refs_request(ALL, "refs/heads/main"))
    assert head[0] == b"command=ls-refs\n"
    assert head[1].startswith(b"agent=windlass/")
    assert head[2:] == [b"object-format=sha1\n", Mark.DELIMITER, b"peel\n", b"ref-prefix refs/heads/main\n", Mark.FLUSH]


def test_exactly_the_ref_that_was_asked_for_counts():
    lines = [f"{TAG} refs/heads/main-2\n".encode(), f"{COMMIT} refs/heads/main\n".encode(), Mark.FLUSH]
    assert parse_refs(lines).get("refs/heads/main") == COMMIT
    assert "refs/heads/mai" not in parse_refs(lines)
    assert parse_refs([Mark.FLUSH]) == {}


def test_an_annotated_tag_is_peeled():
    assert parse_refs([f"{TAG} refs/tags/v1 peeled:{COMMIT}\n".encode()]) == {"refs/tags/v1": COMMIT}


def test_a_ref_without_an_object_id_is_refused():
    with pytest.raises(ProtocolError):
        parse_refs([b"--upload-pack=x refs/heads/main\n"])


def answer(*frames, allowance=1000):
    section = FetchAnswer(allowance)
    return b"".join(section.feed(frames)), section.complete


def test_the_packs_bytes_are_what_band_one_carries():
    assert answer(b"packfile\n", b"\x01PA", b"\x02counting", b"\x01CK", Mark.FLUSH) == (b"PACK", True)
    assert answer(b"packfile\n", b"\x01PA") == (b"PA", False)


def test_acknowledgments_are_passed_over():
    assert answer(b"acknowledgments\n", b"NAK\n", Mark.DELIMITER, b"packfile\n", b"\x01PACK", Mark.FLUSH) == (
        b"PACK",
        True,
    )


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([b"ERR upload-pack: not our ref 1111\n"], CommitMissingError),
        ([b"ERR something else\n"], RemoteError),
        ([b"packfile\n", b"\x03out of memory\n"], RemoteError),
        ([b"packfile\n", b"\x04what"], ProtocolError),
        ([b"packfile\n", Mark.DELIMITER], ProtocolError),
        ([b"packfile\n", Mark.FLUSH, b"more"], ProtocolError),
        ([b"shallow-info\n"], ProtocolError),
        ([b"packfile-uris\n"], ProtocolError),
        ([Mark.FLUSH], ProtocolError),
        ([b"packfile\n", *[b"\x02" + b"x" * 90] * 20], GitError),
    ],
)
def test_any_other_answer_is_an_error(frames, error):
    with pytest.raises(error):
        answer(*frames)


def test_what_a_server_says_is_fit_for_a_log():
    with pytest.raises(RemoteError) as raised:
        answer(b"ERR \x1b[31mred\nline two\r\n" + b"x" * 5000)
    assert "\x1b" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
