"""A web site on a loopback address: pages in a dictionary, requests recorded."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    body: bytes = b""
    media_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: bool = True  # whether the server says one, and answers 304 to it


@dataclass
class Request:
    path: str
    headers: Mapping[str, str]
    status: int


class Site:
    """`pages` by path with its query; what is not among them is 404."""

    def __init__(self, address: str) -> None:
        self.pages: dict[str, Page | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[Request] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that leaves early is what some tests want

        self.server = Server((address, 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://{address}:{self.port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        page = self.pages.get(handler.path, Page(b"not found", status=404, etag=False))
        if not isinstance(page, Page):
            self.requests.append(Request(handler.path, dict(handler.headers), 200))
            page(handler)
            return
        tag = f'"{hashlib.sha256(page.body).hexdigest()[:16]}"' if page.etag else ""
        same = bool(tag) and handler.headers.get("If-None-Match") == tag
        status, body = (304, b"") if same else (page.status, page.body)
        self.requests.append(Request(handler.path, dict(handler.headers), status))
        handler.send_response(status)
        handler.send_header("Content-Type", page.media_type)
        handler.send_header("Content-Length", str(len(body)))
        if tag:
            handler.send_header("ETag", tag)
        for name, value in page.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def paths(self, status: int | None = None) -> list[str]:
        """The paths that were asked for, in order; of one status only if it is given."""
        return [one.path for one in self.requests if status in (None, one.status)]


@contextmanager
def web_site(address: str = "127.0.0.1") -> Iterator[Site]:
    site = Site(address)
    thread = threading.Thread(target=site.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()
