"""`ragcore sources`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import click

from ragcore.cli.ingest import source_options
from ragcore.cli.interrupt import cancel_on_interrupt
from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library, SourceInfo

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_COUNTS = ("added", "updated", "removed", "failed", "skipped", "unchanged")


@click.group("sources")
def command() -> None:
    """Keep collections in step with web sites, object stores, servers and folders."""


@command.command("add")
@click.argument("url")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option(
    "--every",
    metavar="15m|6h|1d",
    default="",
    help="How often `ragcore watch` and `ragcore serve` look at it.  [default: only when asked]",
)
@click.option("--crawl", is_flag=True, help="Also take the pages that a web address links to.")
@click.option("--depth", type=click.IntRange(0), help="Links that a crawl follows in a row.")
@click.option("--pages", type=click.IntRange(1), help="Pages that a crawl takes, at most.")
@as_json_option
def add(
    url: str,
    collection: str,
    every: str,
    crawl: bool,
    depth: int | None,
    pages: int | None,
    as_json: bool,
) -> None:
    """Enter a source of a collection; `ragcore sources sync` fetches what is there."""
    options = source_options(crawl=crawl, depth=depth, pages=pages)
    with Library() as library:
        info = library.sources.add(
            url, collection=collection, options=options, every=_seconds(every)
        )
    if as_json:
        print_json(info)
    else:
        echo(f"source {info.id}: `ragcore sources sync {info.id}` fetches what is there")


@command.command("list")
@click.option("-c", "--collection", help="Of this collection only.")
@as_json_option
def list_(collection: str | None, as_json: bool) -> None:
    """List the sources with what their last run did and when the next one is due."""
    with Library() as library:
        found = library.sources.list(collection)
    if as_json:
        print_json({"sources": found})
    else:
        _show(found)


@command.command("sync")
@click.argument("numbers", nargs=-1, type=int)
@click.option("-c", "--collection", help="The sources of this collection.")
@as_json_option
@click.pass_context
def sync(
    ctx: click.Context, numbers: tuple[int, ...], collection: str | None, as_json: bool
) -> None:
    """Fetch what is new or changed, and remove what sources brought and no longer list.

    Without NUMBERS all sources that are not paused. What was added by hand is never removed.
    """
    done = []
    with cancel_on_interrupt() as token, Library() as library:
        listed = {} if numbers else {one.id: one for one in library.sources.list(collection)}
        for number in numbers or [one.id for one in listed.values() if not one.paused]:
            if token.cancelled:
                break
            done.append(library.sources.sync(number, progress=progress_line(), cancel=token))
    if as_json:
        print_json({"sources": done})
    else:
        _show(done)
        for info in done:
            for failure in info.report.get("failures", ()):
                echo(f"{failure['path']}: {failure['error']}", err=True)
    if any(info.error for info in done):
        ctx.exit(1)


@command.command("pause")
@click.argument("number", type=int)
@as_json_option
def pause(number: int, as_json: bool) -> None:
    """Leave a source alone until it is resumed."""
    with Library() as library:
        info = library.sources.pause(number)
    print_json(info) if as_json else _show([info])


@command.command("resume")
@click.argument("number", type=int)
@as_json_option
def resume(number: int, as_json: bool) -> None:
    """Go on with a source that was paused."""
    with Library() as library:
        info = library.sources.resume(number)
    print_json(info) if as_json else _show([info])


@command.command("remove")
@click.argument("number", type=int)
@click.option("--documents", is_flag=True, help="Also remove the documents that it brought.")
@as_json_option
def remove(number: int, documents: bool, as_json: bool) -> None:
    """Forget a source. Its documents stay, as if they had been added by hand."""
    with Library() as library:
        count = library.sources.remove(number, documents=documents)
    if as_json:
        print_json({"removed": number, "documents": count})
    else:
        echo(f"source {number} is removed" + (f", with {count} documents" if documents else ""))


def _seconds(every: str) -> int:
    if not every:
        return 0
    found = re.fullmatch(r"(\d{1,6})([mhd])", every.strip().lower())
    if not found or not int(found[1]):
        raise UsageError(f"--every takes a time such as 15m, 6h or 1d, not {every!r}")
    return int(found[1]) * _UNITS[found[2]]


def _show(found: Sequence[SourceInfo]) -> None:
    for info in found:
        counts = ", ".join(f"{info.report[name]} {name}" for name in _COUNTS if name in info.report)
        lines = [
            f"{info.id}  {info.url}  in {info.collection}",
            f"   last run: {_time(info.last_run)}" + (f": {counts}" if counts else ""),
            f"   next run: {'paused' if info.paused else _time(info.next_run)}",
        ]
        if info.error:
            lines.insert(2, f"   it did not run: {info.error}")
        echo("\n".join(lines))
    if not found:
        echo("no sources: `ragcore sources add URL` enters one")


def _time(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M") if at else "none"
