"""Questions about one image, and captions for a collection's images."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ragcore.api.access import Reader, ReaderHere, WriterHere
from ragcore.api.bodies import BoundedRoute
from ragcore.api.idempotency import IdempotencyKey, fingerprint, once
from ragcore.api.problems import Problem
from ragcore.api.routes.common import PREFIX, ImageId, found, image_here, library_of, work_of
from ragcore.api.routes.jobs import started
from ragcore.api.shapes import Given, Started
from ragcore.library import Principal
from ragcore.types import CancelToken

router = APIRouter(route_class=BoundedRoute, prefix=PREFIX, tags=["images"])
HERE = "/collections/{collection}"
MAX_QUESTION = 2000


class ImageQuestion(Given):
    question: str = Field(
        min_length=1, max_length=MAX_QUESTION, examples=["What is in the picture?"]
    )


class ImageAnswerShape(BaseModel):
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
) -> ImageAnswerShape:
    """Answer a question about an image that is in no collection, from the image alone."""
    data = await image.read()
    if not data:
        raise Problem(400, "the image is empty")
    return await _answer(request, principal, data, question)


@router.post(f"{HERE}/images/{{image_id}}/ask")
async def ask_image(
    request: Request, here: ReaderHere, image_id: ImageId, body: ImageQuestion
) -> ImageAnswerShape:
    """The same about an image of the collection."""
    library = library_of(request)

    def look() -> bytes:
        image_here(library, here, image_id)
        return found(lambda: library.images.read(image_id))

    data = await work_of(request).run(here.principal, look)
    return await _answer(request, here.principal, data, body.question)


async def _answer(
    request: Request, principal: Principal, image: bytes, question: str
) -> ImageAnswerShape:
    library = library_of(request)

    def ask(cancel: CancelToken) -> ImageAnswerShape:
        told = library.images.ask(image, question, cancel=cancel)
        return ImageAnswerShape(answer=told.text, model=told.model, seconds=told.seconds)

    return await work_of(request).answer(request, principal, ask)


@router.post(f"{HERE}/captions", status_code=202, response_model=Started)
async def caption(
    request: Request, here: WriterHere, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Have a model caption the images that have none, in the background."""
    library = library_of(request)

    def make() -> tuple[int, dict[str, Any]]:
        return 202, started(here, library.jobs.start_captioning(here.name))

    of = fingerprint("caption", here.id)
    return await work_of(request).run(
        here.principal,
        lambda: once(request, here.principal.owner, idempotency_key, of, make),
    )
