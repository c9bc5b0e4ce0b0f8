"""Albums, and what people say of images: favorites, ratings, tags, notes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from ragcore.api.access import ReaderHere, WriterHere
from ragcore.api.bodies import BoundedRoute
from ragcore.api.routes.common import PREFIX, found, library_of, work_of
from ragcore.api.shapes import Given

router = APIRouter(
    route_class=BoundedRoute, prefix=f"{PREFIX}/collections/{{collection}}", tags=["images"]
)
MOST_IDS = 10_000  # of one request
AlbumName = Annotated[str, Path(min_length=1, max_length=200, description="Name of an album.")]
Ids = Annotated[list[Annotated[int, Field(ge=1, le=2**53 - 1)]], Field(max_length=MOST_IDS)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=100)]


class NewAlbum(Given):
    name: str = Field(min_length=1, max_length=200, examples=["Holidays 2024"])
    image_ids: Ids = Field(default=[])


class AlbumChanges(Given):
    """What is given is changed. Images are put at the end; those that the collection does not
    have are passed over."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    add: Ids = Field(default=[])
    remove: Ids = Field(default=[])


class AlbumShape(BaseModel):
    """An album; `cover` is its first image. Its images: `GET images?where=album=NAME`."""

    name: str
    images: int
    cover: int | None


class AlbumList(BaseModel):
    items: list[AlbumShape]


class MarkRequest(Given):
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
    deleted: str


@router.patch("/images")
async def mark_images(request: Request, here: WriterHere, body: MarkRequest) -> Marked:
    """Make images favorites, rate them, give them tags or a note. Files stay as they are."""
    library = library_of(request)
    return await work_of(request).run(
        here.principal,
        lambda: Marked(images=library.images.mark(collection=here.name, **body.model_dump())),
    )


@router.get("/albums")
async def list_albums(request: Request, here: ReaderHere) -> AlbumList:
    """The collection's albums by name."""
    library = library_of(request)

    def look() -> AlbumList:
        albums = library.albums.list(here.name)
        return AlbumList(
            items=[AlbumShape(name=one.name, images=one.images, cover=one.cover) for one in albums]
        )

    return await work_of(request).run(here.principal, look)


@router.post("/albums", status_code=201)
async def create_album(request: Request, here: WriterHere, body: NewAlbum) -> AlbumShape:
    """Make an album, of some images if given."""
    library = library_of(request)

    def make() -> AlbumShape:
        library.albums.create(body.name, image_ids=body.image_ids, collection=here.name)
        name = " ".join(body.name.split())
        (made,) = (one for one in library.albums.list(here.name) if one.name == name)
        return AlbumShape(name=made.name, images=made.images, cover=made.cover)

    return await work_of(request).run(here.principal, make)


@router.patch("/albums/{album}")
async def change_album(
    request: Request, here: WriterHere, album: AlbumName, body: AlbumChanges
) -> AlbumList:
    """Rename an album, put images into it or take them out; all albums as they are then."""
    library = library_of(request)

    def change() -> AlbumList:
        albums = library.albums
        found(lambda: albums.remove(album, body.remove, collection=here.name))
        albums.add(album, body.add, collection=here.name)
        if body.name is not None:
            albums.rename(album, body.name, collection=here.name)
        return AlbumList(
            items=[
                AlbumShape(name=one.name, images=one.images, cover=one.cover)
                for one in albums.list(here.name)
            ]
        )

    return await work_of(request).run(here.principal, change)


@router.delete("/albums/{album}")
async def delete_album(request: Request, here: WriterHere, album: AlbumName) -> DeletedAlbum:
    """Delete an album; its images stay."""
    library = library_of(request)

    def delete() -> DeletedAlbum:
        found(lambda: library.albums.delete(album, collection=here.name))
        return DeletedAlbum(deleted=album)

    return await work_of(request).run(here.principal, delete)
