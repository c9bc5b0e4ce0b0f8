"""`ragcore mcp`."""

from __future__ import annotations

import os
import threading
import time

import click

from ragcore.cli.output import echo
from ragcore.errors import RagcoreError, UsageError
from ragcore.extras import require_extra
from ragcore.library import KeyInfo, Keys, Library


@click.command("mcp")
@click.option(
    "-c", "--collection", "collections", multiple=True, help="Only this one; may be repeated."
)
@click.option("--write", is_flag=True, help="Let the assistant add documents too.")
@click.option(
    "--allow",
    "folders",
    multiple=True,
    metavar="FOLDER",
    help="With --write: a folder that files may be added from; may be repeated.",
)
@click.option(
    "--account",
    metavar="KEY",
    help="Do what this account may, by number or prefix (`ragcore keys list`), and end with it.",
)
def command(
    collections: tuple[str, ...], write: bool, folders: tuple[str, ...], account: str | None
) -> None:
    """Serve the library to assistants (Model Context Protocol) over stdin and stdout.

    It is started by the assistant's program, not by hand.
    """
    if folders and not write:
        raise UsageError("--allow goes with --write")
    require_extra("mcp", "tools for assistants")
    from ragcore.mcp import make_server

    with Library() as library:
        keys = library.admin.keys
        info = keys.named(account) if account is not None else None
        server = make_server(
            library, collections=collections, write=write, allow=folders, account=info
        )
        if info is not None:
            threading.Thread(target=_end_with, args=(keys, info, library), daemon=True).start()
        server.run("stdio")


def _end_with(keys: Keys, info: KeyInfo, library: Library) -> None:
    """End the connection within a second of the account's end."""
    while True:
        time.sleep(1.0)
        try:
            if keys.get(info.id) is not None:
                continue
        except RagcoreError:  # the database is away: the tools say so
            continue
        echo(f"ragcore: the account {info.prefix}… is live no longer", err=True)
        library.close()
        os._exit(1)  # the main thread waits for standard input, which nothing interrupts
