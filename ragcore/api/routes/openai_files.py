"""Files in OpenAI's form: uploaded first, put into vector stores afterwards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Path, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel

from ragcore.api.access import Reader, Writer
from ragcore.api.bodies import BoundedRoute
from ragcore.api.problems import Problem
from ragcore.api.routes.common import binary, found, library_of, limiter_of, settings_of
from ragcore.library import UploadedFile

router = APIRouter(route_class=BoundedRoute, prefix="/v1/files", tags=["OpenAI-compatible"])
FileId = Annotated[
    str, Path(min_length=1, max_length=60, examples=["file-0123456789abcdef01234567"])
]


class FileObject(BaseModel):
    """A file of the key that asks."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str = "assistants"
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, one: UploadedFile) -> FileObject:
        return cls(id=one.id, bytes=one.bytes, created_at=one.created_at, filename=one.name)


class FileList(BaseModel):
    """The files of the server that the key may see, on one page."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class Removed(BaseModel):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True] = True


@router.post("")
async def upload_file(
    request: Request,
    principal: Writer,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[str, Form(max_length=50)] = "assistants",
) -> FileObject:
    """Keep a file for a week; a vector store that it is put into reads it."""
    library = library_of(request)
    if (file.size or 0) > settings_of(request).ui_upload_mb * 2**20:
        raise Problem(413, "the file is larger than the setting ui_upload_mb")
    made = await limiter_of(request).run(
        principal, lambda: library.files.add(file.filename or "file", file.file)
    )
    return FileObject.of(made)


@router.get("")
async def list_files(request: Request, principal: Reader) -> FileList:
    """The key's own files, the newest first."""
    library = library_of(request)
    rows = await limiter_of(request).run(principal, library.files.list)
    data = [FileObject.of(row) for row in rows]
    ends: dict[str, Any] = {"first_id": None, "last_id": None}
    if data:
        ends = {"first_id": data[0].id, "last_id": data[-1].id}
    return FileList(data=data, **ends)


@router.get("/{file_id}")
async def get_file(request: Request, principal: Reader, file_id: FileId) -> FileObject:
    """One of them."""
    library = library_of(request)
    return FileObject.of(
        await limiter_of(request).run(principal, lambda: found(lambda: library.files.get(file_id)))
    )


@router.get(
    "/{file_id}/content", response_class=FileResponse, responses=binary("application/octet-stream")
)
async def file_content(request: Request, principal: Writer, file_id: FileId) -> FileResponse:
    """The file, to be saved: browsers run nothing in it."""
    library = library_of(request)
    path = await limiter_of(request).run(
        principal, lambda: found(lambda: library.files.path(file_id))
    )
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


@router.delete("/{file_id}")
async def delete_file(request: Request, principal: Writer, file_id: FileId) -> Removed:
    """Delete a file; what it became in vector stores stays."""
    library = library_of(request)
    await limiter_of(request).run(principal, lambda: found(lambda: library.files.remove(file_id)))
    return Removed(id=file_id, object="file")
