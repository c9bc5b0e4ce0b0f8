"""`ragcore documents`."""

from __future__ import annotations

from typing import Any

import click

from ragcore.catalog import DEFAULT_COLLECTION
from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.errors import UsageError
from ragcore.library import Library

_collection = click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)


@click.group("documents")
def command() -> None:
    """List or remove the documents of a collection."""


@command.command("list")
@_collection
@click.option("--search", default="", help="Only those with this in name, title or path.")
@click.option("--state", type=click.Choice(["ready", "stale", "failed"]), help="Only these.")
@click.option("--type", "media_type", help="Only this media type, for example application/pdf.")
@click.option("--order", default="name", show_default=True, help="name, newest, size, pages, …")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the first ones.")
@as_json_option
def list_(collection: str, as_json: bool, **how: Any) -> None:
    """List documents: what they are, what was read from them, why one failed."""
    with Library() as library:
        rows, total = library.documents(collection, **how)
    if as_json:
        documents = [
            {
                "id": row.id,
                "path": row.path,
                "title": row.title,
                "type": row.media_type,
                "state": row.state,
                "error": row.error,
                "warnings": row.warnings,
                "pages": row.page_count,
                "passages": row.passage_count,
                "images": row.image_count,
                "bytes": row.size,
                "modified": row.modified_at,
                "ingested": row.ingested_at,
            }
            for row in rows
        ]
        print_json({"documents": documents, "total": total})
        return
    for row in rows:
        held = f"{row.page_count} pages, {row.passage_count} passages, {row.image_count} pictures"
        state = "" if row.state == "ready" else f"  {row.state}: {row.error}"
        echo(f"{row.id:>6}  {row.path}  ({held}){state}")
    if total > len(rows):
        echo(f"{len(rows)} of {total}; --limit and --offset show the others")


@command.command("remove")
@click.argument("documents", nargs=-1, required=True, metavar="ID_OR_PATH...")
@_collection
@as_json_option
def remove(documents: tuple[str, ...], collection: str, as_json: bool) -> None:
    """Take documents out of a collection, by number or path. Their files stay."""
    with Library() as library:
        ids = [_document_id(library, collection, given) for given in documents]
        removed = library.remove_documents(ids, collection=collection)
    if as_json:
        print_json({"removed": removed})
    else:
        echo(f"{removed} removed from {collection!r}")


def _document_id(library: Library, collection: str, given: str) -> int:
    """Raises UsageError if the collection has no such document."""
    import os

    from ragcore.catalog.documents import known_files

    row = library.catalog.collection(collection)
    with library.catalog.read() as session:
        known = known_files(session, row.id)
    if given.isdecimal():
        if int(given) in {file.id for file in known.values()}:
            return int(given)
    elif found := known.get(given) or known.get(os.path.abspath(os.path.expanduser(given))):
        return found.id
    raise UsageError(f"collection {collection!r} has no document {given}")
