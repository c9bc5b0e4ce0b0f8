"""`ragcore caption`."""

from __future__ import annotations

import signal
from types import FrameType

import click

from ragcore.catalog import DEFAULT_COLLECTION
from ragcore.cli.output import print_json, progress_line
from ragcore.library import Library
from ragcore.types import CancelToken


@click.command("caption")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option("--model", default="", help="Another model than the profile's: a name or a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(collection: str, model: str, as_json: bool) -> None:
    """Write captions for the pictures of a collection that have none.

    They are found by words from then on and shown as written by the model. Captions of people
    are left as they are. Ctrl-C stops after the batch at hand, and a second run goes on from
    there.
    """
    token = CancelToken()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()
        click.echo("\nstopping; Ctrl-C again to stop at once", err=True)

    before = signal.signal(signal.SIGINT, stop)
    try:
        with Library() as library:
            report = library.caption_collection(
                collection, model=model, progress=progress_line(), cancel=token
            )
    finally:
        signal.signal(signal.SIGINT, before)
    if as_json:
        print_json(report)
        return
    unread = f", {report.unreadable} unreadable" if report.unreadable else ""
    click.echo(f"{report.captioned} captions by {report.model}{unread}")
