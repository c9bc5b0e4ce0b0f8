"""How much one caller may ask: requests a minute (a token bucket each), bytes a request."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragcore.api.problems import Problem

JSON_BYTES = 48 * 2**20  # a picture in base64 and what goes with it
FORM_EXTRA = 2**20  # what a form has besides its files
_MOST_CALLERS = 10_000


class RateLimit:
    """`per_minute` requests for each caller, of which a tenth may come at once; 0: no limit."""

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60
        self._burst = max(10.0, per_minute / 10)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one request. Raises Problem 429, which says when to come again."""
        if self._rate <= 0:
            return
        now = time.monotonic()
        left, last = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - last) * self._rate)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        while len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = str(max(1, math.ceil((1 - left) / self._rate)))
            raise Problem(
                429,
                f"more than {self._rate * 60:.0f} requests a minute (setting api_rate)",
                headers={"Retry-After": wait},
            )


class BodyLimit:
    """Refuses bodies above the limit, declared or not: JSON at one size, forms at another."""

    def __init__(self, app: ASGIApp, *, upload_bytes: int) -> None:
        self._app = app
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        form = headers.get(b"content-type", b"").startswith(b"multipart/")
        limit = self._upload_bytes + FORM_EXTRA if form else JSON_BYTES
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit // 2**20} MiB")
