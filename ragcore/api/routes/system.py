"""Whether the server lives, whether it is ready, and its figures."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from ragcore.api.access import Admin, everywhere
from ragcore.api.bodies import BoundedRoute
from ragcore.api.metrics import CONTENT_TYPE
from ragcore.api.problems import Problem
from ragcore.api.routes.common import Responses, limiter_of, metrics_of
from ragcore.library import Library

router = APIRouter(route_class=BoundedRoute, tags=["system"])
METRICS: Responses = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Readiness(Health):
    """The library can be searched."""

    degraded: list[str] = Field(
        description="What does not work for now while the rest does: servers of models that are "
        "not asked, because they failed too often.",
        examples=[
            ["LLM server: open after 5 failures in a row (HTTP 503); it is tried again in 9 s"]
        ],
    )


@router.get("/healthz")
async def health() -> Health:
    """The process lives and answers. Needs no key."""
    return Health()


@router.get("/readyz")
async def ready(request: Request) -> Readiness:
    """The catalog answers and the models are loaded; 503 until then. Needs no key."""
    library, limiter = _root_of(request), limiter_of(request)
    if limiter.stopping:
        raise Problem(503, "the server is stopping")
    await limiter.quick(library.admin.check_database)
    preparation = library.models.preparation
    if preparation.state != "ready":
        # A failure's text may name paths: it is in the log and in `ragcore doctor`.
        raise Problem(
            503, f"models: {preparation.state} {preparation.name}".rstrip(),
            headers={"Retry-After": "5"},
        )  # fmt: skip
    down = [circuit for circuit in library.models.circuits() if circuit.state != "closed"]
    degraded = [f"{circuit.what}: {circuit.describe()}" for circuit in down]
    degraded += [f"weights {damage}" for damage in library.models.damaged_weights]
    return Readiness(degraded=degraded)


@router.get("/metrics", response_class=Response, responses=METRICS)
async def metrics(request: Request, principal: Admin) -> Response:
    """Figures in Prometheus' text format; no names of people, files or collections.

    They count all collections: it needs a key that is not limited to some.
    """
    everywhere(principal, "admin")
    library, limiter = _root_of(request), limiter_of(request)
    data = await limiter.quick(metrics_of(request).text, library, limiter)
    return Response(data, headers={"Content-Type": CONTENT_TYPE})


def _root_of(request: Request) -> Library:
    """The library of the server itself, not of who asks."""
    found: Library = request.app.state.library
    return found
