"""Classifiers: which there are, having one label a collection, what it said.

Hits of a label are found by a search with `where: {"label": …, "classifier": …}`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ragcore.api.access import ReadContext, Reader, WriteContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.idempotency import IdempotencyKey, fingerprint, once
from ragcore.api.routes.common import PREFIX, found, library_of, limiter_of
from ragcore.api.routes.jobs import started
from ragcore.api.schemas import ResponseModel, Started, StrictModel

router = APIRouter(route_class=BoundedRoute, prefix=PREFIX, tags=["classifiers"])
IN_COLLECTION = "/collections/{collection}"
Name = Annotated[str, Path(min_length=1, max_length=100, examples=["receipts"])]


class ClassifyRequest(StrictModel):
    """The classifier that is to label a collection."""

    classifier: str = Field(min_length=1, max_length=100, examples=["receipts"])


class ClassifierResponse(ResponseModel):
    """A trained classifier. `scores` are those on held-out examples."""

    name: str
    labels: list[str]
    modality: str
    way: str
    backbone: str
    examples: int
    scores: dict[str, Any]
    made_at: str


class ClassifierList(BaseModel):
    """The trained classifiers."""

    items: list[ClassifierResponse]


class LabelCounts(BaseModel):
    """How many items of the collection each label has."""

    labels: dict[str, int]


@router.get("/classifiers")
async def list_classifiers(request: Request, principal: Reader) -> ClassifierList:
    """The trained classifiers, by name."""
    library = library_of(request)
    return await limiter_of(request).run(
        principal,
        lambda: ClassifierList(
            items=[ClassifierResponse.of(one) for one in library.classifiers.list()]
        ),
    )


@router.get("/classifiers/{name}")
async def get_classifier(request: Request, principal: Reader, name: Name) -> ClassifierResponse:
    """One classifier: its labels and how good it was on held-out examples."""
    library = library_of(request)
    return await limiter_of(request).run(
        principal, lambda: ClassifierResponse.of(found(lambda: library.classifiers.get(name)))
    )


@router.post(f"{IN_COLLECTION}/classify", status_code=202, response_model=Started)
async def classify(
    request: Request,
    context: WriteContext,
    body: ClassifyRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Have a classifier label everything of its kind, in the background."""
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        found(lambda: library.classifiers.get(body.classifier))
        return 202, started(
            context, library.jobs.start_classify(body.classifier, collection=context.name)
        )

    of = fingerprint("classify", context.id, body.classifier)
    return await limiter_of(request).run(
        context.principal,
        lambda: once(request, context.principal.owner, idempotency_key, of, make),
    )


@router.get(f"{IN_COLLECTION}/labels")
async def label_counts(
    request: Request,
    context: ReadContext,
    classifier: Annotated[str | None, Query(max_length=100)] = None,
) -> LabelCounts:
    """How many passages and images have each label, of one classifier or of any."""
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal,
        lambda: LabelCounts(labels=library.labels.counts(context.name, classifier=classifier)),
    )
