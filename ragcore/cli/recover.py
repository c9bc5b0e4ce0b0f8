"""`ragcore recover`."""

from __future__ import annotations

from pathlib import Path

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.library import Library

_MOST = 20  # documents that are named


@click.command("recover")
@click.argument("folder", type=click.Path(path_type=Path))
@as_json_option
def command(folder: Path, as_json: bool) -> None:
    """Save what can be read of a damaged library into a new home FOLDER.

    The old home is not changed. Documents that lost something are read again by the next ingest.
    """
    with Library() as library:
        found = library.admin.recover(folder, progress=progress_line())
    if as_json:
        print_json(
            {"home": str(folder.expanduser().absolute()), "rows": found.rows, "lost": found.lost,
             "documents": found.documents, "files": found.files}
        )  # fmt: skip
        return
    for table, count in found.rows.items():
        lost = found.lost[table]
        if count or lost:
            echo(f"{table:<22}{count:>10,}" + (f"  {lost:,} lost" if lost else ""))
    for path in found.documents[:_MOST]:
        echo(f"not whole: {path}")
    if len(found.documents) > _MOST:
        echo(f"not whole: {len(found.documents) - _MOST} more")
    echo(
        f"{folder} has what could be read: set RAGCORE_HOME to it, run `ragcore doctor --repair`, "
        "then ingest the folders again"
    )
