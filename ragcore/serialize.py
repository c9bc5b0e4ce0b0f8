"""Results as JSON values: what the command line prints, and the HTTP API and MCP answer with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ragcore.types import Answer, Citation, FieldEvidence, Hit


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit as the JSON of `search --json`, the HTTP API and MCP."""
    why = {"dense": hit.why.dense, "lexical": hit.why.lexical, "rerank": hit.why.rerank}
    return {
        "id": hit.id,
        "kind": hit.kind,
        "score": round(float(hit.score), 4),
        "document_id": hit.document_id,
        "document": hit.document,
        "collection": hit.collection,
        "page": hit.page,
        "page_end": hit.page_end,
        "second": hit.second,
        "span": hit.span,
        "heading": hit.heading,
        "text": hit.text,
        "caption_by": hit.caption_by or None,
        "media_type": hit.media_type,
        "path": hit.path,
        "why": {
            **{name: None if value is None else float(value) for name, value in why.items()},
            "matched": list(hit.why.matched),
        },
    }


def citation_json(citation: Citation) -> dict[str, Any]:
    """A citation as the JSON of `ask --json`, the HTTP API and MCP."""
    return {
        "n": citation.n,
        "document": citation.document,
        "document_id": citation.document_id,
        "page": citation.page,
        "page_end": citation.page_end,
        "quote": citation.quote,
        "passage_id": citation.passage_id,
        "span": citation.span,
        "image_id": citation.image_id,
    }


def field_json(field: FieldEvidence) -> dict[str, Any]:
    """A field of an answer in JSON, with its evidence."""
    return {
        "path": field.path,
        "value": field.value,
        "confidence": float(field.confidence),
        "citation": None if field.citation is None else citation_json(field.citation),
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """Without the prompt and the passages that were read."""
    return {
        "answer": answer.text,
        "abstained": answer.abstained,
        "citations": [citation_json(citation) for citation in answer.citations],
        "kind": answer.kind,
        "composed": answer.composed,
        "question": answer.question,
        "style": answer.style,
        "fields": [field_json(field) for field in answer.fields],
        "candidates": [asdict(candidate) for candidate in answer.candidates],
        "steps": [asdict(step) for step in answer.steps],
        "nearest": [hit_json(hit) for hit in answer.nearest],
        "seconds": {name: float(value) for name, value in answer.timings.items()},
    }
