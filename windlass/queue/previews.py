"""Pull requests in the queue, whose plans are to be said: sources of another kind, each of one repository and number.

Level-triggered as all of them: one job waits, and looks at the pull request as it is then.
"""

from __future__ import annotations

from windlass.queue.sources import Mark

_PREFIX = "preview_"


def preview_id(repository: str, number: int) -> str:
    """The queue's name. Names of repositories hold no underscore."""
    return f"{_PREFIX}{repository}_{number}"


def parse_preview(source: str) -> tuple[str, int] | None:
    """The repository and the number; None if it is the name of something else."""
    repository, _, number = source.removeprefix(_PREFIX).rpartition("_")
    return (repository, int(number)) if source.startswith(_PREFIX) and number.isdigit() else None


def mark(repository: str, number: int, reason: str) -> Mark:
    """What has a pull request looked at."""
    return Mark(preview_id(repository, number), "", "", reason, "")


def approved_key(source: str) -> str:
    """Redis' key of the commit for which a maintainer allowed a look at the cluster, of a pull request from a fork."""
    return f"windlass:{source}:approved"
