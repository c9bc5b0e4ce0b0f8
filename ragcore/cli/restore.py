"""`ragcore restore`."""

from __future__ import annotations

from pathlib import Path

import click

from ragcore.backup import restore
from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.settings import Settings


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Put a library that is there aside first.")
@as_json_option
def command(file: Path, replace: bool, as_json: bool) -> None:
    """Put the library of a backup FILE into the home folder. Stop its servers first."""
    settings = Settings()
    found, aside = restore(file, settings, replace=replace, progress=progress_line())
    if as_json:
        print_json(
            {"home": str(settings.home), "files": found.files, "bytes": found.size,
             "aside": str(aside) if aside else None}
        )  # fmt: skip
        return
    echo(f"{settings.home}: {found.files:,} files, {found.size / 1e6:,.1f} MB")
    if aside:
        echo(f"what was there is now {aside}")
    echo("`ragcore doctor` checks it; indexes are made again when first needed")
