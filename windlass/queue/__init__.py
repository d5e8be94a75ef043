"""The only door between service and workers: sources, generations and jobs in Redis, leases, and fenced state."""

from windlass.queue.leases import Lease, LeaseKeeper
from windlass.queue.sources import Busy, Hint, Mark, Marked, Run, Seen, SourceQueue

__all__ = ["Busy", "Hint", "Lease", "LeaseKeeper", "Mark", "Marked", "Run", "Seen", "SourceQueue"]
