"""Reranking in the form of Jina, Cohere and vLLM, by the profile's reranker."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ragcore.api.access import Reader
from ragcore.api.bodies import BoundedRoute
from ragcore.api.problems import Problem
from ragcore.api.routes.common import library_of, limiter_of
from ragcore.api.schemas import MAX_TEXT

router = APIRouter(route_class=BoundedRoute, prefix="/v1", tags=["OpenAI-compatible"])
MOST_DOCUMENTS = 256


class RerankDocument(BaseModel):
    """A text to rank, as an object."""

    text: str = Field(max_length=MAX_TEXT)


class RerankRequest(BaseModel):
    """`model` may be left out: it is the profile's reranker."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(default="", max_length=200)
    query: str = Field(min_length=1, max_length=MAX_TEXT, examples=["Who may park here?"])
    documents: list[str | RerankDocument] = Field(
        min_length=1, max_length=MOST_DOCUMENTS, examples=[["Parking is for guests.", "Lunch."]]
    )
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False


class Reranked(BaseModel):
    """`index` is the document's place in the request; a higher score is more relevant."""

    index: int
    relevance_score: float
    document: RerankDocument | None = None


class RerankResponse(BaseModel):
    """The texts by relevance, the most relevant first."""

    object: Literal["list"] = "list"
    model: str
    results: list[Reranked]


@router.post("/rerank")
async def rerank(request: Request, principal: Reader, body: RerankRequest) -> RerankResponse:
    """Order texts by their relevance to a query; 404 where the profile has no reranker."""
    library = library_of(request)
    reference = library.models.profile.reranker
    if reference is None:
        raise Problem(404, f"the profile {library.models.profile.name} has no reranker")
    if body.model not in ("", reference.name):
        raise Problem(
            404, f"there is no reranker {body.model[:100]!r} (there is: {reference.name})"
        )
    texts = [one if isinstance(one, str) else one.text for one in body.documents]
    if not all(0 < len(text) <= MAX_TEXT for text in texts):
        raise Problem(400, f"each document has 1 to {MAX_TEXT} characters")
    scores = await limiter_of(request).run(
        principal, lambda: library.models.rerank(body.query, texts), kind="embed"
    )
    order = sorted(range(len(texts)), key=lambda place: -float(scores[place]))
    results = [
        Reranked(
            index=place,
            relevance_score=float(scores[place]),
            document=RerankDocument(text=texts[place]) if body.return_documents else None,
        )
        for place in order[: body.top_n]
    ]
    return RerankResponse(model=reference.name, results=results)
