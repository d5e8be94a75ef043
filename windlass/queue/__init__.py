"""The only door between service and workers: sources, generations and jobs in Redis, leases, and fenced state."""

from windlass.queue.leases import Lease, LeaseKeeper
from windlass.queue.sources import RECORDED, Busy, Hint, Mark, Marked, Recorded, Run, Seen, SourceQueue

__all__ = [
    "RECORDED",
    "Busy",
    "Hint",
    "Lease",
    "LeaseKeeper",
    "Mark",
    "Marked",
    "Recorded",
    "Run",
    "Seen",
    "SourceQueue",
]
