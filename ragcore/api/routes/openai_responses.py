"""Responses in OpenAI's form: a question answered from vector stores, with file citations."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from ragcore.api.access import Reader
from ragcore.api.answer_schemas import AnswerResponse
from ragcore.api.bodies import BoundedRoute
from ragcore.api.events import EVENT, EventStream, event
from ragcore.api.problems import Problem, problem_of
from ragcore.api.routes.common import library_of, limiter_of, metrics_of
from ragcore.api.routes.openai import Loose
from ragcore.api.routes.openai_stores import Comparison, FoundPart, find_store, found_parts
from ragcore.api.schemas import MAX_TEXT
from ragcore.library import Library, Principal
from ragcore.types import Answer, Message

router = APIRouter(route_class=BoundedRoute, prefix="/v1", tags=["OpenAI-compatible"])
_PIECE = 48  # characters of a checked answer in one event
_RESULTS = "file_search_call.results"


class InputText(Loose):
    """A text part of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: str = Field(max_length=MAX_TEXT)


class InputMessage(Loose):
    """A message of the conversation, as a text or as text parts."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputText] = Field(examples=["Who may park here?"])

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class FileSearch(Loose):
    """The one tool that there is: the collections to answer from."""

    type: Literal["file_search"]
    vector_store_ids: list[str] = Field(min_length=1, max_length=20, examples=[["vs_1"]])
    max_num_results: int = Field(default=4, ge=1, le=20)
    filters: Comparison | None = None


class TextFormat(Loose):
    """The form of the answer: plain text, or JSON that a schema describes."""

    type: Literal["text", "json_schema"]
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class TextOptions(Loose):
    """How the answer's text is to be formed."""

    format: TextFormat | None = None


class ResponseRequest(Loose):
    """`tools` names the vector stores; `model` may be any name. Other tools are refused."""

    model: str = Field(default="ragcore", max_length=200)
    input: str | list[InputMessage]
    tools: list[FileSearch] = Field(min_length=1, max_length=1)
    include: list[str] = Field(default=[], max_length=10)
    text: TextOptions | None = None
    stream: bool = False
    previous_response_id: None = Field(
        default=None, description="Nothing is stored: send the conversation in `input`."
    )


class FileCitation(BaseModel):
    """`index` is the offset in the text after which the citation stands."""

    type: Literal["file_citation"] = "file_citation"
    index: int
    file_id: str
    filename: str


class OutputText(BaseModel):
    """The answer's text with its citations."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[FileCitation]


class OutputMessage(BaseModel):
    """The answer as a message."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["completed", "in_progress"] = "completed"
    content: list[OutputText]


class FileSearchCall(BaseModel):
    """The search that the answer was made from; `results` where `include` asks for them."""

    id: str
    type: Literal["file_search_call"] = "file_search_call"
    status: Literal["completed"] = "completed"
    queries: list[str]
    results: list[FoundPart] | None = None


class ResponseObject(BaseModel):
    """`ragcore` is the answer as the native route gives it, with its quotes."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    model: str
    status: Literal["completed", "in_progress"]
    output: list[FileSearchCall | OutputMessage]
    parallel_tool_calls: bool = False
    tool_choice: str = "auto"
    tools: list[dict[str, Any]]
    ragcore: AnswerResponse | None = None


@router.post(
    "/responses",
    response_model=ResponseObject,
    responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}},
)
async def create_response(request: Request, principal: Reader, body: ResponseRequest) -> Response:
    """Answer the last user message from vector stores, with checked citations, or abstain.

    With `stream` the answer comes in pieces after it was checked. Nothing is stored.
    """
    question, history = _conversation(body.input)
    tool = body.tools[0]
    library = library_of(request)

    def names() -> list[str]:
        return [find_store(library, one).name for one in tool.vector_store_ids]

    collections = await limiter_of(request).quick(names)
    request.state.collection = collections[0]
    form = body.text.format if body.text else None
    schema = form.schema_ if form and form.type == "json_schema" else None
    if schema is not None:
        await limiter_of(request).quick(library.check_schema, schema)
    made = _Response(body, question, history, collections, schema)
    if body.stream:
        return EventStream(_events(request, principal, library, made))
    answer = await made.answer(request, principal, library)
    return JSONResponse(made.whole(answer).model_dump(mode="json"))


class _Response:
    """One request for a response, understood."""

    def __init__(
        self,
        body: ResponseRequest,
        question: str,
        history: Sequence[Message],
        collections: Sequence[str],
        schema: dict[str, Any] | None,
    ) -> None:
        self.body, self.question, self.history = body, question, history
        self.collections, self.schema = collections, schema
        self.id, self.created = f"resp_{uuid.uuid4().hex}", int(time.time())
        self.message_id = f"msg_{uuid.uuid4().hex}"

    async def answer(self, request: Request, principal: Principal, library: Library) -> Answer:
        tool = self.body.tools[0]
        where = tool.filters.where() if tool.filters else {}
        answer = await limiter_of(request).answer(
            request,
            principal,
            lambda cancel: library.ask(
                self.question, collection=self.collections, k=tool.max_num_results,
                where=where, history=self.history, schema=self.schema, cancel=cancel,
            ),
        )  # fmt: skip
        metrics_of(request).stages("ask", answer.timings)
        metrics_of(request).answered(abstained=answer.abstained)
        return answer

    def whole(self, answer: Answer) -> ResponseObject:
        results = found_parts(answer.hits) if _RESULTS in self.body.include else None
        call = FileSearchCall(
            id=f"fs_{self.message_id[4:]}", queries=[self.question], results=results
        )
        return self._object("completed", [call, self.message(answer)], AnswerResponse.of(answer))

    def begun(self) -> ResponseObject:
        return self._object("in_progress", [], None)

    def message(self, answer: Answer) -> OutputMessage:
        annotations = [
            FileCitation(
                index=_place(answer.text, citation.n),
                file_id=f"doc-{citation.document_id}",
                filename=citation.document,
            )
            for citation in answer.citations
        ]
        text = OutputText(text=answer.text, annotations=annotations)
        return OutputMessage(id=self.message_id, content=[text])

    def _object(
        self, status: Literal["completed", "in_progress"], output: list[Any], answer: Any
    ) -> ResponseObject:
        return ResponseObject(
            id=self.id,
            created_at=self.created,
            model=self.body.model,
            status=status,
            output=output,
            tools=[tool.model_dump(mode="json") for tool in self.body.tools],
            ragcore=answer,
        )


async def _events(
    request: Request, principal: Principal, library: Library, made: _Response
) -> AsyncIterator[str]:
    """The events of a streamed response; the text comes once it is checked."""
    begun = made.begun().model_dump(mode="json")
    number = 0

    def one(kind: str, **fields: Any) -> str:
        nonlocal number
        number += 1
        return event(kind, {"type": kind, "sequence_number": number, **fields})

    yield one("response.created", response=begun)
    try:
        answer = await made.answer(request, principal, library)
    except Exception as error:
        problem = problem_of(error)
        yield one("error", code=None, message=problem.detail, param=None)
        return
    whole = made.whole(answer).model_dump(mode="json")
    call, message = whole["output"]
    yield one("response.output_item.added", output_index=0, item=call)
    yield one("response.output_item.done", output_index=0, item=call)
    empty = {**message, "status": "in_progress", "content": []}
    yield one("response.output_item.added", output_index=1, item=empty)
    where = {"item_id": made.message_id, "output_index": 1, "content_index": 0}
    part = message["content"][0]
    blank = {**part, "text": "", "annotations": []}
    yield one("response.content_part.added", part=blank, **where)
    for piece in _pieces(answer.text):
        yield one("response.output_text.delta", delta=piece, logprobs=[], **where)
    for place, annotation in enumerate(part["annotations"]):
        yield one(
            "response.output_text.annotation.added", annotation=annotation,
            annotation_index=place, **where,
        )  # fmt: skip
    yield one("response.output_text.done", text=answer.text, logprobs=[], **where)
    yield one("response.content_part.done", part=part, **where)
    yield one("response.output_item.done", output_index=1, item=message)
    yield one("response.completed", response=whole)


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _place(text: str, number: int) -> int:
    """Where a citation's mark [n] stands in an answer; its end where it has none."""
    found = text.find(f"[{number}]")
    return len(text) if found < 0 else found


def _conversation(given: str | Sequence[InputMessage]) -> tuple[str, list[Message]]:
    """The last user message, and the turns before it. Raises Problem 400 if there is none."""
    if isinstance(given, str):
        if not 1 <= len(given.strip()) <= MAX_TEXT:
            raise Problem(400, f"a question has 1 to {MAX_TEXT} characters")
        return given, []
    turns = [
        Message("user" if one.role == "user" else "assistant", one.text)
        for one in given
        if one.role in ("user", "assistant") and one.text.strip()
    ]
    if not turns or turns[-1].role != "user":
        raise Problem(400, "the last message must be the user's question")
    return turns[-1].content, turns[:-1][-40:]
