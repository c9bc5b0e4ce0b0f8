"""Albums, and what people say of images: favorites, ratings, tags, notes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from ragcore.api.access import ReadContext, WriteContext
from ragcore.api.bodies import BoundedRoute
from ragcore.api.routes.common import PREFIX, found, library_of, limiter_of
from ragcore.api.schemas import StrictModel

router = APIRouter(
    route_class=BoundedRoute, prefix=f"{PREFIX}/collections/{{collection}}", tags=["images"]
)
MOST_IDS = 10_000  # of one request
AlbumName = Annotated[str, Path(min_length=1, max_length=200, description="Name of an album.")]
Ids = Annotated[list[Annotated[int, Field(ge=1, le=2**53 - 1)]], Field(max_length=MOST_IDS)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=100)]


class NewAlbum(StrictModel):
    """An album to be made."""

    name: str = Field(min_length=1, max_length=200, examples=["Holidays 2024"])
    image_ids: Ids = Field(default=[])


class AlbumChanges(StrictModel):
    """What is given is changed.

    Images are put at the end; those that the collection does not have are passed over.
    """

    name: str | None = Field(default=None, min_length=1, max_length=200)
    add: Ids = Field(default=[])
    remove: Ids = Field(default=[])


class AlbumResponse(BaseModel):
    """An album; `cover` is its first image. Its images: `GET images?where=album=NAME`."""

    name: str
    images: int
    cover: int | None


class AlbumList(BaseModel):
    """A collection's albums."""

    items: list[AlbumResponse]


class MarkRequest(StrictModel):
    """What is given is changed of all these images."""

    image_ids: Ids = Field(min_length=1)
    favorite: bool | None = None
    rating: int | None = Field(
        default=None, ge=-1, le=5, description="Stars; -1: rejected. Counts in place of the file's."
    )
    note: str | None = Field(default=None, max_length=10_000)
    add_tags: Tags = Field(default=[])
    remove_tags: Tags = Field(default=[])


class Marked(BaseModel):
    """How many of the images are in the collection, and so were changed."""

    images: int


class DeletedAlbum(BaseModel):
    """The name of the album that was deleted."""

    deleted: str


@router.patch("/images")
async def mark_images(request: Request, context: WriteContext, body: MarkRequest) -> Marked:
    """Make images favorites, rate them, give them tags or a note. Files stay as they are."""
    library = library_of(request)
    return await limiter_of(request).run(
        context.principal,
        lambda: Marked(images=library.images.mark(collection=context.name, **body.model_dump())),
    )


@router.get("/albums")
async def list_albums(request: Request, context: ReadContext) -> AlbumList:
    """The collection's albums by name."""
    library = library_of(request)

    def look() -> AlbumList:
        albums = library.albums.list(context.name)
        return AlbumList(
            items=[
                AlbumResponse(name=one.name, images=one.images, cover=one.cover) for one in albums
            ]
        )

    return await limiter_of(request).run(context.principal, look)


@router.post("/albums", status_code=201)
async def create_album(request: Request, context: WriteContext, body: NewAlbum) -> AlbumResponse:
    """Make an album, of some images if given."""
    library = library_of(request)

    def make() -> AlbumResponse:
        library.albums.create(body.name, image_ids=body.image_ids, collection=context.name)
        name = " ".join(body.name.split())
        (made,) = (one for one in library.albums.list(context.name) if one.name == name)
        return AlbumResponse(name=made.name, images=made.images, cover=made.cover)

    return await limiter_of(request).run(context.principal, make)


@router.patch("/albums/{album}")
async def change_album(
    request: Request, context: WriteContext, album: AlbumName, body: AlbumChanges
) -> AlbumList:
    """Rename an album, put images into it or take them out; all albums as they are then."""
    library = library_of(request)

    def change() -> AlbumList:
        albums = library.albums
        found(lambda: albums.remove(album, body.remove, collection=context.name))
        albums.add(album, body.add, collection=context.name)
        if body.name is not None:
            albums.rename(album, body.name, collection=context.name)
        return AlbumList(
            items=[
                AlbumResponse(name=one.name, images=one.images, cover=one.cover)
                for one in albums.list(context.name)
            ]
        )

    return await limiter_of(request).run(context.principal, change)


@router.delete("/albums/{album}")
async def delete_album(request: Request, context: WriteContext, album: AlbumName) -> DeletedAlbum:
    """Delete an album; its images stay."""
    library = library_of(request)

    def delete() -> DeletedAlbum:
        found(lambda: library.albums.delete(album, collection=context.name))
        return DeletedAlbum(deleted=album)

    return await limiter_of(request).run(context.principal, delete)
