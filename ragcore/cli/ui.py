"""`ragcore ui`."""

from __future__ import annotations

import threading
import webbrowser

import click

from ragcore.extras import require_extra
from ragcore.settings import Settings


@click.command("ui")
@click.option(
    "--port",
    default=8501,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Where to listen.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. Others than this computer itself log in (`ragcore keys create`).",
)
@click.option("--base-path", default="", help="Path under which a reverse proxy shows the pages.")
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
@click.option("--login", is_flag=True, help="Log in on this computer too (behind a proxy).")
def command(port: int, address: str, base_path: str, browser: bool, login: bool) -> None:
    """Open the library in a browser. Ctrl-C stops; an ingest goes on at the next start."""
    require_extra("ui", "the browser pages")
    from ragcore_app.server import is_loopback, serve

    settings = Settings()
    if browser:
        host = address if is_loopback(address) else "localhost"
        url = f"http://{host}:{port}/{base_path.strip('/')}"
        timer = threading.Timer(1.5, webbrowser.open, [url])
        timer.daemon = True
        timer.start()
    serve(settings, address=address, port=port, base_path=base_path, login=login)
