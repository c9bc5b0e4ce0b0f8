"""Thumbnails by address, for the grid of the page Images: a browser loads those in sight."""

from __future__ import annotations

import hashlib
import io

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ragcore.errors import RagcoreError

from .login import SESSION_COOKIE
from .state import library_of

THUMBNAILS = "_ragcore/thumbnails"  # below the root of the pages
SIDES = (160, 320)  # pixels, at most
_HEADERS = {"Cache-Control": "private, max-age=3600"}


async def thumbnail(request: Request) -> Response:
    """WebP of at most `side` pixels a side.

    304 where the browser has it, 404 for no image that the person may see.
    """
    side = request.query_params.get("side", "320")
    if side not in map(str, SIDES):
        return Response(f"side is one of {SIDES}", 400, media_type="text/plain")
    token = str(request.cookies.get(SESSION_COOKIE, ""))
    stored = await run_in_threadpool(_stored, token, request.path_params["image_id"])
    if stored is None:
        return Response("there is no such image", 404, media_type="text/plain")
    digest = hashlib.sha256(stored).hexdigest()[:32]
    headers = {**_HEADERS, "ETag": f'"{digest}-{side}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    data = await run_in_threadpool(_at_most, stored, int(side))
    return Response(data, media_type="image/webp", headers=headers)


def _stored(token: str, image_id: int) -> bytes | None:
    library = library_of(token)
    try:
        return None if library is None else library.images.thumbnail(image_id)
    except RagcoreError:
        return None


def _at_most(data: bytes, side: int) -> bytes:
    if side == max(SIDES):
        return data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((side, side))
        small = io.BytesIO()
        image.save(small, "WEBP", quality=75, method=0)
    return small.getvalue()
