"""Images from words, in OpenAI's form; what that has no place for stands in `ragcore`."""

from __future__ import annotations

import base64
import re
import time
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ragcore.api.access import Reader
from ragcore.api.bodies import BoundedRoute
from ragcore.api.problems import Problem
from ragcore.api.routes.common import library_of, limiter_of
from ragcore.renamed import with_current_names
from ragcore.types import CancelToken

router = APIRouter(route_class=BoundedRoute, prefix="/v1", tags=["OpenAI-compatible"])
MOST_IMAGES, MOST_STEPS = 10, 200
_SQUARE = re.compile(r"(\d{1,5})x\1")


class ImageExtension(BaseModel):
    """`extra_body={"ragcore": {...}}` in OpenAI's client: as the options of `ragcore imagine`."""

    model_config = ConfigDict(extra="forbid")

    style: str = Field(default="", max_length=100)
    negative: str = Field(default="", max_length=2000)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    steps: int = Field(default=25, ge=1, le=MOST_STEPS)
    scale: float = Field(default=3.0, ge=0, le=30)
    guidance: list[str] = Field(default=[], max_length=4, examples=[["class:buildings:3"]])

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        return with_current_names(values, {"guides": "guidance"}, "the field")


class ImageRequest(BaseModel):
    """Other fields of OpenAI's form (model, quality, user, …) are passed over."""

    model_config = ConfigDict(extra="allow")

    prompt: str = Field(max_length=2000, examples=["red apple"])
    n: int = Field(default=1, ge=1, le=MOST_IMAGES)
    size: str = Field(default="auto", max_length=20, description="auto, or such as 64x64")
    response_format: Literal["b64_json"] = "b64_json"
    ragcore: ImageExtension = ImageExtension()


class GeneratedImageResponse(BaseModel):
    """A PNG that carries its recipe; `seed` makes it again."""

    b64_json: str
    ragcore: dict[str, Any]


class OpenAIImageList(BaseModel):
    """Generated images, as OpenAI's clients expect them."""

    created: int
    data: list[GeneratedImageResponse]
    output_format: Literal["png"] = "png"
    ragcore: dict[str, Any]


@router.post("/images/generations")
async def image_generations(
    request: Request, principal: Reader, body: ImageRequest
) -> OpenAIImageList:
    """Make images by the profile's image maker; 501 where it has none.

    Given up between two steps when the connection is closed.
    """
    library = library_of(request)
    if library.models.profile.diffusion is None:
        raise Problem(501, f"the profile {library.models.profile.name} has no image maker")
    size = 0
    if body.size != "auto":
        square = _SQUARE.fullmatch(body.size)
        if square is None:
            raise Problem(400, "size is auto, or a square such as 64x64")
        size = int(square[1])

    def make(cancel: CancelToken) -> OpenAIImageList:
        from ragcore.library import GuidanceRequest, ImagineRequest

        more = body.ragcore
        wanted = ImagineRequest(
            prompt=body.prompt,
            negative=more.negative,
            style=more.style,
            seed=more.seed,
            steps=more.steps,
            size=size,
            count=body.n,
            scale=more.scale,
            guidance=[GuidanceRequest.parse(one) for one in more.guidance],
        )
        made = library.imagine(wanted, cancel=cancel)
        return OpenAIImageList(
            created=int(time.time()),
            data=[
                GeneratedImageResponse(
                    b64_json=base64.b64encode(one.png).decode(), ragcore={"seed": one.seed}
                )
                for one in made.images
            ],
            ragcore={"model": made.model, "notes": list(made.notes), "seconds": made.seconds},
        )

    return await limiter_of(request).answer(request, principal, make)
