"""How results are told: a JSON line a measure on standard output, a table for people on standard error."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence


def tell(measure: str, **fields: object) -> None:
    """One measure, as one JSON line (for machines) and one row (for people)."""
    line = {"measure": measure, **{k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}}
    print(json.dumps(line), flush=True)
    text = "  ".join(f"{name} {value}" for name, value in line.items() if name != "measure")
    print(f"  {measure:<16} {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
