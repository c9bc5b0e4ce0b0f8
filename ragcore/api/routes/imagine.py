"""Images in the background: everything that `ragcore imagine` can, with progress and cancel."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from ragcore.api.access import Reader
from ragcore.api.bodies import BoundedRoute, decode_image, takes_images
from ragcore.api.events import EventStream, event
from ragcore.api.image_jobs import ImageJob, ImageJobs
from ragcore.api.problems import Problem
from ragcore.api.routes.common import PREFIX, binary, found, library_of, limiter_of
from ragcore.api.routes.jobs import EVENTS
from ragcore.library import Library
from ragcore.renamed import with_current_names

router = APIRouter(route_class=BoundedRoute, prefix=f"{PREFIX}/imagine", tags=["images"])
MOST_IMAGES = 16
_LOOK_EVERY = 0.1  # seconds
# Earlier names of fields.
_DEPRECATED = {"picture": "image", "start_picture": "start_image"}  # deprecated
_DEPRECATED |= {"guides": "guidance"}
_BASE64 = "An image file in base64."

JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["0123456789abcdef"])]
Number = Annotated[int, Path(ge=1, le=MOST_IMAGES)]


class ControlForm(BaseModel):
    """What a ControlNet follows: an image in base64, or an image of a collection by its id."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(max_length=40, examples=["canny"])
    image: str | None = Field(default=None, description=_BASE64)
    image_id: int | None = Field(default=None, ge=1, le=2**53 - 1)
    weight: float = Field(default=1.0, ge=0, le=10)
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)
    ready: bool = Field(default=False, description="The image is a condition already.")

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        return with_current_names(values, _DEPRECATED, "the field")


class LoraForm(BaseModel):
    """A LoRA of those that were added to the server, by name."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    weight: float = Field(default=1.0, ge=-10, le=10)


class ImagineForm(BaseModel):
    """As the options of `ragcore imagine`."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(default="", max_length=2000, examples=["red apple"])
    negative: str = Field(default="", max_length=2000)
    style: str = Field(default="", max_length=100)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    steps: int = Field(default=25, ge=1, le=1000)
    size: int = Field(default=0, ge=0, le=4096, description="Pixels a side; 0: the model's own.")
    count: int = Field(default=1, ge=1, le=MOST_IMAGES)
    scale: float = Field(default=3.0, ge=0, le=1e9)
    sampler: Literal["dpm++", "ddim", "euler"] = "dpm++"
    start_image: str | None = Field(default=None, description=_BASE64)
    strength: float = Field(default=0.6, ge=0, le=1)
    guidance: list[str] = Field(default=[], max_length=8, examples=[["class:buildings:3"]])
    controls: list[ControlForm] = Field(default=[], max_length=8)
    guess: bool = False
    loras: list[LoraForm] = Field(default=[], max_length=8)
    preview_every: int = Field(default=0, ge=0, le=1000, description="Steps between previews.")

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        return with_current_names(values, _DEPRECATED, "the field")


class GeneratedImageLink(BaseModel):
    """A generated image: its seed, and where it can be fetched."""

    seed: int
    location: str


class ImagineResponse(BaseModel):
    """A job as it stands; `images` once it is done."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    step: int
    total: int
    error: str
    created_at: str
    model: str = ""
    seconds: float = 0.0
    notes: list[str] = Field(default=[], description="What was cut to a limit.")
    images: list[GeneratedImageLink] = []
    pictures: list[GeneratedImageLink] = Field(default=[], deprecated="Use `images`.")
    conditions: list[str] = Field(default=[], description="Where the conditions are, as used.")

    @classmethod
    def of(cls, job: ImageJob) -> ImagineResponse:
        base = f"{PREFIX}/imagine/{job.id}"
        shape = cls(
            id=job.id,
            state=job.state,  # type: ignore[arg-type]  # one of them
            step=job.step,
            total=job.total,
            error=job.error,
            created_at=job.created_at.isoformat(),
        )
        if job.result is None or job.state != "done":
            return shape
        shape.model, shape.seconds = job.result.model, job.result.seconds
        shape.notes = list(job.result.notes)
        shape.images = [
            GeneratedImageLink(seed=one.seed, location=f"{base}/images/{number}")
            for number, one in enumerate(job.result.images, 1)
        ]
        shape.pictures = shape.images  # deprecated
        shape.conditions = [
            f"{base}/conditions/{number}" for number in range(1, len(job.result.conditions) + 1)
        ]
        return shape


class ImagineList(BaseModel):
    """The latest jobs that generate images."""

    items: list[ImagineResponse]


class ImagineStarted(BaseModel):
    """The id of a started job, and where its state is."""

    job: str
    location: str


def _jobs(request: Request) -> ImageJobs:
    found: ImageJobs = request.app.state.images
    return found


@router.post("", status_code=202, response_model=ImagineStarted)
@takes_images
async def imagine(request: Request, principal: Reader, body: ImagineForm) -> JSONResponse:
    """Begin to make images; what cannot be made is rejected at once.

    501 where the profile has no image maker. Jobs are kept in memory until an hour after they
    are done.
    """
    library = library_of(request)
    if library.models.profile.diffusion is None:
        raise Problem(501, f"the profile {library.models.profile.name} has no image maker")

    def prepare() -> Any:
        wanted = _request(library, body)
        return wanted, library.diffusion.check(wanted)

    wanted, size = await limiter_of(request).run(principal, prepare)
    jobs = _jobs(request)
    wait = jobs.wait_seconds()
    job = jobs.start(
        principal,
        body.steps,
        body.steps * body.count * size**2 / 1e6,
        lambda cancel: library.imagine_stream(
            wanted, preview_every=body.preview_every, cancel=cancel
        ),
    )
    location = f"{PREFIX}/imagine/{job.id}"
    headers = {"Location": location, "Retry-After": str(wait)}
    return JSONResponse({"job": job.id, "location": location}, 202, headers)


@router.get("")
async def list_imagined(request: Request, principal: Reader) -> ImagineList:
    """Your jobs, newest first."""
    return ImagineList(
        items=[ImagineResponse.of(job) for job in _jobs(request).of(principal)[:100]]
    )


@router.get("/{job_id}")
async def get_imagined(request: Request, principal: Reader, job_id: JobId) -> ImagineResponse:
    """One job as it stands."""
    return ImagineResponse.of(_jobs(request).get(principal, job_id))


@router.post("/{job_id}/cancel", status_code=202)
async def cancel_imagined(request: Request, principal: Reader, job_id: JobId) -> ImagineResponse:
    """Stop between two steps; a job that is done stays as it is."""
    job = _jobs(request).get(principal, job_id)
    _jobs(request).cancel(job)
    return ImagineResponse.of(job)


@router.delete("/{job_id}", status_code=204)
async def forget_imagined(request: Request, principal: Reader, job_id: JobId) -> Response:
    """Cancel a job and forget its images."""
    _jobs(request).forget(_jobs(request).get(principal, job_id))
    return Response(status_code=204)


@router.get("/{job_id}/events", status_code=200, response_class=EventStream, responses=EVENTS)
async def imagine_events(request: Request, principal: Reader, job_id: JobId) -> EventStream:
    """`progress` whenever steps were done, `preview` where previews were asked for, and `end`.

    A preview has the step and PNGs in base64. Each event has the whole job, so that one who comes
    late misses nothing.
    """
    job = _jobs(request).get(principal, job_id)
    limiter = limiter_of(request)

    async def events() -> AsyncIterator[str]:
        reported, shown = -1, 0
        while not limiter.stopping:
            running = job.running  # read before the rest, so that the last event is complete
            preview, step = job.preview, job.preview_step
            if preview is not None and step != shown:
                shown = step
                images = await limiter.quick(_pngs, preview)
                yield event("preview", {"step": step, "images": images})
            if job.changes != reported or not running:
                reported = job.changes
                data = ImagineResponse.of(job).model_dump(mode="json")
                yield event("progress" if running else "end", data)
            if not running:
                return
            await asyncio.sleep(_LOOK_EVERY)

    return EventStream(events())


@router.get("/{job_id}/pictures/{number}", deprecated=True, response_class=Response)
@router.get(
    "/{job_id}/images/{number}", response_class=Response, responses=binary("image/png")
)  # fmt: skip
async def imagined_image(
    request: Request, principal: Reader, job_id: JobId, number: Number
) -> Response:
    """A PNG that carries its recipe."""
    job = _jobs(request).get(principal, job_id)
    made = job.result.images if job.result is not None else ()
    return _png([one.png for one in made], number, job)


@router.get(
    "/{job_id}/conditions/{number}", response_class=Response, responses=binary("image/png")
)  # fmt: skip
async def imagined_condition(
    request: Request, principal: Reader, job_id: JobId, number: Number
) -> Response:
    """What was followed, as it was used."""
    job = _jobs(request).get(principal, job_id)
    return _png(list(job.result.conditions) if job.result is not None else [], number, job)


def _png(images: list[bytes], number: int, job: ImageJob) -> Response:
    if number > len(images):
        raise Problem(404, f"there is no such image; the job is {job.state}")
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(images[number - 1], media_type="image/png", headers=headers)


def _pngs(pixels: Any) -> list[str]:
    from ragcore.library import as_png

    return [base64.b64encode(as_png(one)).decode() for one in pixels]


def _request(library: Library, body: ImagineForm) -> Any:
    """The request; images of collections are looked up as the principal may see them."""
    from ragcore.library import ControlRequest, GuidanceRequest, ImagineRequest, LoraRequest

    known = library.diffusion.loras() if body.loras else {}
    for lora in body.loras:
        if lora.name not in known:
            raise Problem(400, f"there is no LoRA {lora.name!r} on the server")
    plain = body.model_dump(
        exclude={"guidance", "controls", "loras", "start_image", "preview_every"}
    )
    return ImagineRequest(
        **plain,
        start_image=None
        if body.start_image is None
        else decode_image(body.start_image, "start_image"),
        guidance=[GuidanceRequest.parse(one) for one in body.guidance],
        controls=[
            ControlRequest(
                one.kind, _image_of(library, one), one.weight, one.start, one.end, one.ready
            )
            for one in body.controls
        ],
        loras=[LoraRequest(known[lora.name], lora.weight) for lora in body.loras],
    )


def _image_of(library: Library, control: ControlForm) -> bytes:
    if (control.image is None) == (control.image_id is None):
        raise Problem(400, "a control has either an image or an image_id")
    if control.image_id is not None:
        wanted = control.image_id
        return found(lambda: library.images.read(wanted))
    assert control.image is not None
    return decode_image(control.image, "a control's image")
