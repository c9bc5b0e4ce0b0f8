"""`ragcore move`."""

from __future__ import annotations

import os
import sys

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.redaction import has_secret


@click.command("move")
@click.option(
    "--database",
    metavar="URL",
    help="Where the catalog goes: postgresql+psycopg://…, sqlite:///FILE, or sqlite for the "
    "home folder. `-` asks for it: a password in it is not seen then.",
)
@click.option(
    "--vectors",
    metavar="PLACE",
    help="Where the vectors go: http://host:19530 (Milvus), FOLDER.db (Milvus Lite), or faiss.",
)
@click.option(
    "--vectors-token",
    metavar="TOKEN",
    help="What Milvus lets us in by, user:password; `-` asks for it.",
)
@click.option(
    "--clear",
    metavar="PLACE",
    help="Delete the library's vectors from a place that it no longer uses.",
)
@as_json_option
def command(
    database: str | None,
    vectors: str | None,
    vectors_token: str | None,
    clear: str | None,
    as_json: bool,
) -> None:
    """Move the library to other engines, without embedding again.

    Everything is compared before the new place is written to the settings; the old one stays
    as it was. Stop servers first and start them again afterwards: they go on with the old one.
    """
    database = _typed(database, "Database URL")
    vectors_token = _typed(vectors_token, "Token")
    if has_secret(database or "") or has_secret(vectors or ""):
        echo(
            "a password on the command line is seen by others on this computer (ps): `-` in place "
            "of the URL asks for it",
            err=True,
        )
    if clear:
        if database or vectors:
            raise UsageError("--clear goes alone: move first")
        with Library() as library:
            place = library.admin.clear_vectors(clear)
        if as_json:
            print_json({"cleared": place})
        else:
            echo(f"the library's vectors are deleted from {place}")
        return
    if not database and not vectors:
        raise UsageError("say where to: --database URL, --vectors PLACE or both")
    with Library() as library:
        moved = library.admin.move(
            database=database,
            vectors=vectors,
            vectors_token=vectors_token,
            progress=progress_line(),
        )
    if as_json:
        print_json(moved)
        return
    if moved.catalog is not None:
        rows = moved.catalog.rows
        echo(
            f"{moved.database}: {rows['documents']:,} documents, {rows['passages']:,} passages, "
            f"{rows['images']:,} images, {rows['embeddings']:,} vectors in "
            f"{moved.catalog.seconds:.1f} s; every row was compared"
        )
    if moved.indexes is not None:
        echo(
            f"{moved.vectors}: {sum(moved.indexes.counts.values()):,} vectors in "
            f"{moved.indexes.seconds:.1f} s; every id was compared"
        )
    for place in moved.left:
        echo(f"{place} stays as it was; delete it when you need it no more")
    for name, given in (("RAGCORE_DATABASE_URL", database), ("RAGCORE_VECTORS", vectors)):
        if given and name in os.environ:
            echo(f"{name} is set and outranks the settings: change it", err=True)


def _typed(given: str | None, what: str) -> str | None:
    """What is given, or for `-` what is typed, unseen, or piped in."""
    if given != "-":
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return str(click.prompt(what, hide_input=True, err=True))
