"""Hits and answers have the same keys and values wherever they are given out."""

from __future__ import annotations

from ragcore.api.answer_schemas import AnswerResponse, CitationResponse
from ragcore.api.schemas import HitResponse
from ragcore.mcp.server import Answered, Cited, FieldFound, FoundItem
from ragcore.serialize import answer_json, citation_json, field_json, hit_json
from ragcore.types import Answer, Citation, FieldEvidence, Hit, Why

HIT = Hit(
    7, "image", 0.87654321, 3, "Rules", "/docs/rules.pdf", "the text", page=4, page_end=5,
    span=(10, 20), heading="A > B", media_type="application/pdf", collection="papers",
    why=Why(dense=0.5, matched=("text",)), caption_by="a model",
)  # fmt: skip
CITATION = Citation(1, "Rules", 3, 4, "the text", 9, span=(10, 18), image_id=None, page_end=4)
FIELD = FieldEvidence("items[0].amount", 12.5, CITATION, 0.9)
ANSWER = Answer(
    "so it is [1]", (CITATION,), False, (HIT,), "the prompt", {"total": 1.5}, nearest=(HIT,),
    fields=(FIELD, FieldEvidence("due", None, None, 0.0)),
)  # fmt: skip


def test_every_face_gives_the_same() -> None:
    assert HitResponse.of(HIT).model_dump() == hit_json(HIT)
    assert CitationResponse(**citation_json(CITATION)).model_dump() == citation_json(CITATION)
    http = AnswerResponse.of(ANSWER).model_dump()
    assert {key: http[key] for key in answer_json(ANSWER)} == answer_json(ANSWER)
    assert AnswerResponse.of(ANSWER, prompt=True).prompt == "the prompt"
    assert FieldFound(**field_json(FIELD)).model_dump()["value"] == 12.5
    for model, whole in ((FoundItem, hit_json(HIT)), (Cited, citation_json(CITATION))):
        assert set(model.model_fields) <= set(whole)
        assert model(**whole).model_dump() == {key: whole[key] for key in model.model_fields}
    assert set(Answered.model_fields) - set(answer_json(ANSWER)) == {"collection"}


def test_scores_are_rounded_and_absent_scores_are_null() -> None:
    assert hit_json(HIT)["score"] == 0.8765
    assert hit_json(HIT)["why"] == {
        "dense": 0.5, "lexical": None, "rerank": None, "matched": ["text"],
    }  # fmt: skip
