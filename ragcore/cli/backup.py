"""`ragcore backup`."""

from __future__ import annotations

from pathlib import Path

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.library import Library


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@as_json_option
def command(file: Path, as_json: bool) -> None:
    """Write the whole library into one FILE (.tar or .tar.gz), also while it is in use.

    Left out: indexes, which are made again, model weights, and the files that were ingested
    where they lie.
    """
    with Library() as library:
        made = library.admin.backup(file, progress=progress_line())
    if as_json:
        print_json(
            {"path": str(made.path), "files": made.files, "bytes": made.size,
             "missing": list(made.missing)}
        )  # fmt: skip
        return
    echo(f"{made.path}: {made.files:,} files, {made.size / 1e6:,.1f} MB")
    for name in made.missing:
        echo(f"removed meanwhile: {name}", err=True)
