"""The server: listening, who may be let in where, and an orderly end."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from ragcore import logs
from ragcore.api.app import LOOPBACK_NAMES, create_app
from ragcore.api.work_limiter import WorkLimiter
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings

_TO_REJECT = 5  # seconds that remain to send 503 for an answer that is given up
FINISH = 25  # seconds that answers under way are given when the server is stopped


def is_loopback(host: str) -> bool:
    """Whether only this computer itself can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(library: Library, host: str, *, keys_needed: bool) -> None:
    """Raises UsageError where keys are needed and there is none that anybody could use."""
    if keys_needed and not library.admin.keys.any_live():
        raise UsageError(
            f"to serve on {host} with keys, first make one: `ragcore keys create --name NAME "
            "--scope read`"
        )


class _Server(uvicorn.Server):
    """Streams of events end when the server is stopped, so that it need not wait for them.

    Answers go on; those that would take too long get 503 before they are cut off.
    """

    def __init__(self, config: uvicorn.Config, limiter: WorkLimiter) -> None:
        super().__init__(config)
        self._limiter = limiter

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._limiter.stop()
        last_call = threading.Timer(FINISH - _TO_REJECT, self._limiter.cancel)
        last_call.daemon = True
        last_call.start()
        super().handle_exit(sig, frame)


def server_config(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """Options of uvicorn. Addresses of clients come from trusted proxies, and from no others."""
    return {
        "app": app,
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "timeout_graceful_shutdown": FINISH,
        "timeout_keep_alive": 30,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
    }


def serve(
    library: Library,
    *,
    host: str,
    port: int,
    keys: bool = False,
    certificate: str | None = None,
    private_key: str | None = None,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve until stopped by SIGINT or SIGTERM. Raises UsageError, see `check_exposure`.

    Keys are needed wherever others can reach the server, and with `keys` on this computer too.
    `listening` is called with the port once callers can connect.
    """
    keys_needed = keys or not is_loopback(host)
    check_exposure(library, host, keys_needed=keys_needed)
    with _listen(host, port) as listener:
        app = create_app(library, keys_needed=keys_needed, hosts=[*LOOPBACK_NAMES, host])
        options = server_config(app, library.admin.settings)
        config = uvicorn.Config(**options, ssl_certfile=certificate, ssl_keyfile=private_key)
        logs.adopt_servers(library.admin.settings)
        listening(int(listener.getsockname()[1]))
        with suppress(KeyboardInterrupt):  # how it is stopped, not a failure
            _Server(config, app.state.limiter).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"the server cannot listen on {host} port {port}: {reason}") from None
