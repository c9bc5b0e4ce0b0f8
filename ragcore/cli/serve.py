"""`ragcore serve`."""

from __future__ import annotations

import logging

import click

from ragcore.cli.output import echo
from ragcore.extras import require_extra


@click.command("serve")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. Others than this computer itself need a key (`ragcore keys create`).",
)
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Where to listen; 0: any free port.",
)
@click.option("--keys", is_flag=True, help="Ask for keys on this computer too (behind a proxy).")
@click.option("--tls-cert", help="Certificate chain (PEM), to serve https.")
@click.option("--tls-key", help="Private key of the certificate (PEM).")
@click.option("--log-requests", is_flag=True, help="A line on stderr for each request.")
def command(
    host: str,
    port: int,
    keys: bool,
    tls_cert: str | None,
    tls_key: str | None,
    log_requests: bool,
) -> None:
    """Serve the library over HTTP. Ctrl-C stops; an ingest goes on at the next start."""
    require_extra("serve", "HTTP servers")
    from ragcore.api import is_loopback, serve
    from ragcore.library import Library

    if log_requests:
        logging.getLogger("ragcore.api.requests").setLevel(logging.INFO)
    guarded = "keys are needed" if keys or not is_loopback(host) else "no keys are needed"
    scheme = "https" if tls_cert else "http"

    def announce(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        where = f"serving on {scheme}://{shown}:{port} ({guarded})"
        if library.admin.settings.log_format == "json":
            logging.getLogger("ragcore.api").info(where)
        else:
            echo(f"{where}; Ctrl-C stops", err=True)

    with Library() as library:
        serve(
            library,
            host=host,
            port=port,
            keys=keys,
            certificate=tls_cert,
            private_key=tls_key,
            listening=announce,
        )
