"""Secret values from the environment and from files that are replaced while Windlass runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass.documents.types import SecretRef
from windlass.errors import TransientError
from windlass.secrets import LARGEST, Secrets, describe


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK", "válue")
    assert Secrets().resolve(SecretRef(env="WEBHOOK")) == "válue".encode()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"x", b"x"),
        (b"x\n", b"x"),
        (b"x\r\n", b"x"),
        (b"x\n\n", b"x\n"),
        (b" x ", b" x "),
        (b"x\r", b"x\r"),
        (b"\xff\n", b"\xff"),
    ],
)
def test_a_file_without_the_newline_that_ends_it(tmp_path: Path, content: bytes, value: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    assert Secrets().resolve(SecretRef(file=str(tmp_path / "token"))) == value


@pytest.mark.parametrize("way", ["in place", "renamed over", "linked"])
def test_a_rotated_file_is_used_at_once(tmp_path: Path, way: str) -> None:
    """Also within one tick of the clock, and at the same length."""
    secrets, path = Secrets(), tmp_path / "token"
    for turn in range(100):
        value = b"%03d" % turn
        fresh = path if way == "in place" else tmp_path / f"token{turn}"
        fresh.write_bytes(value)
        if way == "renamed over":
            fresh.rename(path)
        elif way == "linked":
            (tmp_path / "link").symlink_to(fresh.name)
            (tmp_path / "link").rename(path)
        assert secrets.resolve(SecretRef(file=str(path))) == value


def test_a_file_that_does_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"x")
    secrets = Secrets()
    changed = path.stat().st_ctime_ns
    monkeypatch.setattr("windlass.secrets.time.time_ns", lambda: changed + 10**10)
    assert secrets.resolve(SecretRef(file=str(path))) == b"x"
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read again"))
    assert secrets.resolve(SecretRef(file=str(path))) == b"x"


@pytest.mark.parametrize("what", ["missing", "empty", "folder", "pipe", "huge"])
def test_what_is_no_secret_is_an_error_that_names_the_reference(tmp_path: Path, what: str) -> None:
    path = tmp_path / "token"
    if what == "empty":
        path.write_bytes(b"\n")
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "huge":
        path.write_bytes(b"canary" * LARGEST)
    with pytest.raises(TransientError) as caught:
        Secrets().resolve(SecretRef(file=str(path)))
    assert str(path) in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(TransientError, match="env NOT_SET"):
        Secrets().resolve(SecretRef(env="NOT_SET"))
    assert describe(SecretRef(env="NOT_SET")) == "env NOT_SET"
    assert describe(SecretRef(file="/run/x")) == "file /run/x"
