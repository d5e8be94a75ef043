"""A promotion's own checks: a page that must answer, or a program that must succeed, for this very image.

What must hold: a page is public, or one of the cluster's own where the document says so (`workers.addresses`), and no redirect
leads on. A document names a program by its name only, among those that whoever runs the worker put into one folder; it gets the
image by its environment, no shell, no credential of the worker, and so long; its output goes nowhere.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import aiohttp

from windlass.documents import ordering
from windlass.documents.promotion import Check, Promotion
from windlass.queue.promotions import Image
from workers.addresses import NOT_PUBLIC, REFUSED, guarded, refused
from workers.aiogit.errors import GitTimeoutError
from workers.aiogit.gitcli import run_program

ANSWER_SECONDS, PROGRAM_SECONDS = 10.0, 30.0


class Pages:
    """The pages that checks ask for: public ones, and private ones where the check says so."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def answered(self, url: str, seconds: float, *, private: bool) -> str:
        """The status, or why there is none."""
        if private not in self._sessions:
            self._sessions[private] = guarded(private=private, seconds=ANSWER_SECONDS)
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._sessions[private].get(url, allow_redirects=False, timeout=timeout) as answer:
                return str(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if refused(error):
                return REFUSED if private else f"{NOT_PUBLIC}; `private: true` allows private ones"
            return type(error).__name__


async def unmet(pages: Pages, check: Check, promotion: Promotion, image: Image, programs: Path | None) -> str:
    """What doesn't hold, in words; "" if the check passes. ``programs``: the folder of those that may run."""
    if check.url is not None:
        found = await pages.answered(check.url, _seconds(check, ANSWER_SECONDS), private=check.private)
        return "" if found == str(check.status) else f"{check.url} answers {check.status} (now {found})"
    name = check.command[0]
    if programs is None:
        return f"{name} succeeds (WINDLASS_CHECKS is not set, so it can't run)"
    found = await _ran(programs / name, check, _environment(promotion, image))
    return f"{name} succeeds (now {found})" if found else ""


def _seconds(check: Check, usual: float) -> float:
    return (ordering.seconds(check.timeout) if check.timeout is not None else None) or usual


async def _ran(program: Path, check: Check, environment: dict[str, str]) -> str:
    """Why it didn't succeed; "" if it did."""
    seconds = _seconds(check, PROGRAM_SECONDS)
    with tempfile.TemporaryDirectory(prefix="windlass-check-") as scratch:
        try:
            output = await run_program(
                [str(program), *check.command[1:]],
                what=program.name,
                seconds=seconds,
                environment={**environment, "HOME": scratch},
                folder=Path(scratch),
            )
        except GitTimeoutError:
            return f"not done within {seconds:g} s"
        except OSError as error:
            return str(error.strerror)
    return f"exit code {output.code}" if output.code else ""


def _environment(promotion: Promotion, image: Image) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "WINDLASS_PROMOTION": promotion.name,
        "WINDLASS_IMAGE": promotion.spec.image,
        "WINDLASS_TAG": image.tag,
        "WINDLASS_DIGEST": image.digest,
        "WINDLASS_COMMIT": image.commit.replace("\0", ""),
    }
