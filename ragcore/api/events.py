"""Server-sent events (WHATWG HTML, section 9.2): one JSON document each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse

KEEP_ALIVE = 15.0  # seconds; proxies close connections on which nothing is said
EVENT = {  # an event in the OpenAPI description
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(name: str, data: Any) -> str:
    """One event; JSON has no bare line break, so that one `data` line is enough."""
    head = f"event: {name}\n" if name else ""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"{head}data: {text}\n\n"


class EventStream(StreamingResponse):
    """An answer of events. A comment is sent while there is none for a while."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str]) -> None:
        super().__init__(_kept_alive(events), headers=_HEADERS)


async def _kept_alive(events: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async with aclosing(events):  # type: ignore[type-var]  # an asynchronous generator
        pending: asyncio.Task[str] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE)
                if not done:
                    yield b": still here\n\n"
                    continue
                finished, pending = pending, None
                try:
                    yield finished.result().encode("utf-8", "replace")
                except StopAsyncIteration:
                    return
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})
