"""Questions about one image, and captions for a collection's images."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ragcore.api.access import ReadContext, Reader, WriteContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.idempotency import IdempotencyKey, fingerprint, once
from ragcore.api.problems import Problem
from ragcore.api.routes.common import PREFIX, ImageId, found, library_of, limiter_of, visible_image
from ragcore.api.routes.jobs import started
from ragcore.api.schemas import Started, StrictModel
from ragcore.library import Principal
from ragcore.types import CancelToken

router = APIRouter(route_class=BoundedRoute, prefix=PREFIX, tags=["images"])
IN_COLLECTION = "/collections/{collection}"
MAX_QUESTION = 2000


class ImageQuestion(StrictModel):
    """A question about an image."""

    question: str = Field(
        min_length=1, max_length=MAX_QUESTION, examples=["What is in the picture?"]
    )


class ImageAnswerResponse(BaseModel):
    """What a model says of an image, from the image alone. A small one is often wrong."""

    answer: str
    model: str
    seconds: float


@router.post("/pictures/ask", deprecated=True)
@router.post("/images/ask")
async def ask_uploaded_image(
    request: Request,
    principal: Reader,
    image: Annotated[UploadFile, File(description="An image file. It is not kept.")],
    question: Annotated[str, Form(min_length=1, max_length=MAX_QUESTION)] = "What is this?",
) -> ImageAnswerResponse:
    """Answer a question about an image that is in no collection, from the image alone."""
    data = await image.read()
    if not data:
        raise Problem(400, "the image is empty")
    return await _answer(request, principal, data, question)


@router.post(f"{IN_COLLECTION}/images/{{image_id}}/ask")
async def ask_image(
    request: Request, context: ReadContext, image_id: ImageId, body: ImageQuestion
) -> ImageAnswerResponse:
    """The same about an image of the collection."""
    library = library_of(request)

    def look() -> bytes:
        visible_image(library, context, image_id)
        return found(lambda: library.images.read(image_id))

    data = await limiter_of(request).run(context.principal, look)
    return await _answer(request, context.principal, data, body.question)


async def _answer(
    request: Request, principal: Principal, image: bytes, question: str
) -> ImageAnswerResponse:
    library = library_of(request)

    def ask(cancel: CancelToken) -> ImageAnswerResponse:
        answer = library.images.ask(image, question, cancel=cancel)
        return ImageAnswerResponse(answer=answer.text, model=answer.model, seconds=answer.seconds)

    return await limiter_of(request).answer(request, principal, ask)


@router.post(f"{IN_COLLECTION}/captions", status_code=202, response_model=Started)
async def caption(
    request: Request, context: WriteContext, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Have a model caption the images that have none, in the background."""
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        return 202, started(context, library.jobs.start_captioning(context.name))

    of = fingerprint("caption", context.id)
    return await limiter_of(request).run(
        context.principal,
        lambda: once(request, context.principal.owner, idempotency_key, of, make),
    )
