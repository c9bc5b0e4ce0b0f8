"""What a command prints: one JSON document with --json, lines for people otherwise.

Results go to stdout, progress and complaints to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ragcore import logs
from ragcore.redaction import redact
from ragcore.text import visible_json, visible_lines, visible_name
from ragcore.types import Progress, ProgressCallback

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class ListingGroup(click.Group):
    """Commands of which `list` runs where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["list"])


def quiet_libraries() -> None:
    """Show ragcore's own warnings as lines on stderr, and none of the libraries below it.

    Python's -W option shows theirs again.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    logs.start()


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print lines. Names and texts of others cannot steer the terminal.

    Complaints and notes (`err`) show no secrets; results are the person's own texts.
    """
    text = redact(str(message)) if err else str(message)
    click.echo(visible_lines(text), err=err, nl=nl)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    document = json.dumps(value, ensure_ascii=False, indent=2, default=_plain)
    click.echo(visible_json(document))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path | datetime):
        return str(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if hasattr(value, "item"):  # numpy scalars
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def progress_line() -> ProgressCallback | None:
    """A callback that keeps one line on stderr up to date; None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(step: Progress) -> None:
        parts = [f"{step.stage:<8} {step.done}/{step.total}" if step.total else step.stage]
        if step.rate:
            parts.append(f"{step.rate:.1f}/s")
        if step.seconds_left is not None:
            parts.append(f"{step.seconds_left:.0f} s left")
        if step.failed:
            parts.append(f"{step.failed} failed")
        if step.current:
            parts.append(visible_name(Path(step.current).name[:40]))
        click.echo(f"\r\x1b[K{'  '.join(parts)}", err=True, nl=False)
        if step.stage == "done":
            click.echo("\r\x1b[K", err=True, nl=False)

    return show


def shorten(text: str, width: int = 300) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
