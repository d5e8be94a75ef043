"""A promotion's own checks: a page that must answer, or a program that must succeed, for this very image.

What must hold: a page may be one of the cluster's own, but not a cloud's metadata (`workers.addresses`), and no redirect leads
on. A document names a program by its name only, among those that whoever runs the worker put into one folder; it gets the
image by its environment, no shell, no credential of the worker, and so long; its output goes nowhere.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import aiohttp
from yarl import URL

from windlass.documents import ordering
from windlass.documents.promotion import Check, Promotion
from windlass.queue.promotions import Image
from workers.addresses import REFUSED, connector, judge, refused
from workers.aiogit.errors import GitTimeoutError
from workers.aiogit.gitcli import run_program

ANSWER_SECONDS, PROGRAM_SECONDS = 10.0, 30.0


def session() -> aiohttp.ClientSession:
    """For the pages of checks: no cookies, no proxy, and only addresses that may be asked."""
    return aiohttp.ClientSession(
        connector=connector(private=True), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


async def unmet(
    session: aiohttp.ClientSession, check: Check, promotion: Promotion, image: Image, programs: Path | None
) -> str:
    """What doesn't hold, in words; "" if the check passes. ``programs``: the folder of those that may run."""
    if check.url is not None:
        found = await _answered(session, check.url, _seconds(check, ANSWER_SECONDS))
        return "" if found == str(check.status) else f"{check.url} answers {check.status} (now {found})"
    name = check.command[0]
    if programs is None:
        return f"{name} succeeds (WINDLASS_CHECKS is not set, so it can't run)"
    found = await _ran(programs / name, check, _environment(promotion, image))
    return f"{name} succeeds (now {found})" if found else ""


def _seconds(check: Check, usual: float) -> float:
    return (ordering.seconds(check.timeout) if check.timeout is not None else None) or usual


async def _answered(session: aiohttp.ClientSession, url: str, seconds: float) -> str:
    try:
        judge(URL(url).host or "", private=True)
        async with session.get(url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
            return str(answer.status)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return REFUSED if refused(error) else type(error).__name__


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
