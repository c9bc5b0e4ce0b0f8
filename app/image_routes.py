"""Images by address, for the grid and the viewer.

Seen, described, downloaded and marked without a run of the page's script.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ragcore.errors import NotPermitted, RagcoreError
from ragcore.library import ImageInfo, ImageMarks, Library
from ragcore.text import clock

from .components.metadata import metadata_lines
from .login import SESSION_COOKIE
from .state import library_of

IMAGES = "_ragcore/images"  # below the root of the pages
SIDES = (1600, 4000)  # pixels, at most
MOST_IDS = 20_000  # of one request
_BODY = 2**20  # bytes of a request
_HEADERS = {"Cache-Control": "private, max-age=3600"}


def routes(root: str) -> list[Route]:
    """The routes below the pages' root, which ends in a slash."""
    base = f"{root}{IMAGES}"
    return [
        Route(base, change, methods=["POST"]),
        Route(f"{base}/zip", archive, methods=["POST"]),
        Route(f"{base}/{{image_id:int}}/view", view),
        Route(f"{base}/{{image_id:int}}/about", about),
        Route(f"{base}/{{image_id:int}}/original", original),
        Route(f"{base}/{{image_id:int}}/video", video),
    ]


async def view(request: Request) -> Response:
    """WebP of at most `side` pixels a side; the thumbnail where the file has gone."""
    side, image_id = request.query_params.get("side", "1600"), request.path_params["image_id"]
    if side not in map(str, SIDES):
        return Response(f"side is one of {SIDES}", 400, media_type="text/plain")

    def look(library: Library) -> Response:
        try:
            data = library.images.view(image_id, side=int(side))
        except RagcoreError:
            data = library.images.thumbnail(image_id)
        return Response(data, media_type="image/webp", headers=_HEADERS)

    return await _answer(request, look)


async def about(request: Request) -> Response:
    """What the viewer's panel shows."""
    image_id = request.path_params["image_id"]
    return await _answer(request, lambda library: JSONResponse(described(library, image_id)))


async def video(request: Request) -> Response:
    """The video that a frame is from, in the ranges that a player asks for."""
    image_id = request.path_params["image_id"]

    def look(library: Library) -> Response:
        info = library.images.get(image_id)
        if info.second is None:
            return Response("this image is from no video", 404, media_type="text/plain")
        document = library.documents.get(info.document_id)
        return _file_of(library, info, document.media_type)

    return await _answer(request, look)


async def original(request: Request) -> Response:
    """The image's own file, to be saved; of a frame its video."""
    image_id = request.path_params["image_id"]

    def look(library: Library) -> Response:
        info = library.images.get(image_id)
        if info.second is None and (info.page is not None or info.media):
            name = _attachment(file_name(info))
            data = library.images.read(image_id)
            return Response(data, media_type="application/octet-stream", headers=name)
        return _file_of(library, info, "application/octet-stream")

    return await _answer(request, look)


def _file_of(library: Library, info: ImageInfo, media_type: str) -> Response:
    """The file of an image's document. Only what is to be saved has a name."""
    stored = library.documents.original(info.document_id)
    path = stored.__enter__()
    saved = media_type == "application/octet-stream"
    return FileResponse(
        path,
        filename=Path(info.path).name if saved else None,
        media_type=media_type,
        background=BackgroundTask(stored.__exit__, None, None, None),
    )


async def archive(request: Request) -> Response:
    """A ZIP of the originals of images, made while it is sent."""
    form = await request.form()
    ids = str(form.get("ids", "")).split(",")
    if not all(one.isdecimal() for one in ids) or len(ids) > MOST_IDS:
        return Response(f"give 1 to {MOST_IDS:,} numbers of images", 400, media_type="text/plain")

    def pack(library: Library) -> Response:
        pieces = _zipped(library, [int(one) for one in ids])
        headers = _attachment("images.zip")
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)

    return await _answer(request, pack)


async def change(request: Request) -> Response:
    """Mark images: {"do": …, "ids": […], …}; answers with a sentence."""
    body = await request.body()
    try:
        asked: dict[str, Any] = json.loads(body) if len(body) <= _BODY else {}
        ids = [int(one) for one in asked["ids"]]
        work = _CHANGES[asked["do"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return JSONResponse({"said": "The request cannot be read."}, 400)
    if not 1 <= len(ids) <= MOST_IDS:
        return JSONResponse({"said": f"Choose 1 to {MOST_IDS:,} images."}, 400)

    def mark(library: Library) -> Response:
        collection = str(asked.get("collection") or "") or _collection(library, ids[0])
        try:
            return JSONResponse(work(library, collection, ids, asked))
        except (TypeError, KeyError, AttributeError):  # a value is missing or of another kind
            return JSONResponse({"said": "The request cannot be read."}, 400)

    return await _answer(request, mark)


async def _answer(request: Request, look: Callable[[Library], Response]) -> Response:
    """`look` at the library of who asks; 404 without a login, as for what is not there."""
    token = str(request.cookies.get(SESSION_COOKIE, ""))
    client = str(request.client.host if request.client else "")

    def run() -> Response:
        library = library_of(token, client)
        if library is None:
            return JSONResponse({"said": "Your login is over: load the page again."}, 404)
        try:
            return look(library)
        except RagcoreError as error:
            text = " ".join(str(error).split())
            status = 403 if isinstance(error, NotPermitted) else 404
            return JSONResponse({"said": f"{text[:1].upper()}{text[1:].rstrip('.')}."}, status)

    return await run_in_threadpool(run)


# --- described -----------------------------------------------------------------------------


def described(library: Library, image_id: int) -> dict[str, Any]:
    """What is known of an image, as the viewer shows it."""
    info = library.images.get(image_id)
    metadata = library.images.metadata([image_id]).get(image_id)
    marks = library.images.marks([image_id]).get(image_id, ImageMarks())
    facts = metadata_lines(metadata) if metadata is not None else []
    facts.append(f"{info.width} × {info.height} pixels")
    facts += [] if info.page is None else [f"on page {info.page}"]
    facts += [] if info.second is None else _of_video(library, info)
    labels = library.labels.of("image", [image_id]).get(image_id, ())
    of_file = metadata.rating if metadata is not None else None
    return {
        "title": info.document or Path(info.path).name,
        "caption": info.caption,
        "caption_by": info.caption_by if info.caption else "",
        "text": info.text,
        "facts": [*facts, info.path],
        "second": info.second,
        "labels": [f"{one.label} ({one.classifier}, {one.confidence:.0%})" for one in labels],
        "favorite": marks.favorite,
        "rating": of_file if marks.rating is None else marks.rating,
        "note": marks.note,
        "tags": list(marks.tags),
        "albums": list(marks.albums),
        "known_albums": [one.name for one in library.albums.list(_collection(library, image_id))],
        "missing": _missing(library, info),
    }


def _of_video(library: Library, info: ImageInfo) -> list[str]:
    """Where a frame is in its video, and what that is."""
    details = library.documents.get(info.document_id).details
    length = details.get("duration") or 0
    place = f"at {clock(info.second or 0)}" + (f" of {clock(length)}" if length else "")
    codecs = [details.get("video_codec"), details.get("audio_codec")]
    return [place, " and ".join(filter(None, codecs))]


def _missing(library: Library, info: ImageInfo) -> bool:
    """Whether the file of an image is not where it was; of remote sources it is not asked."""
    embedded = info.page is not None or (info.media and info.second is None)
    if embedded or "://" in info.path:
        return False
    try:
        with library.documents.original(info.document_id):
            return False
    except RagcoreError:
        return True


# --- files ---------------------------------------------------------------------------------


def file_name(info: ImageInfo) -> str:
    """The name under which an image is saved."""
    name = info.path.replace("\\", "/").rsplit("/", 1)[-1]
    if info.second is not None:
        return f"{name.rpartition('.')[0] or name}-{clock(info.second).replace(':', '-')}.jpg"
    if info.page is None:
        return name
    return f"{name.rpartition('.')[0] or name}-page-{info.page}-{info.id}{Path(info.media).suffix}"


def _attachment(name: str) -> dict[str, str]:
    from urllib.parse import quote

    return {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}


class _Pieces(io.RawIOBase):
    """What is written, until it is taken."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._kept += data
        return len(data)

    def take(self) -> bytes:
        taken, self._kept = bytes(self._kept), bytearray()
        return taken


def _zipped(library: Library, ids: Sequence[int]) -> Iterator[bytes]:
    pieces, used, failed = _Pieces(), set[str](), list[str]()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as made:
        for image_id in dict.fromkeys(ids):
            try:
                info = library.images.get(image_id)
                data = library.images.read(image_id)
            except RagcoreError as error:
                failed.append(f"image {image_id}: {error}")
                continue
            name = file_name(info)
            while name.casefold() in used:
                stem, dot, suffix = file_name(info).rpartition(".")
                name = f"{stem or suffix}-{image_id}{dot if stem else ''}{suffix if stem else ''}"
            used.add(name.casefold())
            made.writestr(name, data)
            yield pieces.take()
        if failed:
            made.writestr("not included.txt", "\n".join(failed) + "\n")
    yield pieces.take()


# --- changes -------------------------------------------------------------------------------


def _collection(library: Library, image_id: int) -> str:
    of = library.images.get(image_id).collection_id
    return next(one.name for one in library.collections() if one.id == of)


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def _said(text: str, **more: Any) -> dict[str, Any]:
    return {"said": text, **more}


Asked = dict[str, Any]
Change = Callable[[Library, str, Sequence[int], Asked], dict[str, Any]]


def _favorite(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    wanted = bool(asked["value"])
    count = library.images.mark(ids, collection=collection, favorite=wanted)
    undo = {"do": "favorite", "value": not wanted, "ids": list(ids)}
    what = "a favorite" if count == 1 else "favorites"
    return _said(f"{_images(count)} marked as {what}." if wanted else f"{_images(count)} unmarked.",
                 undo=undo)  # fmt: skip


def _rate(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    count = library.images.mark(ids, collection=collection, rating=int(asked["value"]))
    return _said(f"{_images(count)} rated.")


def _tag(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    added, removed = asked.get("add", []), asked.get("remove", [])
    count = library.images.mark(
        ids, collection=collection, add_tags=list(map(str, added)),
        remove_tags=list(map(str, removed)),
    )  # fmt: skip
    return _said(f"{_images(count)} tagged." if added else f"{_images(count)} untagged.")


def _note(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    library.images.mark(ids, collection=collection, note=str(asked["value"]))
    return _said("The note is kept.")


def _album(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    name = " ".join(str(asked["value"]).split())
    known = {one.name.casefold(): one.name for one in library.albums.list(collection)}
    if name.casefold() in known:
        name = known[name.casefold()]
        count = library.albums.add(name, ids, collection=collection)
        return _said(f"{_images(count)} added to {name}.")
    count = library.albums.create(name, image_ids=ids, collection=collection)
    return _said(f"The album {name} is made, with {_images(count)}.")


def _unalbum(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    name = str(asked["value"])
    count = library.albums.remove(name, ids, collection=collection)
    return _said(f"{_images(count)} taken out of {name}.")


def _label(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    """Label images for a classifier to learn from; it and the class are made if they are new."""
    classifier, label = str(asked["classifier"]), " ".join(str(asked["value"]).split())
    _, classes = library.labels.classes(collection).get(classifier, ("image", []))
    same = next((one for one in classes if one.casefold() == label.casefold()), None)
    if same is None:
        library.labels.set_classes(classifier, "image", [*classes, label], collection=collection)
    count = library.labels.give(classifier, "image", ids, same or label, collection=collection)
    return _said(
        f"{_images(count)} labeled {same or label} for {classifier}: see the page Classifiers."
    )


def _trash(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    documents = list(library.trash.put_images(ids, collection=collection))
    undo = {"do": "restore", "documents": documents, "collection": collection, "ids": list(ids)}
    return _said(f"{_images(len(documents))} moved to the trash.", undo=undo)


def _restore(library: Library, collection: str, ids: Sequence[int], asked: Asked) -> Asked:
    documents = [int(one) for one in asked["documents"]]
    count = library.trash.restore(documents, collection=collection)
    return _said(f"{_images(count)} restored.")


_CHANGES: dict[str, Change] = {
    "favorite": _favorite,
    "rate": _rate,
    "tag": _tag,
    "note": _note,
    "album": _album,
    "unalbum": _unalbum,
    "label": _label,
    "trash": _trash,
    "restore": _restore,
}
