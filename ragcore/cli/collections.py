"""`ragcore collections`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from ragcore.cli.ask import style_options
from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.errors import UsageError
from ragcore.library import Library


@click.group("collections", invoke_without_command=True)
@as_json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List, make, set, rename and delete collections."""
    if ctx.invoked_subcommand is None:
        _list(as_json)


@command.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the collections with what they hold."""
    _list(as_json)


@command.command("create")
@click.argument("name")
@as_json_option
def create(name: str, as_json: bool) -> None:
    """Make an empty collection."""
    with Library() as library:
        library.create_collection(name)
    _done({"created": name}, f"made collection {name!r}", as_json)


@command.command("rename")
@click.argument("name")
@click.argument("new_name")
@as_json_option
def rename(name: str, new_name: str, as_json: bool) -> None:
    """Give a collection another name."""
    with Library() as library:
        library.admin.rename_collection(name, new_name)
    _done({"renamed": name, "to": new_name}, f"{name!r} is now {new_name!r}", as_json)


@command.command("set")
@click.argument("name")
@click.option(
    "--passage-tokens",
    type=int,
    help="The most tokens of a passage; 0: what the text encoder reads, up to 476.",
)
@click.option("--overlap", type=int, help="Tokens of a passage that stand in the one before, too.")
@style_options
@click.option("--length", type=click.IntRange(0, 2000), help="Words of an answer; 0: one sentence.")
@as_json_option
def set_(
    name: str,
    passage_tokens: int | None,
    overlap: int | None,
    as_json: bool,
    **style: Any,
) -> None:
    """Choose the length of a collection's passages, or how its answers are worded.

    After another length the next ingest splits the files again. An empty text undoes a choice.
    """
    worded = {key: value for key, value in style.items() if value is not None}
    sized = passage_tokens is not None or overlap is not None
    if not worded and not sized:
        raise UsageError("give --passage-tokens, --overlap, --instruction, --tone, --language "
                         "or --length")  # fmt: skip
    with Library() as library:
        if worded:
            before = library.find_collection(name).style
            library.admin.set_style(name, replace(before, **worded))
            if not sized:
                _done({"style": worded}, f"answers of {name!r} are worded so from now on", as_json)
                return
        others = library.admin.set_passages(name, tokens=passage_tokens, overlap=overlap)
    chosen: dict[str, object] = {
        "passage_tokens": passage_tokens,
        "overlap": overlap,
        "other_sizes": others,
    }
    note = f"{others} documents of {name!r} have passages of another length: ingest their files"
    _done(chosen, note, as_json)


@command.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def delete(name: str, yes: bool, as_json: bool) -> None:
    """Delete a collection with its indexes. The files that it was made from stay."""
    with Library() as library:
        count = library.documents.statistics(name).documents
        if not yes:
            _confirm(f"Delete collection {name!r} with {count} documents?")
        library.admin.delete_collection(name)
    _done({"deleted": name, "documents": count}, f"deleted {name!r} ({count} documents)", as_json)


def _confirm(question: str) -> None:
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort:
        raise UsageError("not deleted: answer y, or give --yes") from None


def _list(as_json: bool) -> None:
    with Library() as library:
        rows = []
        for collection in library.collections():
            counts = library.documents.statistics(collection.name)
            rows.append(
                {
                    "name": collection.name,
                    "documents": counts.documents,
                    "failed": counts.states.get("failed", 0),
                    "incomplete": counts.incomplete,
                    "passages": counts.passages,
                    "images": counts.images,
                    "bytes": counts.bytes,
                    "spaces": counts.spaces,
                }
            )
    if as_json:
        print_json({"collections": rows})
        return
    for row in rows:
        failed = f", {row['failed']} failed" if row["failed"] else ""
        failed += f", {row['incomplete']} incomplete" if row["incomplete"] else ""
        echo(
            f"{row['name']}: {row['documents']} documents{failed}, {row['passages']} passages, "
            f"{row['images']} images"
        )
    if not rows:
        echo("no collections yet: `ragcore ingest FOLDER` makes one")


def _done(result: dict[str, object], line: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        echo(line)
