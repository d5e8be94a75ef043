"""A story that is told while it happens: what is claimed is checked, and what took how long is remembered."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PATIENCE = 60.0


class Story:
    """What happens, and whether it came true."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def step(self, text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)

    def check(self, text: str, true: bool) -> None:
        print(f"  {'✓' if true else '✗'} {text}", flush=True)
        if not true:
            self.failures.append(text)

    def until(self, true: Callable[[], bool], seconds: float = PATIENCE) -> float | None:
        """Seconds until ``true()``; None if it never was."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if true():
                return time.monotonic() - started
            time.sleep(0.02)
        return None


class Way:
    """One way of delivery, and how long each of its steps took."""

    def __init__(self, name: str) -> None:
        self.name, self.seconds = name, dict[str, float]()
        self._since = time.monotonic()

    def done(self, step: str) -> None:
        """``step`` began where the last one ended."""
        now = time.monotonic()
        self.seconds[step], self._since = now - self._since, now


def beside(ways: list[Way]) -> list[str]:
    """The ways' steps in one table."""
    steps = dict.fromkeys(step for way in ways for step in way.seconds)
    width = max(map(len, steps))
    lines = [f"{'':{width}}" + "".join(f"{way.name:>12}" for way in ways)]
    lines += [
        f"{step:{width}}"
        + "".join(f"{way.seconds[step]:>10.2f} s" if step in way.seconds else f"{'-':>12}" for way in ways)
        for step in steps
    ]
    return [*lines, f"{'together':{width}}" + "".join(f"{sum(way.seconds.values()):>10.2f} s" for way in ways)]
