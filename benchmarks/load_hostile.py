"""Clients of `benchmarks/load.py --hostile`: other work, and requests that should be refused.

A hostile request is answered with what is wrong with it (4xx); everything from 500 on is a
failure, except 503 with Retry-After.
"""

from __future__ import annotations

import json
import random
import uuid

from locust import FastHttpUser, between, task

API = "/api/v1/collections/notes"
OTHER = "/api/v1/collections/uploads"


def deep(depth: int) -> object:
    value: object = {"type": "string"}
    for _ in range(depth):
        value = {"type": "object", "properties": {"a": value}}
    return value


HOSTILE: tuple[tuple[str, str], ...] = tuple(
    (f"{API}/{path}", body if isinstance(body, str) else json.dumps(body))
    for path, body in (
        ("search", {"text": "x", "where": {"path": "/" + "*?" * 14 + "\u2603"}}),
        ("search", {"text": "x", "where": {"page": "9" * 300}}),
        ("search", {"text": "a" * 200_000}),
        ("search", {"text": "x", "limit": 10**30}),
        ("search", '{"text":"x","where":[' + "[]," * 200_000 + "[]]}"),
        ("search", "[" * 100_000),
        ("search", {"text": "x", "image": "!" * 100_000}),
        ("ask", {"question": "x", "schema": deep(200)}),
        ("ask", {"question": "x", "schema": {"$ref": "file:///etc/passwd"}}),
        ("ask", {"question": "x", "schema": {"type": "string", "pattern": "(a+)+$"}, "k": -1}),
        ("ingests", {"paths": ["/proc/kmsg", "/dev/zero", "/nowhere"]}),
    )
)


class Mixed(FastHttpUser):
    """Uploads, lists of documents, pages: what people do besides searching."""

    weight = 2
    wait_time = between(0.5, 2.0)
    connection_timeout = network_timeout = 170.0

    @task(3)
    def look(self) -> None:
        with self.client.get(
            f"{API}/documents?limit=20", name="documents", catch_response=True
        ) as reply:
            found = reply.json()["items"] if reply.status_code == 200 else []
        if found:
            page = f"{API}/documents/{random.choice(found)['id']}/pages/1"
            self.client.get(page, name="page")

    @task(1)
    def upload(self) -> None:
        name = f"note-{uuid.uuid4().hex}.txt"
        text = f"The keeper saw {name} at the weir. " * 20
        edge = uuid.uuid4().hex
        body = (
            f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            f"Content-Type: text/plain\r\n\r\n{text}\r\n--{edge}--\r\n"
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        with self.client.post(
            f"{OTHER}/uploads", data=body.encode(), headers=kind, name="upload", catch_response=True
        ) as reply:
            if reply.status_code == 503 and "Retry-After" in reply.headers:
                reply.success()


class Hostile(FastHttpUser):
    """One hostile request after the other."""

    weight = 2
    wait_time = between(0.2, 1.0)
    connection_timeout = network_timeout = 170.0

    @task
    def attack(self) -> None:
        path, body = random.choice(HOSTILE)
        kind = {"Content-Type": "application/json"}
        with self.client.post(
            path, data=body.encode(), headers=kind, name="hostile", catch_response=True
        ) as reply:
            code = reply.status_code
            if 400 <= code < 500 or (code == 503 and "Retry-After" in reply.headers):
                reply.success()
            else:
                reply.failure(f"{code} for {body[:80]}")

    @task
    def health(self) -> None:
        self.client.get("/healthz", name="healthz")
