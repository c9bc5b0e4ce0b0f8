"""Vector stores in OpenAI's form: each is a collection, its files are documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from ragcore.api.access import Reader, Writer, everywhere, require
from ragcore.api.bodies import BoundedRoute
from ragcore.api.problems import Problem
from ragcore.api.routes.common import library_of, limiter_of
from ragcore.api.routes.openai import Loose
from ragcore.api.routes.openai_files import Removed
from ragcore.api.schemas import MAX_TEXT
from ragcore.errors import UsageError
from ragcore.library import JobInfo, Library, Principal, UploadedFile
from ragcore.types import CollectionInfo, DocumentInfo, SearchQuery

router = APIRouter(route_class=BoundedRoute, prefix="/v1/vector_stores", tags=["OpenAI-compatible"])
T = TypeVar("T")
StoreId = Annotated[str, Path(min_length=1, max_length=60, examples=["vs_1"])]
FileId = Annotated[str, Path(min_length=1, max_length=60, examples=["doc-1"])]
BatchId = Annotated[str, Path(min_length=1, max_length=60, examples=["vsfb_1"])]
Page = Annotated[int, Query(ge=1, le=100)]
Status = Literal["in_progress", "completed", "failed", "cancelled"]
_STATES: Mapping[str, Status] = {
    "running": "in_progress", "done": "completed", "failed": "failed", "cancelled": "cancelled",
    "interrupted": "in_progress", "resumed": "in_progress",
}  # fmt: skip


class NewStore(Loose):
    """A vector store to create, and the uploaded files to put into it."""

    name: str = Field(min_length=1, max_length=100, examples=["handbooks"])
    file_ids: list[str] = Field(default=[], max_length=500)
    expires_after: None = Field(default=None, description="Collections do not expire.")


class ChangedStore(Loose):
    """A new name for a vector store."""

    name: str = Field(min_length=1, max_length=100)


class NewFile(Loose):
    """An uploaded file to put into a vector store."""

    file_id: str = Field(max_length=60)


class NewBatch(Loose):
    """Uploaded files to put into a vector store together."""

    file_ids: list[str] = Field(min_length=1, max_length=500)


class Comparison(Loose):
    """An equality of a field, or several joined by `and`."""

    type: Literal["eq", "and"]
    key: str = Field(default="", max_length=100)
    value: str | float | bool | None = None
    filters: list[Comparison] = Field(default=[], max_length=20)

    def where(self) -> dict[str, str]:
        if self.type == "and":
            return {name: text for one in self.filters for name, text in one.where().items()}
        value = str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        return {self.key: value}


class StoreSearch(Loose):
    """A search of a vector store; several queries are joined to one."""

    query: str | list[str] = Field(examples=["Who may park here?"])
    max_num_results: int = Field(default=10, ge=1, le=50)
    filters: Comparison | None = None

    @property
    def text(self) -> str:
        text = self.query if isinstance(self.query, str) else " ".join(self.query)
        if not text.strip() or len(text) > MAX_TEXT:
            raise Problem(400, f"a query has 1 to {MAX_TEXT} characters")
        return text


class FileCounts(BaseModel):
    """How many files of a vector store or batch are in each state."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0


class StoreObject(BaseModel):
    """A collection as a vector store; `usage_bytes` is the size of its files."""

    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    status: Literal["completed", "in_progress"] = "completed"
    usage_bytes: int
    file_counts: FileCounts
    last_active_at: int
    metadata: dict[str, str] = {}


class StoreList(BaseModel):
    """The vector stores that the key may see, on one page."""

    object: Literal["list"] = "list"
    data: list[StoreObject]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class LastError(BaseModel):
    """Why a file could not be read."""

    code: Literal["server_error", "unsupported_file", "invalid_file"] = "invalid_file"
    message: str


class StoreFile(BaseModel):
    """A document of the collection: "doc-NUMBER", or the id of the file that it was uploaded as."""

    id: str
    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    vector_store_id: str
    status: Status
    usage_bytes: int
    last_error: LastError | None = None
    attributes: dict[str, str | float | bool] = {}


class StoreFileList(BaseModel):
    """One page of a vector store's files."""

    object: Literal["list"] = "list"
    data: list[StoreFile]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchObject(BaseModel):
    """Files put into a vector store together, and how far they are."""

    id: str
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: Status
    file_counts: FileCounts


class FoundText(BaseModel):
    """The text of a passage."""

    type: Literal["text"] = "text"
    text: str


class FoundPart(BaseModel):
    """A passage. `attributes` say where it stands."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, str | float | bool]
    content: list[FoundText]


class FoundPage(BaseModel):
    """The passages that a search found, best first."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[FoundPart]
    has_more: bool = False
    next_page: str | None = None


@dataclass(frozen=True, slots=True)
class StoreContext:
    """The vector store of a request's address, and who asks."""

    request: Request
    principal: Principal
    id: str

    async def run(self, scope: str, work: Callable[[Library, CollectionInfo], T]) -> T:
        """`work` on the collection behind the store, where the principal has the scope.

        Raises Problem 404 for what is not there and what is not to be seen, 403 without the scope.
        """
        library, limiter = library_of(self.request), limiter_of(self.request)
        info = await limiter.quick(find_store, library, self.id)
        self.request.state.collection = info.name
        require(self.principal, scope)
        return await limiter.run(self.principal, lambda: work(library, info))


def _context(request: Request, principal: Reader, vector_store_id: StoreId) -> StoreContext:
    return StoreContext(request, principal, vector_store_id)


Store = Annotated[StoreContext, Depends(_context)]


@router.post("")
async def create_store(request: Request, principal: Writer, body: NewStore) -> StoreObject:
    """Create a collection, and put files into it. It needs a key that is not limited to some."""
    everywhere(principal, "write")
    request.state.collection = body.name
    library = library_of(request)

    def make() -> StoreObject:
        for one in body.file_ids:
            _found(lambda one=one: library.files.get(one))  # type: ignore[misc]
        library.create_collection(body.name)
        if body.file_ids:
            library.files.attach(body.file_ids, collection=body.name)
        return _store(library, library.find_collection(body.name))

    return await limiter_of(request).run(principal, make)


@router.get("")
async def list_stores(request: Request, principal: Reader) -> StoreList:
    """The collections that this key may see."""
    library = library_of(request)
    data = await limiter_of(request).run(
        principal, lambda: [_store(library, row) for row in library.collections()]
    )
    first, last = _ends([one.id for one in data])
    return StoreList(data=data, first_id=first, last_id=last)


@router.get("/{vector_store_id}")
async def get_store(store: Store) -> StoreObject:
    """One of them."""
    return await store.run("read", _store)


@router.post("/{vector_store_id}")
async def rename_store(store: Store, body: ChangedStore) -> StoreObject:
    """Rename a collection."""

    def rename(library: Library, info: CollectionInfo) -> StoreObject:
        library.admin.rename_collection(info.name, body.name)
        return _store(library, library.find_collection(body.name))

    return await store.run("admin", rename)


@router.delete("/{vector_store_id}")
async def delete_store(store: Store) -> Removed:
    """Delete a collection with its uploads."""

    def delete(library: Library, info: CollectionInfo) -> Removed:
        library.admin.delete_collection(info.name)
        return Removed(id=store.id, object="vector_store.deleted")

    return await store.run("admin", delete)


@router.post("/{vector_store_id}/search")
async def search_store(store: Store, body: StoreSearch) -> FoundPage:
    """The best passages."""
    text = body.text
    where = body.filters.where() if body.filters else {}

    def search(library: Library, info: CollectionInfo) -> FoundPage:
        query = SearchQuery(
            text=text, kind="passages", k=body.max_num_results, where=where, collection=info.name
        )
        return FoundPage(search_query=[text], data=found_parts(library.search(query).hits))

    return await store.run("read", search)


def found_parts(hits: Any) -> list[FoundPart]:
    """Hits in OpenAI's form."""
    return [
        FoundPart(
            file_id=f"doc-{hit.document_id}",
            filename=hit.document,
            score=hit.score,
            attributes={
                name: value
                for name, value in (
                    ("page", hit.page), ("heading", hit.heading), ("type", hit.media_type),
                    ("collection", hit.collection),
                )
                if value not in (None, "")
            },
            content=[FoundText(text=hit.text)],
        )
        for hit in hits
    ]  # fmt: skip


# --- files of a store ------------------------------------------------------------------


@router.post("/{vector_store_id}/files")
async def attach_file(store: Store, body: NewFile) -> StoreFile:
    """Put an uploaded file into the collection; it is read in the background."""

    def attach(library: Library, info: CollectionInfo) -> StoreFile:
        _found(lambda: library.files.get(body.file_id))
        library.files.attach([body.file_id], collection=info.name)
        return _attached(library, info, library.files.get(body.file_id))

    return await store.run("write", attach)


@router.get("/{vector_store_id}/files")
async def list_store_files(
    store: Store,
    limit: Page = 20,
    after: Annotated[str, Query(max_length=60)] = "",
) -> StoreFileList:
    """The documents of a collection, by name. `after` is `last_id` of the page before."""

    def look(library: Library, info: CollectionInfo) -> StoreFileList:
        rows, total = library.documents.list(info.name, limit=10_000)
        ids = [f"doc-{row.id}" for row in rows]
        start = ids.index(after) + 1 if after in ids else 0
        chosen = rows[start : start + limit]
        data = [_document(info, row, f"doc-{row.id}") for row in chosen]
        first, last = _ends([one.id for one in data])
        more = start + limit < total
        return StoreFileList(data=data, first_id=first, last_id=last, has_more=more)

    return await store.run("read", look)


@router.get("/{vector_store_id}/files/{file_id}")
async def get_store_file(store: Store, file_id: FileId) -> StoreFile:
    """How far a file is, or a document."""

    def look(library: Library, info: CollectionInfo) -> StoreFile:
        if file_id.startswith("file-"):
            return _attached(library, info, _found(lambda: library.files.get(file_id)))
        return _document(info, _row(library, info, file_id), file_id)

    return await store.run("read", look)


@router.delete("/{vector_store_id}/files/{file_id}")
async def remove_store_file(store: Store, file_id: FileId) -> Removed:
    """Take a document out of the collection; an uploaded file itself stays."""

    def remove(library: Library, info: CollectionInfo) -> Removed:
        if file_id.startswith("file-"):
            one = _found(lambda: library.files.get(file_id))
            _, path = _attachment(info, one)
            number = _found(lambda: library.documents.find(path, collection=info.name))
        else:
            number = _row(library, info, file_id).id
        library.documents.remove([number], collection=info.name)
        return Removed(id=file_id, object="vector_store.file.deleted")

    return await store.run("write", remove)


@router.post("/{vector_store_id}/file_batches")
async def create_batch(store: Store, body: NewBatch) -> BatchObject:
    """Put several uploaded files into the collection at once."""

    def attach(library: Library, info: CollectionInfo) -> BatchObject:
        for one in body.file_ids:
            _found(lambda one=one: library.files.get(one))  # type: ignore[misc]
        job = library.files.attach(body.file_ids, collection=info.name)
        return _batch(info, library.jobs.get(job))

    return await store.run("write", attach)


@router.get("/{vector_store_id}/file_batches/{batch_id}")
async def get_batch(store: Store, batch_id: BatchId) -> BatchObject:
    """How far it is."""

    def look(library: Library, info: CollectionInfo) -> BatchObject:
        number = _number(batch_id, "vsfb_")
        job = _found(lambda: library.jobs.get(number))
        if job.collection != info.name:
            raise Problem(404, f"there is no batch {batch_id}")
        return _batch(info, job)

    return await store.run("read", look)


# --- what they share --------------------------------------------------------------------


def find_store(library: Library, store_id: str) -> CollectionInfo:
    """The collection of a store's id. Raises Problem 404."""
    number = _number(store_id, "vs_")
    for row in library.collections():
        if row.id == number:
            return row
    raise Problem(404, f"there is no vector store {store_id[:60]!r} for this key")


def _found(call: Callable[[], T]) -> T:
    try:
        return call()
    except UsageError as error:
        raise Problem(404, str(error)) from None


def _number(text: str, prefix: str) -> int:
    digits = text.removeprefix(prefix)
    if not text.startswith(prefix) or not digits.isdecimal() or len(digits) > 15:
        raise Problem(404, f"there is no {text[:60]!r}")
    return int(digits)


def _ends(ids: list[str]) -> tuple[str | None, str | None]:
    return (ids[0], ids[-1]) if ids else (None, None)


def _store(library: Library, info: CollectionInfo) -> StoreObject:
    counts = library.documents.statistics(info.name)
    created = int(info.created_at.timestamp())
    return StoreObject(
        id=f"vs_{info.id}",
        created_at=created,
        name=info.name,
        usage_bytes=counts.bytes,
        file_counts=FileCounts(completed=counts.documents, total=counts.documents),
        last_active_at=created,
    )


def _row(library: Library, info: CollectionInfo, file_id: str) -> DocumentInfo:
    row = _found(lambda: library.documents.get(_number(file_id, "doc-")))
    if row.collection_id != info.id:
        raise Problem(404, f"there is no file {file_id}")
    return row


def _document(info: CollectionInfo, row: DocumentInfo, file_id: str) -> StoreFile:
    failed = row.state == "failed"
    return StoreFile(
        id=file_id,
        created_at=int(row.ingested_at.timestamp()),
        vector_store_id=f"vs_{info.id}",
        status="failed" if failed else "completed",
        usage_bytes=row.size,
        last_error=LastError(message=row.error) if failed else None,
        attributes={"title": row.title or row.name, "type": row.media_type},
    )


def _attachment(info: CollectionInfo, one: UploadedFile) -> tuple[int, str]:
    if info.id not in one.attached:
        raise Problem(404, f"{one.id} is not in this vector store")
    return one.attached[info.id]


def _attached(library: Library, info: CollectionInfo, one: UploadedFile) -> StoreFile:
    """An uploaded file as it stands in the collection."""
    job_id, path = _attachment(info, one)
    job = library.jobs.get(job_id)
    if not job.running:
        try:
            number = library.documents.find(path, collection=info.name)
        except UsageError:
            pass
        else:
            return _document(info, library.documents.get(number), one.id)
    status = _STATES.get(job.state, "failed")
    failed = None
    if status == "completed":  # the job ended without it
        reasons = {row["path"]: row["error"] for row in job.report.get("failed", ())}
        status, failed = "failed", LastError(message=reasons.get(path, "it is not there any more"))
    return StoreFile(
        id=one.id, created_at=int(time.time()), vector_store_id=f"vs_{info.id}", status=status,
        usage_bytes=one.bytes, last_error=failed,
    )  # fmt: skip


def _batch(info: CollectionInfo, job: JobInfo) -> BatchObject:
    status = _STATES.get(job.state, "failed")
    total = len(job.request.get("paths", ()))
    bad = len(job.report.get("failed", ()))
    counts = FileCounts(total=total)
    if status == "completed":
        counts = FileCounts(total=total, failed=bad, completed=max(0, total - bad))
    elif status == "in_progress":
        counts = FileCounts(total=total, in_progress=total)
    return BatchObject(
        id=f"vsfb_{job.id}", created_at=int(job.created_at.timestamp()),
        vector_store_id=f"vs_{info.id}", status=status, file_counts=counts,
    )  # fmt: skip
