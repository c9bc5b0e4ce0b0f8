"""`ragcore ui`."""

from __future__ import annotations

import threading
import webbrowser

import click

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
    help="Where to listen. Other than this computer's own it needs a password and allowed folders.",
)
@click.option("--base-path", default="", help="Path under which a reverse proxy shows the pages.")
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
@click.option("--hash-password", is_flag=True, help="Ask for a password, print its hash and stop.")
def command(port: int, address: str, base_path: str, browser: bool, hash_password: bool) -> None:
    """Open the library in a browser. Ctrl-C stops; an ingest goes on at the next start."""
    if hash_password:
        from ragcore.accounts import hash_password as hashed

        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        click.echo(hashed(password))
        return
    from app.server import check_exposure, is_loopback, serve

    settings = Settings()
    check_exposure(settings, address)
    if browser:
        host = address if is_loopback(address) else "localhost"
        url = f"http://{host}:{port}/{base_path.strip('/')}"
        timer = threading.Timer(1.5, webbrowser.open, [url])
        timer.daemon = True
        timer.start()
    serve(settings, address=address, port=port, base_path=base_path)
