"""`ragcore caption`."""

from __future__ import annotations

import click

from ragcore.cli.interrupt import cancel_on_interrupt
from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.library import DEFAULT_COLLECTION, Library


@click.command("caption")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option("--model", default="", help="Another model than the profile's: a name or a folder.")
@as_json_option
def command(collection: str, model: str, as_json: bool) -> None:
    """Write captions for the images of a collection that have none.

    They are found by words from then on and shown as written by the model. Captions of people
    are left as they are. Ctrl-C stops after the batch at hand, and a second run goes on from
    there.
    """
    with cancel_on_interrupt() as token, Library() as library:
        report = library.images.caption_collection(
            collection, model=model, progress=progress_line(), cancel=token
        )
    if as_json:
        print_json(report)
        return
    unread = f", {report.unreadable} unreadable" if report.unreadable else ""
    echo(f"{report.captioned} captions by {report.model}{unread}")
