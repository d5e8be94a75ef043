"""How many requests at once: more while the server keeps up, fewer when it doesn't, and never more than allowed."""

from __future__ import annotations

import asyncio

import pytest

from workers.kube import limiter as module
from workers.kube.limiter import FEWEST, START, AdaptiveLimiter


async def busy(limiter: AdaptiveLimiter, answers: int, seconds: float) -> None:
    """``answers`` answers, while as many as may run do."""
    for _ in range(answers):
        limiter.running = int(limiter.limit)
        limiter.answered(seconds)
    limiter.running = 0


async def test_no_more_run_at_once_than_the_limit_and_all_get_their_turn_in_order() -> None:
    limiter, running, most, order = AdaptiveLimiter(3), 0, 0, []

    async def work(number: int) -> None:
        nonlocal running, most
        async with limiter:
            running += 1
            most = max(most, running)
            order.append(number)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*map(work, range(20)))
    assert (most, order, limiter.running) == (3, list(range(20)), 0)


async def test_an_error_inside_gives_the_place_back() -> None:
    limiter = AdaptiveLimiter(1)
    with pytest.raises(RuntimeError):
        async with limiter:
            raise RuntimeError
    async with asyncio.timeout(1), limiter:
        assert limiter.running == 1


@pytest.mark.parametrize("steps", range(4))
async def test_one_who_gives_up_waiting_loses_nobody_elses_place(steps: int) -> None:
    limiter = AdaptiveLimiter(1)
    await limiter.__aenter__()
    waiting = asyncio.create_task(limiter.__aenter__())
    await asyncio.sleep(0)
    if steps % 2:
        await limiter.__aexit__(None, None, None)  # the place is given, and given up in the same instant
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not steps % 2:
        await limiter.__aexit__(None, None, None)
    assert limiter.running == 0
    async with asyncio.timeout(1), limiter:
        pass


async def test_it_grows_while_the_server_keeps_up_but_only_if_the_places_are_used() -> None:
    limiter = AdaptiveLimiter(64)
    limiter.answered(0.01)
    assert limiter.limit == START
    await busy(limiter, 100, 0.01)
    assert limiter.limit == 64


async def test_429_halves_it_once_for_one_overload() -> None:
    limiter = AdaptiveLimiter(64)
    await busy(limiter, 100, 0.01)
    for _ in range(30):
        limiter.throttled()
    assert limiter.limit == 32
    await busy(limiter, 32, 0.01)
    assert 32 < limiter.limit < 34, "after that it grows by one a round"


async def test_slow_answers_lower_it_but_not_those_of_a_server_that_is_always_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BACKED_OFF_SECONDS", 0.0)
    limiter = AdaptiveLimiter(64)
    await busy(limiter, 100, 0.01)
    await busy(limiter, 200, 3.0)
    assert limiter.limit < 64
    slow = AdaptiveLimiter(64)
    await busy(slow, 100, 3.0)
    assert slow.limit == 64


async def test_it_never_falls_below_what_keeps_things_going(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKED_OFF_SECONDS", 0.0)
    for maximum, least in ((64, FEWEST), (1, 1)):
        limiter = AdaptiveLimiter(maximum)
        for _ in range(50):
            limiter.throttled()
        assert limiter.limit == least
