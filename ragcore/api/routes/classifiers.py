"""Classifiers: which there are, having one label a collection, what it said.

Hits of a label are found by a search with `where: {"label": …, "classifier": …}`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ragcore.api.access import Reader, ReaderHere, WriterHere
from ragcore.api.bodies import BoundedRoute
from ragcore.api.idempotency import IdempotencyKey, fingerprint, once
from ragcore.api.routes.common import PREFIX, found, library_of, work_of
from ragcore.api.routes.jobs import started
from ragcore.api.shapes import Given, Started
from ragcore.library import ClassifierCard

router = APIRouter(route_class=BoundedRoute, prefix=PREFIX, tags=["classifiers"])
HERE = "/collections/{collection}"
Name = Annotated[str, Path(min_length=1, max_length=100, examples=["receipts"])]


class ClassifyRequest(Given):
    classifier: str = Field(min_length=1, max_length=100, examples=["receipts"])


class ClassifierShape(BaseModel):
    """A trained classifier. `scores` are those on held-out examples."""

    name: str
    labels: list[str]
    modality: str
    way: str
    backbone: str
    examples: int
    scores: dict[str, Any]
    made_at: str

    @classmethod
    def of(cls, card: ClassifierCard) -> ClassifierShape:
        return cls(
            name=card.name,
            labels=list(card.labels),
            modality=card.modality,
            way=card.way,
            backbone=card.backbone,
            examples=card.examples,
            scores=dict(card.scores),
            made_at=card.made_at,
        )


class ClassifierList(BaseModel):
    items: list[ClassifierShape]


class LabelCounts(BaseModel):
    labels: dict[str, int]


@router.get("/classifiers")
async def list_classifiers(request: Request, principal: Reader) -> ClassifierList:
    """The trained classifiers, by name."""
    library = library_of(request)
    return await work_of(request).run(
        principal,
        lambda: ClassifierList(
            items=[ClassifierShape.of(one) for one in library.classifiers.list()]
        ),
    )


@router.get("/classifiers/{name}")
async def get_classifier(request: Request, principal: Reader, name: Name) -> ClassifierShape:
    """One classifier: its labels and how good it was on held-out examples."""
    library = library_of(request)
    return await work_of(request).run(
        principal, lambda: ClassifierShape.of(found(lambda: library.classifiers.get(name)))
    )


@router.post(f"{HERE}/classify", status_code=202, response_model=Started)
async def classify(
    request: Request,
    here: WriterHere,
    body: ClassifyRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Have a classifier label everything of its kind, in the background."""
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        found(lambda: library.classifiers.get(body.classifier))
        return 202, started(
            here, library.jobs.start_classify(body.classifier, collection=here.name)
        )

    of = fingerprint("classify", here.id, body.classifier)
    return await work_of(request).run(
        here.principal,
        lambda: once(request, here.principal.owner, idempotency_key, of, make),
    )


@router.get(f"{HERE}/labels")
async def label_counts(
    request: Request,
    here: ReaderHere,
    classifier: Annotated[str | None, Query(max_length=100)] = None,
) -> LabelCounts:
    """How many passages and images have each label, of one classifier or of any."""
    library = library_of(request)
    return await work_of(request).run(
        here.principal,
        lambda: LabelCounts(labels=library.labels.counts(here.name, classifier=classifier)),
    )
