"""`ragcore plugins`."""

from __future__ import annotations

from itertools import groupby

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.library import Library


@click.command("plugins")
@as_json_option
def command(as_json: bool) -> None:
    """List what can be exchanged or added, from which package, and what cannot be used and why.

    Everything is loaded once to find out. What ships with ragcore is listed too.
    """
    with Library() as library:
        listed = library.admin.plugins()
    if as_json:
        print_json({"plugins": listed})
        return
    for group, of_group in groupby(listed, key=lambda one: one.group):
        echo(group)
        for (package, version), of_package in groupby(
            of_group, key=lambda one: (one.package, one.version)
        ):
            members = list(of_package)
            if usable := ", ".join(one.name for one in members if one.active):
                echo(f"  {package} {version}: {usable}")
            for one in members:
                if not one.active:
                    echo(f"  {package} {version}: {one.name} cannot be used: {one.error}")
