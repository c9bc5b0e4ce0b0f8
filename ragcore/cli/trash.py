"""`ragcore trash`."""

from __future__ import annotations

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library

_collection = click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
_ids = click.argument("document_ids", nargs=-1, type=click.IntRange(1), metavar="[ID]...")


@click.group("trash")
def command() -> None:
    """List, restore or remove what was deleted on the pages."""


@command.command("list")
@_collection
@as_json_option
def list_(collection: str, as_json: bool) -> None:
    """List a collection's trash, the newest first."""
    with Library() as library:
        found = library.trash.list(collection)
        days = library.admin.settings.trash_days
    if as_json:
        print_json({"documents": found, "days": days})
        return
    for one in found:
        echo(f"{one.id:>6}  {one.trashed_at:%Y-%m-%d %H:%M}  {one.path}")
    if not found:
        echo(f"the trash of {collection!r} is empty")


@command.command("restore")
@_ids
@_collection
@click.option("--all", "every", is_flag=True, help="Put everything back.")
@as_json_option
def restore(document_ids: tuple[int, ...], collection: str, every: bool, as_json: bool) -> None:
    """Put documents back into their collection, by their numbers."""
    if bool(document_ids) == every:
        raise UsageError("name documents by their numbers (`ragcore trash list`), or give --all")
    with Library() as library:
        ids = [one.id for one in library.trash.list(collection)] if every else document_ids
        count = library.trash.restore(ids, collection=collection)
    if as_json:
        print_json({"restored": count})
    else:
        echo(f"{count} restored to {collection!r}")


@command.command("empty")
@_ids
@_collection
@as_json_option
def empty(document_ids: tuple[int, ...], collection: str, as_json: bool) -> None:
    """Remove the trash for good, or only the documents of these numbers. Files stay."""
    with Library() as library:
        wanted = document_ids or None
        count = library.trash.empty(document_ids=wanted, collection=collection)
    if as_json:
        print_json({"removed": count})
    else:
        echo(f"{count} removed for good from the trash of {collection!r}")
