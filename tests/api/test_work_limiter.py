"""Places of the HTTP API's work: turns by owner, and who has to come again later."""

from __future__ import annotations

import asyncio
import threading

from ragcore.access.principals import Principal
from ragcore.api.problems import Problem
from ragcore.api.work_limiter import CONCURRENCY, WorkLimiter
from tests.waiting import TIMEOUT

PLENTY = 5 * CONCURRENCY["answer"]


def caller(number: int) -> Principal:
    return Principal(f"caller {number}", "read", number)


def test_who_would_wait_too_long_comes_again_later() -> None:
    """A call takes a second by the first estimate, and three are the longest wait."""

    async def queue(owners: list[int], late: int) -> Problem | None:
        limiter, end = WorkLimiter(longest_wait=3), threading.Event()
        tasks = [
            asyncio.create_task(
                limiter.run(caller(owner), lambda: end.wait(TIMEOUT), kind="answer")
            )
            for owner in owners
        ]
        await asyncio.sleep(0)  # they have their places, or stand in the queue
        asked = asyncio.create_task(limiter.run(caller(late), lambda: True, kind="answer"))
        await asyncio.sleep(0)
        answered = asked.exception() if asked.done() else None
        end.set()
        await asyncio.gather(asked, *tasks, return_exceptions=True)
        assert answered is None or isinstance(answered, Problem)
        return answered

    many = list(range(PLENTY))
    refused = asyncio.run(queue(many, late=99))
    assert refused is not None
    assert refused.status == 503
    assert refused.headers == {"Retry-After": "4"}
    crowd = asyncio.run(queue([1] * PLENTY, late=1))
    assert crowd is not None
    assert crowd.status == 503
    assert asyncio.run(queue([1] * PLENTY, late=2)) is None, "its turn comes soon"
    assert asyncio.run(queue(many[:8], late=99)) is None
