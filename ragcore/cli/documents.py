"""`ragcore documents`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.library import DEFAULT_COLLECTION, Library
from ragcore.types import Coverage, DocumentInfo, PartCounts

_collection = click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)


@click.group("documents")
def command() -> None:
    """List, inspect or remove the documents of a collection."""


@command.command("list")
@_collection
@click.option("--search", default="", help="Only those with this in name, title or path.")
@click.option("--state", type=click.Choice(["ready", "stale", "failed"]), help="Only these.")
@click.option(
    "--incomplete/--complete",
    default=None,
    help="Only those of which something was not read, or those read whole.  [default: both]",
)
@click.option("--type", "media_type", help="Only this media type, for example application/pdf.")
@click.option("--order", default="name", show_default=True, help="name, newest, size, pages, …")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the first ones.")
@as_json_option
def list_(collection: str, as_json: bool, **how: Any) -> None:
    """List documents: what they are, what was read from them, why one failed."""
    with Library() as library:
        rows, total = library.documents.list(collection, **how)
    if as_json:
        print_json({"documents": [_values(row) for row in rows], "total": total})
        return
    for row in rows:
        counts = f"{row.pages} pages, {row.passages} passages, {row.images} images"
        state = "" if row.state == "ready" else f"  {row.state}: {row.error}"
        missing = "  incomplete" if row.incomplete else ""
        echo(f"{row.id:>6}  {row.path}  ({counts}){state}{missing}")
    if total > len(rows):
        echo(f"{len(rows)} of {total}; --limit and --offset show the others")


@command.command("show")
@click.argument("document", metavar="ID_OR_PATH")
@_collection
@as_json_option
def show(document: str, collection: str, as_json: bool) -> None:
    """Show what of a document was read, recognized or skipped, and why."""
    with Library() as library:
        row = library.documents.get(library.documents.find(document, collection=collection))
    if as_json:
        print_json(_values(row))
        return
    echo(f"{row.id}  {row.path}")
    if row.title != row.name:
        echo(f"title        {row.title}")
    echo(f"type         {row.media_type or 'unknown'}, {row.size:,} bytes")
    echo(f"state        {row.state}{': ' if row.error else ''}{row.error}")
    if row.state != "failed":
        echo(f"stored       {row.passages} passages, {row.images} images")
    for line in _coverage_lines(row.coverage):
        echo(line)
    if row.coverage is None:
        for warning in row.warnings:
            echo(f"warning      {warning}")
        if row.state != "failed":
            echo("There is no report of what was read: an earlier version of ragcore read it.")


def _coverage_lines(coverage: Coverage | None) -> list[str]:
    """A line for each kind of part that the document has, and one for each thing not read."""
    if coverage is None:
        return []
    lines = []
    for kind in ("pages", "sheets", "tables", "images", "attachments"):
        counts: PartCounts = getattr(coverage, kind)
        if counts.found:
            others = {
                "with recognized text": counts.ocr,
                "in part": counts.partial,
                "not read": counts.skipped,
                "ignored": counts.ignored,
            }
            more = "".join(f", {count} {name}" for name, count in others.items() if count)
            lines.append(f"{kind:<13}{counts.read} of {counts.found} read{more}")
    missing = [f"missing      {skipped}" for skipped in coverage.skipped]
    return [*lines, *(missing or ["missing      nothing"])]


def _values(row: DocumentInfo) -> dict[str, Any]:
    return {
        "id": row.id,
        "path": row.path,
        "title": row.title,
        "type": row.media_type,
        "state": row.state,
        "error": row.error,
        "warnings": row.warnings,
        "incomplete": row.incomplete,
        "coverage": None if row.coverage is None else asdict(row.coverage),
        "pages": row.pages,
        "passages": row.passages,
        "images": row.images,
        "bytes": row.size,
        "modified": row.modified_at,
        "ingested": row.ingested_at,
    }


@command.command("remove")
@click.argument("documents", nargs=-1, required=True, metavar="ID_OR_PATH...")
@_collection
@as_json_option
def remove(documents: tuple[str, ...], collection: str, as_json: bool) -> None:
    """Take documents out of a collection, by number or path. Their files stay."""
    with Library() as library:
        ids = [library.documents.find(given, collection=collection) for given in documents]
        removed = library.documents.remove(ids, collection=collection)
    if as_json:
        print_json({"removed": removed})
    else:
        echo(f"{removed} removed from {collection!r}")
