"""Who works with a model next, when several threads want to."""

from __future__ import annotations

import threading


class FairLock:
    """A re-entrant lock that is handed on in the order of asking, so that no thread starves."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: list[int] = []
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._condition:
            if self._owner == me:
                self._depth += 1
                return
            self._queue.append(me)
            self._condition.wait_for(lambda: self._owner is None and self._queue[0] == me)
            self._queue.pop(0)
            self._owner, self._depth = me, 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._condition.notify_all()
