"""Transcriptions in OpenAI's form, by the profile's transcriber."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.responses import Response

from ragcore.api.access import Reader
from ragcore.api.bodies import BoundedRoute
from ragcore.api.problems import Problem
from ragcore.api.routes.common import library_of, limiter_of, settings_of
from ragcore.types import SpeechSegment

router = APIRouter(route_class=BoundedRoute, prefix="/v1", tags=["OpenAI-compatible"])
Style = Literal["json", "text", "srt", "vtt", "verbose_json"]


class TranscriptSegment(BaseModel):
    """What is said from `start` to `end`, in seconds."""

    id: int
    start: float
    end: float
    text: str


class Transcript(BaseModel):
    """What is said in a file; all but `text` with `verbose_json` only."""

    text: str
    task: Literal["transcribe"] | None = None
    language: str | None = None
    duration: float | None = None
    segments: list[TranscriptSegment] | None = None


@router.post(
    "/audio/transcriptions",
    response_model=Transcript,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def transcribe(
    request: Request,
    principal: Reader,
    file: Annotated[UploadFile, File()],
    model: Annotated[str, Form(max_length=200)] = "",
    language: Annotated[str, Form(max_length=10)] = "",
    response_format: Annotated[Style, Form()] = "json",
) -> Response:
    """What is said in a recording or video; 404 where the profile has no transcriber.

    `model` may be left out, or "whisper-1" as OpenAI's clients call it. The file is not kept.
    """
    library = library_of(request)
    reference = library.models.profile.transcriber
    if reference is None:
        raise Problem(404, f"the profile {library.models.profile.name} has no transcriber")
    if model not in ("", "whisper-1", reference.name):
        raise Problem(404, f"there is no transcriber {model[:100]!r} (there is: {reference.name})")
    if (file.size or 0) > settings_of(request).ui_upload_mb * 2**20:
        raise Problem(413, "the file is larger than the setting ui_upload_mb")
    content = await file.read()
    name = file.filename or ""
    segments = await limiter_of(request).answer(
        request,
        principal,
        lambda cancel: library.models.transcribe(
            content, name=name, language=language, cancel=cancel
        ),
    )
    return _response(segments, response_format, language)


def _response(segments: Sequence[SpeechSegment], form: str, language: str) -> Response:
    text = " ".join(one.text for one in segments)
    if form == "text":
        return PlainTextResponse(text + "\n")
    if form in ("srt", "vtt"):
        return PlainTextResponse("".join(_subtitles(segments, form)))
    if form == "json":
        return JSONResponse({"text": text})
    whole = Transcript(
        text=text,
        task="transcribe",
        language=language,
        duration=segments[-1].end if segments else 0.0,
        segments=[
            TranscriptSegment(id=number, start=one.start, end=one.end, text=one.text)
            for number, one in enumerate(segments)
        ],
    )
    return JSONResponse(whole.model_dump(mode="json"))


def _subtitles(segments: Sequence[SpeechSegment], form: str) -> Iterable[str]:
    if form == "vtt":
        yield "WEBVTT\n\n"
    for number, one in enumerate(segments, start=1):
        head = f"{number}\n" if form == "srt" else ""
        point = "," if form == "srt" else "."
        begin, end = _time(one.start, point), _time(one.end, point)
        yield f"{head}{begin} --> {end}\n{one.text}\n\n"


def _time(second: float, point: str) -> str:
    thousandths = round(second * 1000)
    seconds, thousandths = divmod(thousandths, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{thousandths:03}"
