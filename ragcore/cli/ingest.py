"""`ragcore ingest`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import click

from ragcore.cli.interrupt import cancel_on_interrupt
from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library
from ragcore.types import IngestReport

_MOST_SKIPPED = 20  # lines about files that a source passed over


def source_options(*, crawl: bool, depth: int | None, pages: int | None) -> dict[str, str]:
    """The options of a web source, as the library takes them."""
    numbers = {"depth": depth, "pages": pages}
    given = {name: str(number) for name, number in numbers.items() if number is not None}
    return {"crawl": "yes", **given} if crawl else given


@click.command("ingest")
@click.argument("paths", nargs=-1, required=True)
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option("--sync", is_flag=True, help="Also remove documents whose files are gone.")
@click.option("--password", multiple=True, help="Try this on locked files; may be repeated.")
@click.option(
    "--captions/--no-captions",
    default=None,
    help="Have a model caption images that have none.  [default: the setting captions]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    help="Read and embed here, or on a Ray cluster.  [default: the setting ingest_engine]",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="The Ray cluster.  [default: the setting ray_address; else the one of this machine]",
)
@click.option("--crawl", is_flag=True, help="Also take the pages that a web address links to.")
@click.option(
    "--depth",
    type=click.IntRange(0),
    help="Links that a crawl follows in a row.  [default: the setting crawl_depth]",
)
@click.option(
    "--pages",
    type=click.IntRange(1),
    help="Pages that a crawl takes, at most.  [default: the setting crawl_pages]",
)
@as_json_option
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    collection: str,
    sync: bool,
    password: tuple[str, ...],
    captions: bool | None,
    engine: str | None,
    address: str | None,
    crawl: bool,
    depth: int | None,
    pages: int | None,
    as_json: bool,
) -> None:
    """Add files, folders, web pages (https://…) or what is at SCHEME://… to a collection.

    Files that have not changed are passed over; a file that cannot be read is reported and the
    others go on. What of a file is not read is reported too. Ctrl-C stops after the batch at
    hand, and a second run goes on from there.
    """
    if address and engine == "local":
        raise UsageError("--address names a Ray cluster: leave it out, or use --engine ray")
    if address:
        engine = "ray"
    # What engines print of their own is no part of the answer.
    with cancel_on_interrupt() as token, Library() as library, redirect_stdout(sys.stderr):
        report = library.ingest(
            paths,
            collection=collection,
            sync=sync,
            passwords=password,
            captions=captions,
            engine=engine,
            address=address,
            options=source_options(crawl=crawl, depth=depth, pages=pages),
            progress=progress_line(),
            cancel=token,
        )
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report.cancelled:
        ctx.exit(1)
    # One bad file among good ones is no failed run; nothing but bad files is.
    if report.failed and not (report.added or report.updated or report.unchanged or report.renamed):
        ctx.exit(1)


def _show(report: IngestReport) -> None:
    """What was done on stdout; on stderr each file that was not read, or not all of it."""
    for failure in report.failed:
        echo(f"{failure.path}: {failure.error}", err=True)
    for left in report.skipped[:_MOST_SKIPPED]:
        echo(f"{left.path}: skipped: {left.error}", err=True)
    if len(report.skipped) > _MOST_SKIPPED:
        echo(f"{len(report.skipped) - _MOST_SKIPPED} more were skipped (--json)", err=True)
    for file in report.incomplete:
        for skipped in file.skipped:
            echo(f"{file.path}: {skipped}", err=True)
    if report.skipped_links:
        echo(
            f"{report.skipped_links} links lead out of their folder and were skipped: name "
            "what they lead to, to ingest it",
            err=True,
        )
    echo(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
        f"{report.renamed} renamed, {report.removed} removed, {len(report.failed)} failed: "
        f"{report.passages} passages and {report.images} images in {report.seconds:.1f} s"
    )
    if report.incomplete:
        count = len(report.incomplete)
        echo(
            f"{count} {'document is' if count == 1 else 'documents are'} incomplete: `ragcore "
            "documents list --incomplete` lists all, `ragcore documents show` says what of one "
            "was read"
        )
