"""`ragcore restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.library import Library
from ragcore.settings import Settings


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Put a library that is there aside first.")
@click.option("--check", is_flag=True, help="Check the archive, show what would change, and stop.")
@as_json_option
def command(file: Path, replace: bool, check: bool, as_json: bool) -> None:
    """Put the library of a backup FILE into the home folder. Stop its servers first.

    The archive's files and database are checked before anything is replaced.
    """
    settings = Settings()
    with Library(settings) as library:
        found = library.admin.restore(file, replace=replace, check=check, progress=progress_line())
    if as_json:
        print_json(
            {"home": str(settings.home), "files": found.files, "bytes": found.size,
             "aside": str(found.aside) if found.aside else None, "checked_only": check,
             "settings": [asdict(one) for one in found.settings]}
        )  # fmt: skip
        return
    echo(f"{settings.home}: {found.files:,} files, {found.size / 1e6:,.1f} MB")
    for one in found.settings:
        before = "not set" if one.before is None else one.before
        after = "not set" if one.after is None else one.after
        echo(f"setting {one.name}: {before} -> {after}")
    if check:
        echo("the archive is sound; nothing was changed")
        return
    if found.aside:
        echo(f"what was there is now {found.aside}")
    echo("`ragcore doctor` checks it; indexes are made again when first needed")
