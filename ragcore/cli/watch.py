"""`ragcore watch`."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from types import FrameType

import click

from ragcore.cli.output import echo
from ragcore.extras import require_extra
from ragcore.library import DEFAULT_COLLECTION, Library
from ragcore.types import IngestReport


@click.command("watch")
@click.argument("paths", nargs=-1, required=True)
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option(
    "--compare-every",
    default=900,
    show_default=True,
    type=click.IntRange(10),
    help="Seconds after which everything is compared, for what the file system did not tell.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def command(paths: tuple[str, ...], collection: str, compare_every: int, as_json: bool) -> None:
    """Keep a collection in step with folders: changes, renames and deletions within seconds.

    Ctrl-C ends it after the batch at hand. It may run beside `ragcore serve` and `ragcore ui`.
    """
    require_extra("watch", "watched folders")

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

    with Library() as library:
        watcher = library.watch(
            paths, collection=collection, compare_every=compare_every, on_report=show
        )

        def stop(_signal: int, _frame: FrameType | None) -> None:
            watcher.stop()

        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            echo(f"watching {', '.join(paths)}; Ctrl-C stops", err=True)
            watcher.run()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
