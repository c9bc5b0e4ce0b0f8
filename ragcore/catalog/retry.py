"""Units of work that outlast a restart of the catalog's server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ragcore.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT = 120.0  # seconds: a restart takes some, a failover to another server up to a minute
_FIRST, _LONGEST = 0.5, 10.0  # seconds between two attempts


def until_available(attempt: Callable[[], T], *, timeout: float = TIMEOUT) -> T:
    """What `attempt` returns; where the catalog's server is gone, try again until it is back.

    `attempt` may have been committed although the answer was lost: it must not mind to be done
    twice. Raises DatabaseUnavailable after `timeout` seconds.
    """
    started, wait = 0.0, _FIRST
    while True:
        try:
            result = attempt()
        except DatabaseUnavailable as error:
            started = started or time.monotonic()
            waited = time.monotonic() - started
            if waited + wait > timeout:
                raise DatabaseUnavailable(
                    f"{error}; given up after {waited:.0f} s. What was committed is kept: "
                    "start the database server, then run the same again"
                ) from error
            log.warning("%s; trying again in %.1f s", error, wait)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST)
        else:
            if started:
                log.warning("the catalog is back after %.1f s", time.monotonic() - started)
            return result
