"""Hostile manifests are refused before they take memory: under 200 MB in all, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

BOMB = (
    r"b'\n'.join([b'a0: &a0 [' + b','.join([b'x'] * 9) + b']'] + "
    r"[b'a%d: &a%d [' % (n, n) + b','.join([b'*a%d' % (n - 1)] * 9) + b']' for n in range(1, 9)])"
)
HOSTILE = {
    "alias bomb of nine levels": BOMB,
    "bombs in many documents": f"b'\\n---\\n'.join([{BOMB}] * 10_000)",
    "text by aliases": "b'a: &a ' + b'x' * 100_000 + b'\\nb: [' + b'*a,' * 100_000 + b']'",
    "five thousand levels": "b'[' * 5000",
    "five million levels": "b'[' * 5_000_000",
    "a million documents": "b'---\\na: 1\\n' * 1_000_000",
    "many small values": "b'[' + b'x,' * 5_000_000 + b']'",
    "many small mappings": "b'[' + b'{a: },' * 1_500_000 + b']'",
    "many documents of small values": "(b'---\\n[' + b'[],' * 290_000 + b']\\n') * 11",
    "one long text": "b'a: ' + b'x' * 10_000_000",
    "a document of 40 MB": "b'a: ' + b'x' * 40_000_000",
}
PROGRAM = """
from workers.render.plain import ManifestError, parse_file
data = {data}
try:
    print("read", len(parse_file(data, "a.yaml")))
except ManifestError as error:
    print("refused", str(error)[:100])
with open("/proc/self/status") as status:  # not ru_maxrss: Linux lets a child begin with its parent's
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
print(peak - max(0, len(data) - (10 << 20)) / (1 << 20))
"""


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused_in_bounded_memory_and_time(data: str) -> None:
    """The caller's own bytes beyond the largest file aren't counted: a blob of that size is not read to begin with."""
    program = [sys.executable, "-c", PROGRAM.replace("{data}", data)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    outcome, peak = done.stdout.splitlines()
    assert outcome.startswith("refused a.yaml:")
    assert float(peak) < 200
