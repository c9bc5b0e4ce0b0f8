"""`ragcore move`."""

from __future__ import annotations

import os

import click

from ragcore.cli.output import print_json, progress_line
from ragcore.errors import UsageError
from ragcore.settings import Settings


@click.command("move")
@click.option(
    "--database",
    metavar="URL",
    help="Where the catalogue goes: postgresql+psycopg://…, sqlite:///FILE, or sqlite for the "
    "home folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(database: str | None, as_json: bool) -> None:
    """Move the library to another database, without embedding again.

    Every row is compared before the new place is written to the settings; the old one stays as
    it was. Stop servers first and start them again afterwards: they go on with the old one.
    """
    from ragcore.move import move_catalogue

    if not database:
        raise UsageError("say where to: --database URL")
    settings = Settings()
    moved = move_catalogue(settings, database, progress=progress_line())
    if as_json:
        print_json(moved)
        return
    assert moved.catalogue is not None
    rows = moved.catalogue.rows
    click.echo(
        f"{moved.database}: {rows['documents']:,} documents, {rows['passages']:,} passages, "
        f"{rows['images']:,} images, {rows['embeddings']:,} vectors in "
        f"{moved.catalogue.seconds:.1f} s; every row was compared"
    )
    for place in moved.left:
        click.echo(f"{place} stays as it was; delete it when you need it no more")
    if "RAGCORE_DATABASE_URL" in os.environ:
        click.echo("RAGCORE_DATABASE_URL is set and outranks the settings: change it", err=True)
