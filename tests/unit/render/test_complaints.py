"""What a renderer complained about: short, without this machine's paths, without what is secret."""

from __future__ import annotations

from collections.abc import ItemsView

import pytest

from workers.render.complaints import LONGEST, Given, complaint, tidy, warnings
from workers.render.sandbox import Finished

FOLDER = "/dev/shm/windlass-render-x/y/files"


def given(**files: bytes) -> Given:
    return Given(FOLDER, {name.replace("_", "."): data for name, data in files.items()}, frozenset({"p.txt"}))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a_yaml": b"kind: Secret\nstringData: {a: hunter2-of-the-shop}"}, "bad value hunter2-of-the-shop"),
        ({"a_yaml": b"db: {password: hunter2-of-the-shop}"}, 'got "hunter2-of-the-shop", want integer'),
        ({"a_yaml": b"secretGenerator: [{name: a, literals: [x=hunter2-of-the-shop]}]"}, "x=hunter2-of-the-shop"),
        ({"a_env": b"API_TOKEN=hunter2-of-the-shop\n"}, "line 1: hunter2-of-the-shop"),
        ({"p_txt": b"first\nhunter2-of-the-shop\n"}, "unexpected: hunter2-of-the-shop"),
        ({}, 'no match: [patch: "stringData: {a: hunter2-of-the-shop}"]'),
        ({}, "cannot overwrite table with non table for a (map[password:hunter2-of-the-shop])"),
    ],
)
def test_no_secret_is_repeated(files: dict[str, bytes], said: str) -> None:
    assert "hunter2" not in tidy(said, given(**files))
    assert tidy(said, given(**files))


def test_no_path_of_this_machine_and_no_noise() -> None:
    said = f"Error: accumulating '{FOLDER}/base/a.yaml'\n\n  in {FOLDER}\nUse --debug flag to render out invalid YAML\n"
    assert tidy(said, given()) == "accumulating 'base/a.yaml' in the repository"


@pytest.mark.parametrize("text", ["map[" * 500_000, '[patch: "' * 500_000])
def test_what_a_program_repeats_without_an_end_takes_no_time(text: str) -> None:
    assert len(tidy(text, given())) == LONGEST


def test_what_the_files_hold_is_read_once_for_all_warnings() -> None:
    class Counted(dict[str, bytes]):
        reads = 0

        def items(self) -> ItemsView[str, bytes]:
            self.reads += 1
            return super().items()

    files = Counted({"a.yaml": b"password: hunter2-of-the-shop"})
    said = "\n".join(f"# Warning {number}: hunter2-of-the-shop" for number in range(10))
    assert warnings(said, Given(FOLDER, files))[9] == "Warning 9: ***"
    assert files.reads == 1


def test_it_is_bounded() -> None:
    assert len(tidy("x" * 10_000, given())) == LONGEST


@pytest.mark.parametrize(
    ("code", "err", "told"),
    [
        (
            2,
            "fatal error: runtime: out of memory\n\nruntime stack:\n...",
            "helm needs more memory than a render may have",
        ),
        (1, "Traceback ...\nMemoryError", "helm needs more memory than a render may have"),
        (2, "SIGSEGV: segmentation violation\nPC=0x11b32fd m=4\ngoroutine 0", "SIGSEGV: segmentation violation"),
        (-9, "", "helm was stopped: it used more processor time than a render may"),
        (-15, "", "helm was ended by signal 15"),
        (1, "", "helm failed with exit code 1"),
        (1, "Error: no", "no"),
    ],
)
def test_why_a_program_failed(code: int, err: str, told: str) -> None:
    message = complaint(Finished(code, b"", err), "helm", given())
    assert told in message
    assert "goroutine" not in message


def test_warnings_once_each() -> None:
    assert warnings("# Warning: a\n# Warning: a\n\nb\n", given()) == ("Warning: a", "b")
