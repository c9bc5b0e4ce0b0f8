"""The OpenAPI description holds: schemathesis tries it, and finds nothing undocumented."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import Served

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# What this answers is what it says: not ready in this test.
KNOWN = {("GET", "/readyz"): 503}
# Events end when their job does; images take long, and have tests of their own.
LEFT_OUT = "/events$|/images/generations$|/imagine(/|$)"


def name_of(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path}"


def try_out(
    url: str, key: str, collection: str, mode: GenerationMode, examples: int
) -> tuple[set[str], set[str]]:
    """Call every route with so many requests that keep to the description (or do not).

    Returns the routes that were called, and those that no such request can be made for.
    """
    headers = {"Authorization": f"Bearer {key}"}
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", headers=headers)
    tried: set[str] = set()
    impossible: set[str] = set()
    for found in schema.exclude(path_regex=LEFT_OUT).get_all_operations():
        operation = found.ok()
        again = {"name": collection}  # one of the routes deletes it
        httpx.post(f"{url}/api/v1/collections", json=again, headers=headers)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            given = case.path_parameters or {}
            if "collection" in given and len(str(given["collection"])) % 3:
                given["collection"] = collection  # most of them about what there is
            response = case.call(headers=headers, timeout=300)
            known = KNOWN.get((case.method, case.operation.path)) == response.status_code
            checks = CHECKS if known else [*CHECKS, not_a_server_error]
            case.validate_response(response, checks=checks)

        try:
            check()
        except Unsatisfiable:
            impossible.add(name_of(operation))
        else:
            tried.add(name_of(operation))
    return tried, impossible


@pytest.mark.parametrize(
    ("mode", "examples"),
    [
        pytest.param(GenerationMode.POSITIVE, 1, id="once"),
        pytest.param(GenerationMode.POSITIVE, 8, id="as described", marks=pytest.mark.full),
        pytest.param(GenerationMode.NEGATIVE, 8, id="otherwise", marks=pytest.mark.full),
    ],
)
def test_what_is_described_is_what_is_answered(
    served: Served, mode: GenerationMode, examples: int
) -> None:
    key = served.all["admin"]
    with served.client(key) as client:
        paths = client.get("/api/v1/openapi.json").json()["paths"]
    described = {
        f"{method.upper()} {path}": operation
        for path, item in paths.items()
        if not re.search(LEFT_OUT, path)
        for method, operation in item.items()
    }
    tried, impossible = try_out(served.url, key, "tried", mode, examples)
    assert tried | impossible == set(described)
    assert tried
    # Only a route without parameters cannot be misused.
    can_be = {"parameters", "requestBody"}
    assert [name for name in impossible if can_be & set(described[name])] == []
    assert mode is GenerationMode.NEGATIVE or not impossible


def test_every_route_lists_its_errors_and_examples(admin: httpx.Client) -> None:
    described = admin.get("/api/v1/openapi.json").json()
    for path, item in described["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], path
            assert operation.get("description"), f"{method} {path} says nothing"
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], path
    text = str(described)
    assert "'example" in text
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
