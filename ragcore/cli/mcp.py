"""`ragcore mcp`."""

from __future__ import annotations

import click

from ragcore.extras import require_extra
from ragcore.library import Library


@click.command("mcp")
@click.option(
    "-c", "--collection", "collections", multiple=True, help="Only this one; may be repeated."
)
@click.option("--write", is_flag=True, help="Let the assistant add documents too.")
def command(collections: tuple[str, ...], write: bool) -> None:
    """Serve the library to assistants (Model Context Protocol) over stdin and stdout.

    It is started by the assistant's program, not by hand.
    """
    require_extra("mcp", "tools for assistants")
    from ragcore.mcp import make_server

    with Library() as library:
        make_server(library, collections=collections, write=write).run("stdio")
