"""A model hub on this machine: just enough of its HTTP interface for one model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "4" * 39 + "d"


@contextmanager
def serve_model(repo: str, files: Mapping[str, bytes], *, license: str = "") -> Iterator[str]:
    """Serve `files` as the model `repo` with one commit on main; yield the hub's address."""
    card = {"cardData": {"license": license}} if license else {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            return None

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            if path == f"/api/models/{repo}/revision/main":
                siblings = [{"rfilename": name} for name in files]
                self.send_json({"id": repo, "sha": COMMIT, "siblings": siblings, **card})
            elif path == f"/api/models/{repo}/tree/{COMMIT}":
                self.send_json([_leaf(name, data) for name, data in files.items()])
            elif path.startswith(prefix := f"/{repo}/resolve/{COMMIT}/"):
                self.send_file(path.removeprefix(prefix), body)
            else:
                self.send_bytes(b"", "text/plain", {"X-Error-Code": "RepoNotFound"}, status=404)

        def send_json(self, value: object) -> None:
            self.send_bytes(json.dumps(value).encode(), "application/json", {})

        def send_file(self, name: str, body: bool) -> None:
            data = files[name]
            headers = {"ETag": f'"{_etag(name, data)}"', "X-Repo-Commit": COMMIT}
            self.send_bytes(data, "application/octet-stream", headers, body=body)

        def send_bytes(
            self,
            data: bytes,
            kind: str,
            headers: Mapping[str, str],
            *,
            status: int = 200,
            body: bool = True,
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _etag(name: str, data: bytes) -> str:
    if name.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _leaf(name: str, data: bytes) -> dict[str, object]:
    leaf: dict[str, object] = {
        "type": "file",
        "path": name,
        "size": len(data),
        "oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
    }
    if name.endswith(".safetensors"):
        digest = hashlib.sha256(data).hexdigest()
        leaf["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 134}
    return leaf
