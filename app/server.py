"""The web server: Streamlit's pages behind `Access`, one library for all of its users."""

from __future__ import annotations

import asyncio
import ipaddress
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from app.access import Access
from app.state import close_libraries, open_early
from ragcore.errors import UsageError
from ragcore.settings import Settings

HERE = Path(__file__).parent


def make_app(settings: Settings, *, base_path: str = "") -> st.App:
    """The ASGI application. Its library is opened and closed with it.

    What a stopped server left behind goes on and models load before anybody looks; jobs that run
    at the end can be resumed.
    """

    @asynccontextmanager
    async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any] | None]:
        opening = asyncio.create_task(asyncio.to_thread(open_early))
        try:
            yield None
        finally:
            await opening
            await asyncio.to_thread(close_libraries)

    return st.App(
        HERE / "main.py",
        lifespan=lifespan,
        middleware=[Middleware(Access, settings=settings, base_path=base_path)],
    )


def serve(settings: Settings, *, address: str, port: int, base_path: str = "") -> None:
    """Run until stopped. Raises UsageError where listening to others would not be safe."""
    check_exposure(settings, address)
    options: dict[str, Any] = dict(_flat(tomllib.loads(_config_file().read_text("utf-8"))))
    options |= {
        "server.address": address,
        "server.port": port,
        "server.baseUrlPath": base_path,
        "server.maxUploadSize": settings.ui_upload_mb,
    }
    if is_loopback(address):
        # A page elsewhere cannot reach us through a name of its own (DNS rebinding).
        options["server.allowedHosts"] = ["localhost", "127.0.0.1", "::1", address]
    make_app(settings, base_path=base_path).run(config=options)


def check_exposure(settings: Settings, address: str) -> None:
    """Raises UsageError unless `address` is this computer's own, or the library is protected."""
    if is_loopback(address):
        return
    missing = []
    if not settings.ui_password_hash:
        missing.append("a password (`ragcore ui --hash-password`, setting ui_password_hash)")
    if not settings.allowed_roots:
        missing.append("the folders that may be ingested (setting allowed_roots)")
    if missing:
        raise UsageError(f"to listen on {address}, first set {' and '.join(missing)}")


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
