"""What a Dockerfile that nobody vouches for may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.errors import PermanentError
from workers.build.untrusted import check


def test_files_are_copied_into_an_empty_image() -> None:
    check(
        "# our server\nFROM scratch AS base\nCOPY --chown=1:1 server /server\n\nfrom base\nLABEL a=b\n"
        'ENV X=1\nCOPY --from=base /server /s\nENTRYPOINT ["/server"]\n'
        "FROM scratch AS last\nCOPY --from=1 --chmod=755 /s /s\nCOPY a--b /--from=x\n"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM scratch\nRUN id", "line 2 says RUN"),
        ("FROM scratch\n  run id", "line 2 says RUN"),
        ("FROM debian", "line 1 begins with another image than scratch"),
        ("FROM scratch\nFROM later\nFROM scratch AS later", "line 2 begins with another"),
        ("ARG X=evil\nFROM $X", "line 1 says ARG"),
        ("FROM scratch\nCOPY --from=evil/image /a /b", "line 2 copies from another image"),
        ("FROM scratch\nCOPY --parents a /b", "line 2 says --parents"),
        ("FROM scratch\nADD https://evil.example/x /x", "line 2 says ADD"),
        ("FROM scratch\nONBUILD RUN id", "line 2 says ONBUILD"),
        ("# syntax=evil/frontend\nFROM scratch", "line 1 is a parser directive"),
        ("#escape=`\nFROM scratch", "line 1 is a parser directive"),
        ("FROM scratch\nLABEL a=b \\\nRUN id", "line 2 goes on in the next one"),
        ("FROM scratch\nCOPY <<EOF /x\nRUN\nEOF", "line 2 goes on in the next one"),
        ("FROM scratch\rRUN id", "line 2 says RUN"),
        ('FROM scratch\nCOPY --"from=evil/image" /a /b', 'line 2 says --"from='),
        ("FROM scratch\nCOPY --'from=evil/image' /a /b", "line 2 says --'from="),
        ("FROM scratch\nCOPY --\\from=evil/image /a /b", r"line 2 says --\\from="),
        ('FROM scratch\nCOPY --link --"from=evil/image" /a /b', "line 2 says --"),
        ("FROM scratch\nCOPY --FROM=evil/image /a /b", "line 2 says --FROM"),
        ("FROM scratch AS a\nFROM scratch AS b\nCOPY --from=2 /x /y", "line 3 copies from another image"),
        ("FROM scratch AS a\nCOPY --from=a /x /y", "line 2 copies from another image"),
    ],
)
def test_what_runs_fetches_or_hides_something_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(PermanentError, match=why):
        check(text)


@given(
    st.text(), st.sampled_from(["RUN id", "run\tid", "ADD . /", "ONBUILD ADD . /", "FROM evil", "ARG A=1"]), st.text()
)
def test_wherever_such_a_line_stands_it_is_found(before: str, line: str, after: str) -> None:
    with pytest.raises(PermanentError):
        check(f"FROM scratch\n{before}\n{line}\n{after}")
