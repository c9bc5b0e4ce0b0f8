"""What questions and their answers look like: models behind the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ragcore.api.schemas import MAX_TEXT, HitResponse, StrictModel, StyleFields, Where
from ragcore.serialize import answer_json
from ragcore.types import Answer


class TurnRequest(StrictModel):
    """A message of the conversation so far."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=MAX_TEXT)


class AskRequest(StrictModel):
    """A question, and what it is asked of."""

    question: str = Field(min_length=1, max_length=4000, examples=["Who approves a journey?"])
    k: int = Field(default=4, ge=1, le=20, description="Passages to read.")
    collections: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default=[],
        max_length=50,
        description="Asked together with the one of the path; * for all that you may read.",
    )
    documents: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        default=[],
        max_length=100,
        description="Only these documents: numbers, titles or file names.",
    )
    where: Where = Field(default={})
    length: int | None = Field(default=None, ge=20, le=2000, description="Words of a summary.")
    history: list[TurnRequest] = Field(default=[], max_length=40, description="Earlier turns.")
    adapter: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="A LoRA adapter by name; none: the bare model.",
    )
    style: StyleFields = Field(
        default=StyleFields(), description="Its fields replace those of the collection's style."
    )


class AskForm(AskRequest):
    """A question whose answer may be JSON by a schema."""

    form: dict[str, Any] | None = Field(
        default=None,
        description="A JSON Schema: its fields are answered one by one, the answer is JSON.",
    )
    show_prompt: bool = Field(
        default=False, description="Include the prompt that the model was given."
    )


class CitationResponse(BaseModel):
    """`quote` stands word for word in the passage, or in the words of the image `image_id`.

    It begins on `page` and ends on `page_end`; `span` counts in the document's text.
    """

    n: int
    document: str
    document_id: int
    page: int | None
    page_end: int | None
    quote: str
    passage_id: int
    span: tuple[int, int] | None
    image_id: int | None = None


class FieldResponse(BaseModel):
    """A field of an answer in JSON with its own evidence; null where not found in the documents."""

    path: str = Field(examples=["items[0].amount"])
    value: str | bool | int | float | None
    confidence: float
    citation: CitationResponse | None


class MeaningResponse(BaseModel):
    """One of several things that the question may be about; ask `question` of `document_id`."""

    text: str
    document_id: int
    question: str
    collection: str


class StepResponse(BaseModel):
    """A question asked on the way to the answer, and its own answer."""

    question: str
    text: str


class AnswerResponse(BaseModel):
    """An answer with its citations, or an abstention with the nearest passages."""

    answer: str
    abstained: bool = Field(
        description="Not found in the documents, or not with enough confidence."
    )
    citations: list[CitationResponse]
    kind: str = Field(
        description="The kind of question: fact, definition, explanation, yes_no, where, list, "
        "how_to, summary, comparison, collection, table."
    )
    composed: bool = Field(
        description="Put together from quotes, or computed; not written by a language model."
    )
    hits: list[HitResponse]
    nearest: list[HitResponse] = Field(
        description="Of an abstention: the passages that come nearest to the question."
    )
    question: str = Field(description="As asked of the index: follow-ups stand alone.")
    style: str = Field(description="Version of the style that it was asked for in; empty: plain.")
    fields: list[FieldResponse] = Field(
        description="Of an answer by `form`: each field's evidence."
    )
    candidates: list[MeaningResponse] = Field(
        description="The question fits each of these: the answer, an abstention, asks which one is "
        "meant."
    )
    steps: list[StepResponse] = Field(
        description="Of a question that was answered in several steps: each with its own answer."
    )
    prompt: str | None = None
    seconds: dict[str, float]

    @classmethod
    def of(cls, answer: Answer, *, prompt: bool = False) -> AnswerResponse:
        return cls.model_validate(
            {
                **answer_json(answer),
                "hits": [HitResponse.of(hit) for hit in answer.hits],
                "nearest": [HitResponse.of(hit) for hit in answer.nearest],
                "prompt": answer.prompt if prompt else None,
            }
        )
