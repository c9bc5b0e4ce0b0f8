"""The log: lines for people, or one JSON object a line, on stderr. Keeping files is the platform's.

What a request or a job is known by is set once, by `about(...)`, and stands on every line that is
logged within it, also in threads that take the context along. What was searched for or asked is
never logged.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ragcore.redaction import redact
from ragcore.settings import Settings
from ragcore.text import visible_json, visible_lines, visible_name

OWN = "ragcore"
_SERVERS = ("uvicorn", "streamlit")  # what runs our pages and routes
_about: ContextVar[Mapping[str, Any]] = ContextVar(
    "ragcore_log_about", default=MappingProxyType({})
)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Within it, lines of this thread or task have these fields (request_id, job_id, …)."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """For `extra=`: what one line says besides its message."""
    return {"ragcore_fields": values}


class Lines(logging.Handler):
    """Writes each record to what stderr is at that moment."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = redact(as_json(record) if self._as_json else as_text(record))
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def as_json(record: logging.LogRecord) -> str:
    """One line: time (UTC), level, logger, message, and the fields that are known."""
    values = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": " ".join(record.getMessage().split()),
        **_fields(record),
    }
    if record.exc_info and record.exc_info[0] is not None:
        values["trace"] = "".join(traceback.format_exception(*record.exc_info))
    return visible_json(json.dumps(values, ensure_ascii=False, default=str))


def as_text(record: logging.LogRecord) -> str:
    """One line for people; errors are followed by their trace."""
    line = f"ragcore: {' '.join(record.getMessage().split())}"
    values = [
        f"{name}={value}" for name, value in _fields(record).items() if value not in (None, "")
    ]
    if record.levelno >= logging.ERROR and record.exc_info and record.exc_info[0] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info))
        return f"{visible_name(' '.join([line, *values]))}\n{visible_lines(trace.rstrip())}"
    return visible_name(" ".join([line, *values]))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {**_about.get(), **getattr(record, "ragcore_fields", {})}


def start(settings: Settings | None = None) -> None:
    """Write ragcore's records to stderr, in the form and from the level that are set.

    Without settings: warnings, as lines.
    """
    as_json = settings is not None and settings.log_format == "json"
    own = logging.getLogger(OWN)
    own.handlers = [Lines(as_json=as_json)]
    own.setLevel((settings.log_level if settings else "warning").upper())


def adopt_servers(settings: Settings) -> None:
    """Let the web servers' own records take the same way. To be called once they are set up."""
    for top in _SERVERS:
        for name in [*logging.root.manager.loggerDict]:
            if name.startswith(f"{top}."):
                logger = logging.getLogger(name)
                logger.handlers.clear()
                logger.propagate = True
        logger = logging.getLogger(top)
        handler = Lines(as_json=settings.log_format == "json")
        handler.setLevel(logging.WARNING)  # the servers set their loggers' levels themselves
        logger.handlers, logger.propagate = [handler], False
