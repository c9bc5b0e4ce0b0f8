"""What runs here: the profile's models, what is in memory, adapters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ragcore.api.access import Reader
from ragcore.api.bodies import BoundedRoute
from ragcore.api.routes.common import PREFIX, library_of, limiter_of

router = APIRouter(route_class=BoundedRoute, prefix=PREFIX, tags=["models"])


class LoadedResponse(BaseModel):
    """A model in memory; `bytes` of its device's memory."""

    part: str
    name: str
    device: str
    precision: str
    bytes: int


class ModelsResponse(BaseModel):
    """The models of the profile, and those whose weights are in memory."""

    profile: str
    profiles: list[str]
    parts: dict[str, str]
    device: dict[str, Any]
    loaded: list[LoadedResponse]


class AdapterResponse(BaseModel):
    """A LoRA adapter of the language model."""

    name: str
    base: str
    rank: int


class AdapterList(BaseModel):
    """The adapters that can be used."""

    items: list[AdapterResponse]


@router.get("/models")
async def get_models(request: Request, principal: Reader) -> ModelsResponse:
    """The profile's models and what is loaded."""
    models = library_of(request).models

    def look() -> ModelsResponse:
        profile = models.profile
        parts = {
            part: reference.name
            for part in ("text_encoder", "image_text_encoder", "reranker", "span_reader", "llm")
            if (reference := getattr(profile, part)) is not None
        }
        return ModelsResponse(
            profile=profile.name,
            profiles=list(models.profiles()),
            parts=parts,
            device=models.device(),
            loaded=[
                LoadedResponse(
                    part=one.part,
                    name=one.name,
                    device=one.device,
                    precision=one.precision,
                    bytes=one.bytes,
                )
                for one in models.loaded()
            ],
        )

    return await limiter_of(request).run(principal, look)


@router.get("/adapters")
async def list_adapters(request: Request, principal: Reader) -> AdapterList:
    """LoRA adapters that a question can name."""
    library = library_of(request)

    def look() -> AdapterList:
        return AdapterList(
            items=[
                AdapterResponse(name=one.name, base=one.base, rank=one.rank)
                for one in library.adapters.list()
            ]
        )

    return await limiter_of(request).run(principal, look)
