"""One JSON object a line on standard error, from our own events and from libraries alike; no event ends the work."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from windlass import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_a_json_object_with_what_was_bound(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    with structlog.contextvars.bound_contextvars(event_id="e1"):
        structlog.get_logger("a").info("push.received", source="shop")
    (line,) = lines(capsys)
    assert (line["event"], line["source"], line["event_id"], line["level"]) == ("push.received", "shop", "e1", "info")
    assert line["timestamp"].endswith("Z")


def test_what_is_below_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    structlog.get_logger("a").info("push.received")
    structlog.get_logger("a").warning("push.refused")
    assert [line["event"] for line in lines(capsys)] == ["push.refused"]


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger("a").exception("job.failed")
    (line,) = lines(capsys)
    assert "ValueError: why" in line["exception"]


@pytest.mark.parametrize("value", [1 << 70, "\ud800", b"\xff", {1: "a"}, {(1, 2): "a"}, object(), {"a"}, float("nan")])
def test_no_value_ends_the_work(capsys: pytest.CaptureFixture[str], value: object) -> None:
    logs.configure("info", "json")
    structlog.get_logger("a").info("push.received", value=value)
    assert lines(capsys)[0]["event"] == "push.received"


def test_libraries_are_heard_from_warning_on_and_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", "json")
    for name in ("rq.worker", "aiohttp.access", "kubernetes_asyncio.client", "asyncio"):
        logging.getLogger(name).info("quiet")
        logging.getLogger(name).warning("%s said", name)
    assert [(line["event"], line["logger"]) for line in lines(capsys)] == [
        ("library.message", name) for name in ("rq.worker", "aiohttp.access", "kubernetes_asyncio.client", "asyncio")
    ]


def test_bodies_of_the_cluster_are_never_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """At DEBUG this logger writes whole answers, Secrets among them."""
    logs.configure("debug", "json")
    logging.getLogger("kubernetes_asyncio").setLevel(logging.DEBUG)
    logging.getLogger("kubernetes_asyncio.client.rest").debug("response body: canary")
    assert capsys.readouterr().err == ""


def test_a_librarys_wrong_format_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logging.getLogger("rq").warning("%d jobs", "many")
    assert lines(capsys)[0]["message"] == "%d jobs"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("style", ["auto", "json", "console"])
def test_a_terminal_gets_text_and_everything_else_json(
    style: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("info", style)
    structlog.get_logger("a").info("push.received", source="shop")
    assert capsys.readouterr().err.startswith("{") == (style != "console")
    terminal = _Terminal()
    terminal.buffer = io.BytesIO()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.configure("info", style)
    structlog.get_logger("b").info("push.received", source="shop")
    assert ("push.received" in terminal.getvalue()) == (style != "json")


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_local_variable_is_ever_shown(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    def connect(token: str) -> None:
        raise ValueError("refused")

    logs.configure("info", style)
    try:
        connect("can" + "ary")
    except ValueError:
        structlog.get_logger("a").exception("job.failed")
    text = capsys.readouterr().err
    assert "ValueError: refused" in text
    assert "canary" not in text


def test_nothing_that_somebody_else_chose_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console")
    structlog.get_logger("a").info(
        "run.failed", error="\x1b[2Jx\x07\u202e", path="a\x1b]0;title\x07", value={"\x9b": 1}
    )
    logging.getLogger("rq").warning("\x1b[31m")
    text = capsys.readouterr().err
    assert text.replace("\n", "").isprintable()
    assert r"\x1b[2Jx\x07\u202e" in text


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console")
    structlog.get_logger("a").info("push.received", source="shop")
    logging.getLogger("rq").warning("something")
    text = capsys.readouterr().err
    assert "push.received" in text
    assert "something" in text
