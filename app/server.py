"""The web server: Streamlit's pages behind `Access`, one library for all of its users."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import tomllib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from ragcore.errors import UsageError
from ragcore.library import Keys, Library
from ragcore.logs import adopt_servers
from ragcore.settings import Settings

from . import image_routes
from .access import Access
from .login import Login
from .originals import ORIGINALS, original
from .state import close_libraries, open_early, use_login
from .thumbnails import THUMBNAILS, thumbnail

HERE = Path(__file__).parent


def make_app(
    *, login: Login | None = None, base_path: str = "", hosts: Collection[str] = ()
) -> st.App:
    """The ASGI application. Its library is opened and closed with it. See `Access`.

    What a stopped server left behind goes on and models load before anybody looks; jobs that run
    at the end can be resumed.
    """
    root = f"/{base_path.strip('/')}/".replace("//", "/")

    @asynccontextmanager
    async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any] | None]:
        adopt_servers(Settings())
        use_login(login)
        opening = asyncio.create_task(asyncio.to_thread(open_early))
        try:
            yield None
        finally:
            await opening
            await asyncio.to_thread(close_libraries)
            use_login(None)

    return st.App(
        HERE / "main.py",
        lifespan=lifespan,
        routes=[
            Route(f"{root}{THUMBNAILS}/{{image_id:int}}", thumbnail),
            Route(f"{root}{ORIGINALS}/{{document_id:int}}", original),
            *image_routes.routes(root),
        ],
        middleware=[Middleware(Access, login=login, base_path=base_path, hosts=hosts)],
    )


def serve(
    settings: Settings, *, address: str, port: int, base_path: str = "", login: bool = False
) -> None:
    """Run until stopped. Raises UsageError where listening to others would not be safe.

    Who comes in logs in wherever others can reach the pages, and with `login` here too.
    """
    options: dict[str, Any] = dict(_flat(tomllib.loads(_config_file().read_text("utf-8"))))
    options |= {
        "server.address": address,
        "server.port": port,
        "server.baseUrlPath": base_path,
        "server.maxUploadSize": settings.ui_upload_mb,
    }
    # Streamlit's server reads this when it starts: addresses of clients come from proxies that
    # are trusted, and from no others.
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(settings.trusted_proxies)
    if is_loopback(address) and not login:
        # A page elsewhere cannot reach us through a name of its own (DNS rebinding).
        hosts = {"localhost", "127.0.0.1", "::1", address}
        options["server.allowedHosts"] = sorted(hosts)
        make_app(base_path=base_path, hosts=hosts).run(config=options)
        return
    with Library(settings) as library:
        admin = library.admin
        check_exposure(admin.keys, address)
        guard = Login(admin.keys, admin.sessions, settings, admin.audit)
        make_app(login=guard, base_path=base_path).run(config=options)


def check_exposure(keys: Keys, address: str) -> None:
    """Raises UsageError where a login is needed and there is none that could log in."""
    if not keys.any_live():
        raise UsageError(
            f"to serve on {address} with a login, first make an account: `ragcore keys create "
            "--name NAME --scope admin --password`"
        )


def is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _config_file() -> Path:
    return HERE / ".streamlit" / "config.toml"


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a nested table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
