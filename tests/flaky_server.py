"""A real HTTP server on a loopback port that does, request by request, what a test asks for."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler"], None]


def answer(value: object, status: int = 200, **headers: str) -> Act:
    """JSON, with headers such as Retry_After."""

    def act(handler: Handler) -> None:
        data = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.end_headers()
        handler.wfile.write(data)

    return act


def refuse(status: int, message: str = "not now", **headers: str) -> Act:
    return answer({"error": {"message": message}}, status, **headers)


def silence(seconds: float) -> Act:
    """Say nothing for so long, or until the server is closed."""
    return lambda handler: handler.pause(seconds)


def hang_up(handler: Handler) -> None:
    """Break the connection without an answer."""
    # a reset, not an orderly end: as a machine does that lost its power
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def words(
    *pieces: str, then: Act | None = None, every: float = 0.0, length: int | None = None
) -> Act:
    """A chat answer in pieces; `then` instead of its proper end."""

    def act(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        for piece in pieces:
            handler.event({"choices": [{"delta": {"content": piece}}]})
            handler.pause(every)
        if then is None:
            handler.wfile.write(b"data: [DONE]\n\n")
        else:
            then(handler)

    return act


class FlakyServer(ThreadingHTTPServer):
    """Acts in the order of `script`; the last act is repeated."""

    daemon_threads = True

    def __init__(self, script: Sequence[Act]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.times: list[float] = []
        self.bodies: list[Any] = []
        self.lock = threading.Lock()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # hanging up makes one


class Handler(BaseHTTPRequestHandler):
    server: FlakyServer
    protocol_version = "HTTP/1.1"
    body: Any = None

    def do_GET(self) -> None:
        self.act(None)

    def do_POST(self) -> None:
        self.act(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def act(self, body: Any) -> None:
        self.body = body
        with self.server.lock:
            self.server.times.append(time.monotonic())
            self.server.bodies.append(body)
            script = self.server.script
            act = script.pop(0) if len(script) > 1 else script[0]
        self.close_connection = True
        act(self)

    def end_headers(self) -> None:
        # Said aloud: a client that took the connection for one to use again would now and then
        # send its next request into the closing of this one.
        self.send_header("Connection", "close")
        super().end_headers()

    def pause(self, seconds: float) -> None:
        self.server.over.wait(seconds)

    def event(self, value: object) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(*script: Act) -> Iterator[FlakyServer]:
    server = FlakyServer(script)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
