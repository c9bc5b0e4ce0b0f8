"""`ragcore refresh-metadata`."""

from __future__ import annotations

import click

from ragcore.cli.interrupt import cancel_on_interrupt
from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.library import DEFAULT_COLLECTION, Library


@click.command("refresh-metadata")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@as_json_option
def command(collection: str, as_json: bool) -> None:
    """Read dates, cameras, places, ratings and keywords of a collection's image files again.

    Sidecars (photo.jpg.xmp, photo.xmp) are read too. Nothing is embedded again. Ctrl-C stops;
    what was read by then is kept.
    """
    with cancel_on_interrupt() as token, Library() as library:
        report = library.images.refresh_metadata(collection, progress=progress_line(), cancel=token)
    if as_json:
        print_json(report)
        return
    for one in (*report.failed, *report.damaged):
        echo(f"{one.path}: {one.error}", err=True)
    unread = f", {len(report.failed):,} not read" if report.failed else ""
    images = "image" if report.images == 1 else "images"
    echo(f"{report.images:,} {images} read, {report.changed:,} changed{unread}")
