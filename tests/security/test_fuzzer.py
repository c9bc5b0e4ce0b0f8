"""Every route of the OpenAPI description with hostile values, and a watchdog on /healthz.

One value of a request is hostile, the others are what the description gives as examples. No
answer is a 500; what is refused is a problem document; and /healthz answers all the while.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.conftest import Served, serving_files

from .test_hostile_requests import healthy, watched

pytestmark = pytest.mark.full

LEFT_OUT = ("/events", "/images/generations", "/imagine")  # as in tests/api/test_description.py
ALLOWED = {501, 503, 507}  # of the answers from 500 on
SECONDS = 60.0  # for one answer, on a busy machine


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


TEXTS = (
    "",
    "*?" * 500,
    "/" + "*?" * 4 + "[!a-",
    "[" * 300,
    "(a+)+$",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "' OR 1=1; DROP TABLE documents; --",
    "{{7*7}} ${7*7} %n%s%x",
    "nul\0byte",
    "\ud800 alone",
    "\u202egnp.exe\u2066\ufeff\u0007\x1b[2J",
    "e" + "\u0301" * 3_000,
    "\U0001f0a1" * 5_000,
    "a" * 200_000,
    "NEAR(a b, 5) AND \"x* OR col:y",
    "2024-02-30",
    "9" * 400,
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    -1, 0, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324, -0.0, math.inf, math.nan, True,
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None, {}, [], nested(30), nested(900), list(range(50_000)), {"a" * 5_000: "b"},
    {"$ref": "http://127.0.0.1:9/x"}, {str(n): n for n in range(5_000)},
)  # fmt: skip
HOSTILE: tuple[Any, ...] = (*TEXTS, *NUMBERS, *OTHERS)


class Described:
    """The description of a server, and requests made from it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(method, path, operation), those that delete last."""
        found = [
            (method, path, operation)
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
            if not any(part in path for part in LEFT_OUT)
        ]
        yield from sorted(found, key=lambda one: (one[0] == "delete", one[1]))

    def example(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """A plain value of a schema."""
        if reference := schema.get("$ref"):
            schema = self._document["components"]["schemas"][reference.rsplit("/", 1)[-1]]
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if "examples" in schema:
            return schema["examples"][0]
        if "enum" in schema:
            return schema["enum"][0]
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self.example(schema[key][0], depth)
        kind = schema.get("type")
        if kind == "object":
            wanted = schema.get("required", ()) if depth < 4 else ()
            fields = schema.get("properties", {})
            return {name: self.example(fields[name], depth + 1) for name in wanted}
        if kind == "array":
            return [self.example(schema.get("items", {}), depth + 1)]
        plain = {"integer": schema.get("minimum", 1), "number": 1.0, "boolean": False}
        return plain.get(str(kind), "words")

    def fields(self, schema: dict[str, Any]) -> list[str]:
        if reference := schema.get("$ref"):
            schema = self._document["components"]["schemas"][reference.rsplit("/", 1)[-1]]
        return [*schema.get("properties", {}), "a field that there is not"]

    def requests(
        self, path: str, operation: dict[str, Any], collection: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """(path, what httpx sends) of every request with one hostile value."""
        given = {p["name"]: p for p in operation.get("parameters", ())}

        def address(**changed: Any) -> str:
            made = path
            for name, parameter in given.items():
                if parameter["in"] == "path":
                    plain = self.example(parameter["schema"])
                    plain = collection if name == "collection" else plain
                    made = made.replace(f"{{{name}}}", _quoted(changed.get(name, plain)))
            return made

        body = operation.get("requestBody", {}).get("content", {})
        schema = body.get("application/json", {}).get("schema")
        usual: dict[str, Any] = {"json": self.example(schema)} if schema is not None else {}
        if "multipart/form-data" in body:
            for text in TEXTS:
                name = text.encode("utf-8", "replace").decode()[:5_000]
                yield address(), {"files": {"files": (name or "x", b"words")}}
            usual = {"files": {"files": ("note.txt", b"words")}}
        for name, parameter in given.items():
            for text in (*TEXTS, "-1", "0", str(2**64), "1e400", "NaN"):
                if parameter["in"] == "path":
                    if text and len(text) < 3_000:
                        yield address(**{name: text}), usual
                elif parameter["in"] == "query":
                    yield address(), {**usual, "params": {name: _sendable(text)[:3_000]}}
        if schema is None:
            return
        for field in self.fields(schema):
            for value in HOSTILE:
                yield address(), _json({**usual["json"], field: value})
        for value in OTHERS:
            yield address(), _json(value)


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _quoted(value: Any) -> str:
    return quote(_sendable(str(value)), safe="") or "%20"


def _json(value: Any) -> dict[str, Any]:
    return {"content": json.dumps(value), "headers": {"Content-Type": "application/json"}}


@pytest.fixture(scope="module")
def target(api_files: Any, make_settings: Any, tmp_path_factory: Any) -> Iterator[Served]:
    """A server of this test's own: its collection is changed and deleted."""
    settings = make_settings(
        tmp_path_factory.mktemp("fuzzed") / "home", api_rate=0, search_timeout=5.0
    )
    with serving_files(api_files, settings) as served:
        yield served
        served.library.close()


def problem_of(reply: httpx.Response) -> str:
    """What is wrong with an answer; "" if nothing is."""
    if reply.status_code >= 500 and reply.status_code not in ALLOWED:
        return f"{reply.status_code} {reply.text[:200]}"
    if reply.status_code == 503 and "retry-after" not in reply.headers:
        return "503 without Retry-After"
    if reply.status_code >= 400:
        kind = reply.headers.get("content-type", "")
        if not kind.startswith("application/problem+json"):
            return f"{reply.status_code} as {kind}"
    return ""


def test_hostile_values_in_every_route(target: Served) -> None:
    wrong: dict[str, str] = {}
    counts: Counter[int] = Counter()
    with target.client(target.all["admin"]) as client, watched(target.url) as seconds:
        client.timeout = SECONDS
        described = Described(client.get("/api/v1/openapi.json").json())
        for method, path, operation in described.operations():
            client.post("/api/v1/collections", json={"name": "own"})  # if one has deleted it
            for address, what in described.requests(path, operation, "own"):
                try:
                    reply = client.request(method, address, **what)
                except httpx.InvalidURL:
                    continue
                except httpx.HTTPError as error:
                    wrong[f"{method} {path}"] = f"{type(error).__name__} for {str(what)[:200]}"
                    continue
                counts[reply.status_code] += 1
                if problem := problem_of(reply):
                    wrong[f"{method} {path}"] = f"{problem} for {address[-100:]} {str(what)[:200]}"
    print(f"\n{sum(counts.values())} requests: {dict(sorted(counts.items()))}")
    slow = sorted(seconds)
    print(f"/healthz {len(slow)} times, 90 % within {slow[int(len(slow) * 0.9)]:.3f} s")
    assert wrong == {}
    assert sum(counts.values()) > 2_000
    assert healthy(seconds)
