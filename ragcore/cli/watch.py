"""`ragcore watch`."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import asdict
from types import FrameType

import click

from ragcore.cli.output import echo
from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.library import DEFAULT_COLLECTION, Library, SourceInfo, SourceSchedule
from ragcore.types import IngestReport

_SHOWN = ("added", "updated", "renamed", "removed", "failed")


@click.command("watch")
@click.argument("paths", nargs=-1)
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option(
    "--compare-every",
    default=900,
    show_default=True,
    type=click.IntRange(10),
    help="Seconds after which everything is compared, for changes that the file system missed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def command(paths: tuple[str, ...], collection: str, compare_every: int, as_json: bool) -> None:
    """Keep a collection in step with folders: changes, renames and deletions within seconds.

    Sources that have a time of their own (`ragcore sources add --every`) are looked at meanwhile,
    of all collections; without PATHS only these. Ctrl-C ends it after the batch at hand. It may run
    beside `ragcore serve` and `ragcore ui`.
    """

    def show(report: IngestReport) -> None:
        if as_json:
            echo(json.dumps(asdict(report), ensure_ascii=False))
            return
        for failure in report.failed:
            echo(f"{failure.path}: {failure.error}", err=True)
        counts = {
            name: getattr(report, name) for name in ("added", "updated", "renamed", "removed")
        }
        done = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        if done:
            echo(f"{done} ({report.seconds:.1f} s)")

    def show_source(info: SourceInfo) -> None:
        if as_json:
            echo(json.dumps(asdict(info), ensure_ascii=False, default=str))
        else:
            counts = [f"{info.report[name]} {name}" for name in _SHOWN if info.report.get(name)]
            echo(f"{info.url}: {info.error or ', '.join(counts) or 'nothing new'}")

    with Library() as library:
        scheduled = any(one.every for one in library.sources.list())
        if not paths and not scheduled:
            raise UsageError("name a folder, or enter a source: ragcore sources add URL --every 1h")
        schedule = SourceSchedule(library.sources, show_source)
        watcher = None
        if paths:
            require_extra("watch", "watched folders")
            watcher = library.watch(
                paths, collection=collection, compare_every=compare_every, on_report=show
            )
        ended = threading.Event()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            ended.set()
            if watcher is not None:
                watcher.stop()

        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        schedule.start()
        try:
            echo(f"watching {', '.join(paths) or 'sources'}; Ctrl-C stops", err=True)
            watcher.run() if watcher is not None else ended.wait()
        finally:
            schedule.stop()
            for one, handler in before.items():
                signal.signal(one, handler)
