"""Original files by address, for *Open original*: shown where a browser runs nothing in them."""

from __future__ import annotations

from contextlib import ExitStack

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from ragcore.errors import RagcoreError

from .login import SESSION_COOKIE
from .state import library_of

ORIGINALS = "_ragcore/originals"  # below the root of the pages
# What browsers show without running it; everything else is bytes to be saved.
SHOWN = {"application/pdf", "image/png", "image/jpeg", "image/webp", "image/gif", "text/plain"}
_AS_TEXT = {"text/markdown", "text/csv"}
_HEADERS = {"Cache-Control": "private, no-cache", "Cross-Origin-Resource-Policy": "same-origin"}


async def original(request: Request) -> Response:
    """A document's file; 404 for no document that the person may see, or one without its file."""
    token = str(request.cookies.get(SESSION_COOKIE, ""))
    stack = ExitStack()
    document_id = request.path_params["document_id"]
    try:
        return await run_in_threadpool(_file, token, document_id, stack)
    except RagcoreError as error:
        stack.close()
        return Response(str(error), 404, media_type="text/plain; charset=utf-8")


def _file(token: str, document_id: int, stack: ExitStack) -> Response:
    library = library_of(token)
    if library is None:
        raise RagcoreError("log in first")
    document = library.documents.get(document_id)
    path = stack.enter_context(library.documents.original(document_id))
    kind = "text/plain" if document.media_type in _AS_TEXT else document.media_type
    shown = kind in SHOWN
    return FileResponse(
        path,
        media_type=kind if shown else "application/octet-stream",
        filename=document.name,
        content_disposition_type="inline" if shown else "attachment",
        headers=_HEADERS,
        background=BackgroundTask(stack.close),
    )
