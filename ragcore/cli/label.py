"""`ragcore label`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.cli.search import parse_where, where_option
from ragcore.errors import UnreadableFile, UsageError
from ragcore.library import DEFAULT_COLLECTION, Library
from ragcore.types import Label


@click.command("label")
@click.argument("labels", nargs=-1)
@click.option("--labels-file", type=click.Path(path_type=Path), help="More labels, one a line.")
@click.option(
    "--image",
    "images",
    multiple=True,
    help="An image file instead of a collection; may be repeated.",
)
@click.option("--none", is_flag=True, help='Also "none of these" for what fits no label.')
@click.option("--top", type=int, default=3, show_default=True, help="Labels for each image.")
@click.option("--least", type=float, default=0.0, help="Leave out what is less sure, 0 to 1.")
@where_option
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@as_json_option
def command(
    labels: tuple[str, ...],
    labels_file: Path | None,
    images: tuple[str, ...],
    none: bool,
    top: int,
    least: float,
    where: tuple[str, ...],
    collection: str,
    as_json: bool,
) -> None:
    """Choose among LABELS, any names, for every image: nothing is trained.

    For example: ragcore label dog cat "sports car" --collection photos
    """
    if not 0 <= least <= 1:
        raise UsageError(f"--least is a number from 0 to 1, not {least}")
    names = [*labels, *_names_in(labels_file)]
    with Library() as library:
        if images:
            found, failed = _label_files(library, images, names, top, none)
        else:
            labeled = library.label(
                names, collection=collection, where=parse_where(where), top=top, none=none
            )
            found, failed = [_stored(one.hit, one.labels) for one in labeled], []
    found = [one for one in found if one["labels"][0]["probability"] >= least]
    if as_json:
        print_json({"images": found, "failed": failed})
    else:
        _show(found, failed)
    if failed:
        raise SystemExit(1)


def _names_in(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8: save it as such") from None
    return [line.strip() for line in lines if line.strip()]


def _label_files(
    library: Library, images: Sequence[str], names: Sequence[str], top: int, none: bool
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """One by one: a file that cannot be read costs itself only."""
    found, failed = [], []
    for path in images:
        try:
            (best,) = library.images.label([path], names, top=top, none=none)
        except UnreadableFile as error:
            failed.append({"path": path, "error": str(error)})
        else:
            found.append({"path": path, "labels": _labels(best)})
    return found, failed


def _stored(hit: Any, labels: Sequence[Label]) -> dict[str, Any]:
    return {
        "id": hit.id,
        "document": hit.document,
        "page": hit.page,
        "path": hit.path,
        "labels": _labels(labels),
    }


def _labels(labels: Sequence[Label]) -> list[dict[str, Any]]:
    return [{"label": one.name, "probability": round(one.probability, 4)} for one in labels]


def _show(found: list[dict[str, Any]], failed: list[dict[str, str]]) -> None:
    for one in found:
        fits = ", ".join(f"{fit['label']} {fit['probability']:.2f}" for fit in one["labels"])
        page = f", page {one['page']}" if one.get("page") is not None else ""
        echo(f"{one['path']}{page}: {fits}")
    for bad in failed:
        echo(bad["error"], err=True)
    if not found and not failed:
        echo("no image to label")
