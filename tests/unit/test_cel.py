"""Which texts are expressions, and what is said of the others."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.cel import LONGEST, CelError, compiled

TEXT = "status . x ( ) [ ] { } , : ? ! && || == < + - 1 1u 'a' \" null true has exists map matches .? self \n // \\"
WORDS = TEXT.split(" ")


@pytest.mark.parametrize(
    "expression",
    [
        "status.phase == 'Running'",
        "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
        "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
        "has(status.observedGeneration) && status.observedGeneration == metadata.generation",
        "status.?phase.orValue('') == 'Running'",
        "self.data.x == 'y' ||\n  data.x == 'z'",
        "status.ready",
    ],
)
def test_an_expression(expression: str) -> None:
    assert compiled(expression)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CEL expression: 1:1: Syntax error"),
        ("status.exists(c, ", "not a CEL expression: 1:18: Syntax error"),
        ("status.a == 1 &&\n foo", "not a CEL expression: 2:2: undeclared reference to 'foo'"),
        ("'a' + 'b'", "true or false, found one of type string"),
        ("size(1)", "no matching overload for 'size'"),
        ("(" * 100 + "true" + ")" * 100, "recursion limit exceeded"),
        ("a" * (LONGEST + 1), f"at most {LONGEST} characters"),
        ("status.a == '\x00'", "expected printable text"),
        ("status.a == '\ud800'", "expected printable text"),
    ],
)
def test_what_is_not_an_expression(text: str, message: str) -> None:
    with pytest.raises(CelError) as error:
        compiled(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@given(st.lists(st.sampled_from(WORDS), max_size=60).map("".join) | st.text(max_size=40))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    with suppress(CelError):
        assert compiled(text)


@pytest.mark.parametrize(
    "part", ["true||", "(", "[", "{1:", "!", "[1].map(x,", "[1,2].exists(x,", "1+", "status[", ".a"]
)
def test_compiling_takes_no_time(part: str) -> None:
    started = time.process_time()
    with suppress(CelError):
        compiled((part * LONGEST)[: LONGEST - 4] + "true")
    assert time.process_time() - started < 2


def test_the_library_is_loaded_only_for_an_expression() -> None:
    """By the documents of an application without rules it is not."""
    look = "import sys, windlass.documents.parse; sys.exit('cel_expr_python' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
