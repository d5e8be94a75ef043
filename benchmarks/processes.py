"""What Windlass' processes cost: proportional memory and CPU time, as the kernel counts them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil


def pss_mib(pids: Iterable[int]) -> float:
    """The proportional set size of these processes together (shared pages counted once), in MiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def rss_mib(pid: int) -> float:
    """What one process holds in memory, shared pages too, in MiB: what a container's limit sees."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and their ended children, in seconds."""
    total = 0.0
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total
