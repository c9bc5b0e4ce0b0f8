"""Search by words, an image or both, page by page; questions answered, at once or in events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile

from ragcore.api.access import CollectionContext, ReadContext
from ragcore.api.answer_schemas import AnswerResponse, AskForm, AskRequest
from ragcore.api.bodies import BoundedRoute, decode_image, takes_images
from ragcore.api.events import EventStream, event
from ragcore.api.paging import cursor_at, offset_of
from ragcore.api.problems import Problem, problem_of, request_id_of
from ragcore.api.routes.common import PREFIX, library_of, limiter_of, metrics_of
from ragcore.api.routes.jobs import EVENTS
from ragcore.api.schemas import (
    MAX_TEXT,
    HitResponse,
    LabelAnswer,
    LabelledResponse,
    LabelRequest,
    SearchAnswer,
    SearchRequest,
)
from ragcore.api.work_limiter import begun
from ragcore.types import Message, SearchQuery

router = APIRouter(
    route_class=BoundedRoute, prefix=f"{PREFIX}/collections/{{collection}}", tags=["search and ask"]
)

# Hits wanted of the engine: few steps, so that all pages of a search come from like candidates.
_DEPTHS = (50, 200, 1000)


@router.post("/search")
@takes_images
async def search(request: Request, context: ReadContext, body: SearchRequest) -> SearchAnswer:
    """Find passages and images."""
    image = None
    if body.image is not None:
        image = await limiter_of(request).quick(decode_image, body.image, "image")
        if not image:
            raise Problem(400, "the image is empty")
    return await _search(request, context, body, image)


@router.post("/search/picture", deprecated=True)
@router.post("/search/image")
async def search_by_image(
    request: Request,
    context: ReadContext,
    image: Annotated[UploadFile, File(description="An image file.")],
    text: Annotated[str, Form(max_length=MAX_TEXT)] = "",
    minus: Annotated[str, Form(max_length=MAX_TEXT)] = "",
    kind: Annotated[Literal["passages", "images", "all"], Form()] = "images",
    limit: Annotated[int, Form(ge=1, le=100)] = 10,
    cursor: Annotated[str | None, Form(max_length=200)] = None,
    where: Annotated[
        str, Form(max_length=4000, description="JSON object of filters, as for `/search`.")
    ] = "{}",
    cutoff: Annotated[float | None, Form(ge=0, le=1)] = None,
    same_image: Annotated[bool, Form()] = False,
    same_picture: Annotated[bool, Form(deprecated=True)] = False,
) -> SearchAnswer:
    """The same with the image as a file of a form: find its like, or copies of it."""
    body = SearchRequest(
        text=text,
        minus=minus,
        kind=kind,
        limit=limit,
        cursor=cursor,
        where=_filters(where),
        cutoff=cutoff,
        same_image=same_image or same_picture,  # deprecated
    )
    data = await image.read()
    if not data:
        raise Problem(400, "the image is empty")
    return await _search(request, context, body, data)


async def _search(
    request: Request, context: CollectionContext, body: SearchRequest, image: bytes | None
) -> SearchAnswer:
    offset = offset_of(body.cursor)
    wanted = offset + body.limit
    if wanted > _DEPTHS[-1]:
        raise Problem(400, f"a search can be paged to {_DEPTHS[-1]} hits: narrow it by a filter")
    query = SearchQuery(
        text=body.text,
        image=image,
        minus=body.minus,
        text_weight=body.text_weight,
        image_weight=body.image_weight,
        minus_weight=body.minus_weight,
        kind=body.kind,
        k=next(depth for depth in _DEPTHS if depth >= wanted),
        where=body.where,
        collection=context.name,
        cutoff=body.cutoff,
        rerank=body.rerank,
        same_image=body.same_image,
    )
    result = await limiter_of(request).run(
        context.principal, lambda: library_of(request).search(query)
    )
    metrics_of(request).stages("search", result.seconds)
    more = len(result.hits) > wanted and wanted < _DEPTHS[-1]
    return SearchAnswer(
        hits=[HitResponse.of(hit) for hit in result.hits[offset:wanted]],
        below=[HitResponse.of(hit) for hit in result.below[: body.limit]] if not offset else [],
        cutoff=result.cutoff,
        next_cursor=cursor_at(wanted) if more else None,
        seconds=dict(result.seconds),
    )


@router.post("/label")
async def label(request: Request, context: ReadContext, body: LabelRequest) -> LabelAnswer:
    """Choose among names of your own for every image; nothing is trained."""
    offset = offset_of(body.cursor)
    found = await limiter_of(request).run(
        context.principal,
        lambda: library_of(request).label(
            body.labels,
            collection=context.name,
            where=body.where,
            top=body.top,
            none=body.none,
        ),
        kind="embed",
    )
    end = offset + body.limit
    return LabelAnswer(
        images=[LabelledResponse.of(one) for one in found[offset:end]],
        total=len(found),
        next_cursor=cursor_at(end) if len(found) > end else None,
    )


@router.post("/ask")
async def ask(request: Request, context: ReadContext, body: AskForm) -> AnswerResponse:
    """Answer from the documents with checked citations, or abstain.

    The answer is given up when the connection is closed.
    """
    library = library_of(request)
    if body.form is not None:
        await limiter_of(request).quick(library.check_schema, body.form)
    answer = await limiter_of(request).answer(
        request,
        context.principal,
        lambda cancel: library.ask(
            body.question, schema=body.form, cancel=cancel, **_asked(context, body)
        ),
    )
    metrics_of(request).stages("ask", answer.timings)
    metrics_of(request).answered(abstained=answer.abstained)
    return AnswerResponse.of(answer, prompt=body.show_prompt)


@router.post("/ask/stream", status_code=200, response_class=EventStream, responses=EVENTS)
async def ask_stream(request: Request, context: ReadContext, body: AskRequest) -> EventStream:
    """The same in events.

    `question` (a follow-up as it was rewritten), `hits`, `text` (pieces as the model writes them),
    `answer` (checked: it replaces the pieces), or `error`.
    """
    library = library_of(request)
    events = await begun(
        limiter_of(request).stream(
            context.principal,
            lambda cancel: library.ask_stream(
                body.question, cancel=cancel, **_asked(context, body)
            ),
        )
    )

    async def stream() -> AsyncIterator[str]:
        async with aclosing(events):  # type: ignore[type-var]  # an asynchronous generator
            try:
                async for step in events:
                    if step.answer is not None:
                        metrics_of(request).stages("ask", step.answer.timings)
                        metrics_of(request).answered(abstained=step.answer.abstained)
                        shape = AnswerResponse.of(step.answer).model_dump(mode="json")
                        yield event("answer", shape)
                    elif step.kind == "hits":
                        hits = [HitResponse.of(hit).model_dump(mode="json") for hit in step.hits]
                        yield event("hits", {"hits": hits})
                    else:
                        yield event(step.kind, {"text": step.text})
            except Exception as error:
                yield event("error", problem_of(error).document(request_id_of(request.scope)))

    return EventStream(stream())


def _asked(context: CollectionContext, body: AskRequest) -> dict[str, Any]:
    return {
        "collection": list(dict.fromkeys([context.name, *body.collections])),
        "documents": body.documents,
        "k": body.k,
        "where": body.where,
        "length": body.length,
        "history": [Message(turn.role, turn.content) for turn in body.history],
        "adapter": body.adapter,
        "style": body.style.style(),
    }


def _filters(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Problem(400, 'where is a JSON object of filters, such as {"type": "png"}')
    return {str(name): str(value) for name, value in found.items()}
