"""Values with their citations, put together as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ragcore.answers.structured.fields import Group, Leaf, Node
from ragcore.answers.structured.finding import FieldCandidate
from ragcore.answers.structured.layout import Cell
from ragcore.answers.structured.rows import Row
from ragcore.types import Citation, FieldEvidence, Hit


class Missing(Exception):
    """A required field that has no value and may not be null."""


def object_of(group: Group, value: Callable[[Node], Any]) -> dict[str, Any]:
    """An object with `value` of each of a group's fields; Missing where a required one has none."""
    found = {}
    for key, node in group.fields.items():
        try:
            one = value(node)
        except Missing:
            if key in group.required:
                raise
            continue
        found[key] = one
    return found


def row_of(group: Group, path: str, row: Row, evidence: Evidence) -> dict[str, Any]:
    """A row as an object, the evidence of each field added under `path`."""
    keys = {node.path: key for key, node in group.fields.items()}

    def value(node: Node) -> Any:
        assert isinstance(node, Leaf)
        key = keys[node.path]
        return evidence.add(node, f"{path}.{key}", row.get(key))

    return object_of(group, value)


class Evidence:
    """The values with their citations, one for each quote."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = hits
        self.fields: list[FieldEvidence] = []
        self.citations: list[Citation] = []
        self._known: dict[tuple[int, int, int], Citation] = {}

    def add(self, leaf: Leaf, path: str, found: FieldCandidate | None) -> Any:
        """The value; None where there is none. Raises Missing where that is not allowed."""
        if found is None:
            if not leaf.nullable:
                raise Missing(path)
            self.fields.append(FieldEvidence(path, None, None, 0.0))
            return None
        citation = self._cite(found.quote)
        self.fields.append(FieldEvidence(path, found.value, citation, round(found.score, 4)))
        return found.value

    def _cite(self, quote: Cell) -> Citation:
        key = (quote.hit, quote.start, quote.end)
        if key not in self._known:
            hit = self._hits[quote.hit]
            start = hit.span[0] if hit.span else 0
            span = (start + quote.start, start + quote.end) if hit.span else None
            text = hit.text[quote.start : quote.end]
            before = hit.text[: quote.start].count("\f")
            page = None if hit.page is None else hit.page + before
            one = Citation(
                n=len(self.citations) + 1,
                document=hit.document,
                document_id=hit.document_id,
                page=page,
                quote=text,
                passage_id=hit.id,
                span=span,
                page_end=None if page is None else page + text.count("\f"),
            )
            self.citations.append(one)
            self._known[key] = one
        return self._known[key]
