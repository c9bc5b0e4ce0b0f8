"""`ragcore images`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.cli.search import parse_where, where_option
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, ImageInfo, ImageMarks, Library
from ragcore.text import clock

_collection = click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
_ids = click.argument("image_ids", nargs=-1, type=click.IntRange(1), metavar="[IMAGE_ID]...")


def _chosen(library: Library, collection: str, ids: tuple[int, ...], where: tuple[str, ...]) -> Any:
    """The images that are named, or those that meet the filters."""
    if bool(ids) == bool(where):
        raise UsageError("name images by their numbers, or choose them by --where")
    if ids:
        return ids
    groups = library.images.groups(collection, where=parse_where(where))
    return tuple(one for group in groups for one in group.ids)


def _report(count: int, what: str, as_json: bool) -> None:
    if as_json:
        print_json({"images": count})
    else:
        echo(f"{count} image{'' if count == 1 else 's'} {what}")


def _on_images(command_: Callable[..., Any]) -> Callable[..., Any]:
    for option in (as_json_option, _collection, where_option, _ids):
        command_ = option(command_)
    return command_


@click.group("images")
def command() -> None:
    """List images, and sort them: albums, favorites, ratings, tags, notes."""


@command.command("list")
@where_option
@_collection
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the first ones.")
@as_json_option
def list_(where: tuple[str, ...], collection: str, limit: int, offset: int, as_json: bool) -> None:
    """List a collection's images, the newest first, with what people say of them.

    For example: ragcore images list --where favorite=yes --where "taken=2024"
    """
    with Library() as library:
        rows = library.images.list(collection, where=parse_where(where), limit=limit, offset=offset)
        marks = library.images.marks([row.id for row in rows])
    if as_json:
        print_json({"images": [_values(row, marks.get(row.id, ImageMarks())) for row in rows]})
        return
    for row in rows:
        page = f", page {row.page}" if row.page is not None else ""
        page = f", at {clock(row.second)}" if row.second is not None else page
        echo(f"{row.id:>6}  {row.path}{page}{_said(marks.get(row.id, ImageMarks()))}")
    if not rows:
        echo("no image meets this")


def _values(row: ImageInfo, marks: ImageMarks) -> dict[str, Any]:
    return {
        "id": row.id, "path": row.path, "page": row.page, "second": row.second, "width": row.width,
        "height": row.height, "caption": row.caption, **asdict(marks),
    }  # fmt: skip


def _said(marks: ImageMarks) -> str:
    parts = ["favorite"] if marks.favorite else []
    if marks.rating:
        parts.append("rejected" if marks.rating < 0 else "*" * marks.rating)
    parts += [f"#{tag}" for tag in marks.tags]
    parts += [f"in {album!r}" for album in marks.albums]
    if marks.note:
        parts.append(f'"{" ".join(marks.note.split())}"')
    return f"  ({', '.join(parts)})" if parts else ""


@command.command("favorite")
@_on_images
@click.option("--off", is_flag=True, help="Make them no favorites any more.")
def favorite(
    image_ids: tuple[int, ...], where: tuple[str, ...], collection: str, as_json: bool, off: bool
) -> None:
    """Make images favorites."""
    with Library() as library:
        ids = _chosen(library, collection, image_ids, where)
        count = library.images.mark(ids, collection=collection, favorite=not off)
    _report(count, "no favorites any more" if off else "made favorites", as_json)


@command.command("rate")
@_on_images
@click.option("--stars", type=click.IntRange(-1, 5), required=True, help="0 to 5; -1: rejected.")
def rate(
    image_ids: tuple[int, ...], where: tuple[str, ...], collection: str, as_json: bool, stars: int
) -> None:
    """Rate images; your rating counts in place of that in the file, which stays as it is."""
    with Library() as library:
        ids = _chosen(library, collection, image_ids, where)
        count = library.images.mark(ids, collection=collection, rating=stars)
    _report(count, "rated", as_json)


@command.command("tag")
@_on_images
@click.option("--add", "added", multiple=True, help="A tag to give; may be repeated.")
@click.option("--remove", "removed", multiple=True, help="A tag to take away; may be repeated.")
def tag(
    image_ids: tuple[int, ...],
    where: tuple[str, ...],
    collection: str,
    as_json: bool,
    added: tuple[str, ...],
    removed: tuple[str, ...],
) -> None:
    """Give images tags, or take them away."""
    if not added and not removed:
        raise UsageError("name the tags: --add TAG or --remove TAG")
    with Library() as library:
        ids = _chosen(library, collection, image_ids, where)
        count = library.images.mark(ids, collection=collection, add_tags=added, remove_tags=removed)
    _report(count, "tagged", as_json)


@command.command("note")
@click.argument("image_id", type=click.IntRange(1))
@click.argument("text")
@_collection
@as_json_option
def note(image_id: int, text: str, collection: str, as_json: bool) -> None:
    """Write TEXT as an image's note in place of the one before; "" removes it."""
    with Library() as library:
        count = library.images.mark([image_id], collection=collection, note=text)
        if not count:
            raise UsageError(f"collection {collection!r} has no image {image_id}")
    _report(count, "has the note", as_json)


@command.command("export-xmp")
@click.argument("folder", type=click.Path(path_type=Path))
@where_option
@_collection
@as_json_option
def export_xmp(folder: Path, where: tuple[str, ...], collection: str, as_json: bool) -> None:
    """Write XMP sidecars of image files into FOLDER, for other programs.

    They have ratings, keywords and tags, captions, notes, dates and positions. Originals are
    never written to. Beside originals, sidecars of other programs are left as they are.
    """
    with Library() as library:
        done = library.images.export_xmp(folder, collection=collection, where=parse_where(where))
    if as_json:
        skipped = [{"path": path, "reason": reason} for path, reason in done.skipped]
        print_json({"written": done.written, "skipped": skipped})
        return
    for path, reason in done.skipped:
        echo(f"{path}: {reason}", err=True)
    echo(f"{done.written} sidecar{'' if done.written == 1 else 's'} written to {folder}")


@command.group("album")
def album() -> None:
    """Make albums, and choose what is in them."""


@album.command("list")
@_collection
@as_json_option
def album_list(collection: str, as_json: bool) -> None:
    """List albums."""
    with Library() as library:
        found = library.albums.list(collection)
    if as_json:
        print_json({"albums": [{"name": one.name, "images": one.images} for one in found]})
        return
    for one in found:
        echo(f"{one.images:>6}  {one.name}")
    if not found:
        echo(f"no albums in {collection!r}: `ragcore images album create NAME` makes one")


@album.command("create")
@click.argument("name")
@_ids
@_collection
@as_json_option
def album_create(name: str, image_ids: tuple[int, ...], collection: str, as_json: bool) -> None:
    """Make an album, of these images if any are named."""
    with Library() as library:
        count = library.albums.create(name, image_ids=image_ids, collection=collection)
    _report(count, f"in the new album {name!r}", as_json)


@album.command("add")
@click.argument("name")
@_on_images
def album_add(
    name: str, image_ids: tuple[int, ...], where: tuple[str, ...], collection: str, as_json: bool
) -> None:
    """Put images at the end of an album."""
    with Library() as library:
        ids = _chosen(library, collection, image_ids, where)
        count = library.albums.add(name, ids, collection=collection)
    _report(count, f"added to {name!r}", as_json)


@album.command("remove")
@click.argument("name")
@_on_images
def album_remove(
    name: str, image_ids: tuple[int, ...], where: tuple[str, ...], collection: str, as_json: bool
) -> None:
    """Take images out of an album; they stay in the collection."""
    with Library() as library:
        ids = _chosen(library, collection, image_ids, where)
        count = library.albums.remove(name, ids, collection=collection)
    _report(count, f"taken out of {name!r}", as_json)


@album.command("rename")
@click.argument("name")
@click.argument("new_name")
@_collection
def album_rename(name: str, new_name: str, collection: str) -> None:
    """Give an album another name."""
    with Library() as library:
        library.albums.rename(name, new_name, collection=collection)
    echo(f"{name!r} is now {new_name!r}")


@album.command("delete")
@click.argument("name")
@_collection
def album_delete(name: str, collection: str) -> None:
    """Delete an album; its images stay."""
    with Library() as library:
        library.albums.delete(name, collection=collection)
    echo(f"album {name!r} deleted; its images stay")
