"""What OpenAI's clients call: a collection is a model, an answer is a completion.

The model named "ragcore/<collection>" answers the last user message from that collection. What
OpenAI's answer has no place for stands in the extension field `ragcore`.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ragcore.api.access import CollectionContext, Reader, find_collection, require
from ragcore.api.answer_schemas import AnswerResponse
from ragcore.api.bodies import BoundedRoute
from ragcore.api.events import EVENT, EventStream, event
from ragcore.api.problems import Problem, problem_of, request_id_of
from ragcore.api.routes.common import library_of, limiter_of, metrics_of
from ragcore.api.schemas import MAX_TEXT
from ragcore.api.work_limiter import begun
from ragcore.library import Library
from ragcore.types import Answer, Message

router = APIRouter(route_class=BoundedRoute, prefix="/v1", tags=["OpenAI-compatible"])
PREFIX = "ragcore/"
MOST_INPUTS = 256
_PIECE = 48  # characters of a checked answer in one chunk


class Loose(BaseModel):
    """A request of another maker's form: what is not known here is passed over."""

    model_config = ConfigDict(extra="allow")


class TextPart(Loose):
    """A part of a message."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_TEXT)


class ChatMessage(Loose):
    """A message of the conversation; the last one is the question."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = Field(default=None, examples=["Who may park here?"])

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class JsonSchema(Loose):
    """The schema that an answer in JSON meets."""

    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Loose):
    """Whether the answer is text or JSON."""

    type: Literal["text", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Loose):
    """What a stream has beside the answer."""

    include_usage: bool = False


class RequestExtension(Loose):
    """`extra_body={"ragcore": {...}}` in OpenAI's client."""

    k: int = Field(default=4, ge=1, le=20)
    where: dict[str, str] = Field(default={}, max_length=20)
    live: bool = Field(
        default=False,
        description="Stream the model's words before they are checked; the checked answer, which "
        "may be another, stands in the last chunk's `ragcore`.",
    )


class ChatRequest(Loose):
    """A chat completion, as OpenAI's clients ask for it."""

    model: str = Field(max_length=200, examples=["ragcore/sample"])
    messages: list[ChatMessage] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    response_format: ResponseFormat | None = None
    ragcore: RequestExtension = RequestExtension()


class EmbeddingRequest(Loose):
    """Texts to embed, as OpenAI's clients ask for it."""

    model: str = Field(max_length=200, examples=["minilm-l6-v2"])
    input: str | list[str] = Field(examples=[["How do I pay?"]])
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Literal["query", "passage"] = Field(
        default="passage", description="Models that distinguish the two embed them differently."
    )


class ModelResponse(BaseModel):
    """A model, or a collection that answers as one."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "ragcore"


class ModelList(BaseModel):
    """The models that OpenAI's clients can choose."""

    object: Literal["list"] = "list"
    data: list[ModelResponse]


class Usage(BaseModel):
    """Tokens of the prompt and of the answer."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class ChoiceMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(BaseModel):
    """The one answer of a completion."""

    index: int = 0
    message: ChoiceMessage
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class Completion(BaseModel):
    """A chat completion; `ragcore` has citations and hits."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    ragcore: AnswerResponse


class EmbeddingResponse(BaseModel):
    """The vector of one text: numbers, or float32 bytes in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(BaseModel):
    """The vectors of all texts, in order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingResponse]
    model: str
    usage: Usage


@router.get("/models")
async def list_models(request: Request, principal: Reader) -> ModelList:
    """The collections that this key may ask, and the text encoder."""
    library = library_of(request)

    def look() -> ModelList:
        data = [
            ModelResponse(id=f"{PREFIX}{row.name}", created=int(row.created_at.timestamp()))
            for row in library.collections()
        ]
        encoder = library.models.profile.text_encoder
        if encoder is not None:
            data.append(ModelResponse(id=encoder.name, created=0))
        return ModelList(data=data)

    return await limiter_of(request).run(principal, look)


@router.get("/models/{model:path}")
async def get_model(
    request: Request, principal: Reader, model: Annotated[str, Path(max_length=200)]
) -> ModelResponse:
    """One of them."""
    for one in (await list_models(request, principal)).data:
        if one.id == model:
            return one
    raise Problem(404, f"there is no model {model[:100]!r} for this key")


@router.post(
    "/chat/completions",
    response_model=Completion,
    responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}},
)
async def chat_completions(request: Request, principal: Reader, body: ChatRequest) -> Response:
    """Answer the last user message from the collection that `model` names.

    System messages, tools and sampling options are passed over: the prompt is ragcore's own.
    With `stream` the answer comes in pieces once it is checked; see `ragcore.live`.
    """
    context = await _collection(request, principal, body.model)
    question, history = _conversation(body.messages)
    asked = _Asked(context, question, history, body)
    if asked.schema is not None:
        await limiter_of(request).quick(library_of(request).check_schema, asked.schema)
    if body.stream and body.ragcore.live and asked.schema is None:
        return await _live(request, asked)
    if body.stream:
        return EventStream(_checked_chunks(request, asked))
    answer = await asked.answer(request)
    return JSONResponse(await _completion(request, asked, answer))


class _Asked:
    """A chat request, understood."""

    def __init__(
        self,
        context: CollectionContext,
        question: str,
        history: Sequence[Message],
        body: ChatRequest,
    ) -> None:
        self.context, self.question, self.body = context, question, body
        self.id, self.created = f"chatcmpl-{uuid.uuid4().hex[:24]}", int(time.time())
        self.how: dict[str, Any] = {
            "collection": context.name,
            "k": body.ragcore.k,
            "where": body.ragcore.where,
            "history": history,
        }
        form = body.response_format
        self.schema = form.json_schema.schema_ if form and form.json_schema else None

    async def answer(self, request: Request) -> Answer:
        library = library_of(request)
        answer = await limiter_of(request).answer(
            request,
            self.context.principal,
            lambda cancel: library.ask(
                self.question, schema=self.schema, cancel=cancel, **self.how
            ),
        )
        metrics_of(request).stages("ask", answer.timings)
        metrics_of(request).answered(abstained=answer.abstained)
        return answer

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event("", {**self._head(), "choices": [choice], **more})

    def last_chunk(self, usage: Usage) -> str:
        return event("", {**self._head(), "choices": [], "usage": usage.model_dump()})

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.body.model,
        }


async def _completion(request: Request, asked: _Asked, answer: Answer) -> dict[str, Any]:
    usage = await limiter_of(request).quick(_usage, library_of(request), answer)
    return Completion(
        id=asked.id,
        created=asked.created,
        model=asked.body.model,
        choices=[Choice(message=ChoiceMessage(content=answer.text))],
        usage=usage,
        ragcore=AnswerResponse.of(answer),
    ).model_dump(mode="json")


async def _checked_chunks(request: Request, asked: _Asked) -> AsyncIterator[str]:
    """The checked answer in pieces: what has been sent cannot be taken back."""
    try:
        yield asked.chunk({"role": "assistant", "content": ""})
        answer = await asked.answer(request)
        for start in range(0, len(answer.text), _PIECE):
            yield asked.chunk({"content": answer.text[start : start + _PIECE]})
        async for text in _ending(request, asked, answer):
            yield text
    except Exception as error:
        yield _failed(request, error)


async def _live(request: Request, asked: _Asked) -> EventStream:
    """The model's words as they come."""
    library = library_of(request)
    steps = await begun(
        limiter_of(request).stream(
            asked.context.principal,
            lambda cancel: library.ask_stream(asked.question, cancel=cancel, **asked.how),
        )
    )

    async def chunks() -> AsyncIterator[str]:
        async with aclosing(steps):  # type: ignore[type-var]  # an asynchronous generator
            try:
                yield asked.chunk({"role": "assistant", "content": ""})
                said = False
                async for step in steps:
                    if step.kind == "text":
                        said = True
                        yield asked.chunk({"content": step.text})
                    if step.answer is not None:
                        if not said:
                            yield asked.chunk({"content": step.answer.text})
                        async for text in _ending(request, asked, step.answer):
                            yield text
            except Exception as error:
                yield _failed(request, error)

    return EventStream(chunks())


async def _ending(request: Request, asked: _Asked, answer: Answer) -> AsyncIterator[str]:
    shape = AnswerResponse.of(answer).model_dump(mode="json")
    yield asked.chunk({}, "stop", ragcore=shape)
    if asked.body.stream_options and asked.body.stream_options.include_usage:
        yield asked.last_chunk(await limiter_of(request).quick(_usage, library_of(request), answer))
    yield event("", "[DONE]")


def _failed(request: Request, error: Exception) -> str:
    problem = problem_of(error)
    return event("", problem.document(request_id_of(request.scope), openai=True))


@router.post("/embeddings")
async def embeddings(request: Request, principal: Reader, body: EmbeddingRequest) -> EmbeddingList:
    """Unit vectors of texts by the profile's text encoder."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not 1 <= len(texts) <= MOST_INPUTS:
        raise Problem(400, f"give 1 to {MOST_INPUTS} texts at a time, not {len(texts)}")
    if not all(text.strip() and len(text) <= MAX_TEXT for text in texts):
        raise Problem(400, f"each text has 1 to {MAX_TEXT} characters")
    library = library_of(request)
    reference = library.models.profile.text_encoder
    if reference is None or body.model != reference.name:
        known = reference.name if reference else "none"
        raise Problem(404, f"there is no embedding model {body.model[:100]!r} (there is: {known})")

    def embed() -> EmbeddingList:
        dimension = library.models.text_space.dimension
        if body.dimensions not in (None, dimension):
            raise Problem(400, f"the vectors have {dimension} dimensions")
        vectors = library.models.embed(texts, kind=body.input_type)
        data = [
            EmbeddingResponse(
                index=index,
                embedding=base64.b64encode(row.astype("<f4").tobytes()).decode()
                if body.encoding_format == "base64"
                else row.tolist(),
            )
            for index, row in enumerate(vectors)
        ]
        tokens = sum(len(text.split()) for text in texts)  # the encoder does not report it
        return EmbeddingList(
            data=data, model=body.model, usage=Usage(prompt_tokens=tokens, total_tokens=tokens)
        )

    return await limiter_of(request).run(principal, embed, kind="embed")


async def _collection(request: Request, principal: Reader, model: str) -> CollectionContext:
    if not model.startswith(PREFIX):
        raise Problem(404, f"models are named {PREFIX}<collection>; GET /v1/models lists them")
    name = model.removeprefix(PREFIX)
    request.state.collection = name[:100]
    context = await limiter_of(request).quick(find_collection, request, principal, name)
    require(principal, "read")
    return context


def _conversation(messages: Sequence[ChatMessage]) -> tuple[str, list[Message]]:
    """The last user message, and the turns before it. Raises Problem 400 if there is none."""
    turns = [
        Message("user" if one.role == "user" else "assistant", one.text)
        for one in messages
        if one.role in ("user", "assistant") and one.text.strip()
    ]
    if not turns or turns[-1].role != "user":
        raise Problem(400, "the last message must be the user's question")
    return turns[-1].content, turns[:-1][-40:]


def _usage(library: Library, answer: Answer) -> Usage:
    if not answer.prompt:  # nothing was found: the model was not asked
        return Usage(prompt_tokens=0, total_tokens=0)
    prompt, said = map(library.models.count_tokens, (answer.prompt, answer.text))
    return Usage(prompt_tokens=prompt, completion_tokens=said, total_tokens=prompt + said)
