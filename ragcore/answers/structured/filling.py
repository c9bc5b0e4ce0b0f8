"""A JSON Schema's fields filled from the documents: each with its own evidence, or null."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ragcore.answers.composing import QuestionScope
from ragcore.answers.reading import cached, closest
from ragcore.answers.structured.evidence import Evidence, Missing, object_of, row_of
from ragcore.answers.structured.fields import Group, Leaf, Node, Rows
from ragcore.answers.structured.finding import (
    NAMES,
    FieldCandidate,
    Styles,
    by_label,
    by_prose,
    codes,
    listed,
    typed,
)
from ragcore.answers.structured.heads import any_choice, first_date, letterhead, opening
from ragcore.answers.structured.layout import Cell, Layout, read_layout
from ragcore.answers.structured.names import FieldName, same, tokens
from ragcore.answers.structured.people import people_in, people_of
from ragcore.answers.structured.reading import question_for, said
from ragcore.answers.structured.rows import Row, rows_of
from ragcore.errors import Cancelled, RagcoreError
from ragcore.llm import verify_json
from ragcore.types import Answer, Citation, FieldEvidence, Hit, SearchQuery, SearchResult

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode
    from ragcore.types import CancelToken

PASSAGES = 40  # of the document that the answer is taken from
_SEARCHES = 12  # fields that are searched for, beside the question
_READ = 12  # fields that are read by the language model
_OTHER = 0.85  # weight of evidence from another document than the best one
_ALIKE = 0.8  # share of the best document's score from which another is looked at
_CLAUSES = 400  # of a document, that are compared as embeddings

Read = Callable[[str, Sequence[Hit], Literal["fact", "yes_no"]], Answer]
Search = Callable[[SearchQuery], SearchResult]


@dataclass(slots=True)
class Filled:
    """An answer in JSON.

    `missing` is the path of a required field without evidence, or says which rule of the schema the
    values break; the answer is then an abstention.
    """

    value: Any = None
    fields: tuple[FieldEvidence, ...] = ()
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    nearest: tuple[Hit, ...] = ()
    missing: str = ""

    @property
    def text(self) -> str:
        return json.dumps(self.value, ensure_ascii=False)

    def checked(self, schema: Mapping[str, Any]) -> Filled:
        """The same, or an abstention where the values break a rule of the schema."""
        try:
            verify_json(self.text, schema)
        except RagcoreError as error:
            return Filled(nearest=self.nearest, missing=f"{error}")
        return self


@dataclass(slots=True)
class _Document:
    """The passages of one document, as numbers of `Filler.hits`, and what stands in them."""

    numbers: list[int]
    weight: float
    layout: Layout = field(default_factory=Layout)
    styles: Styles = field(default_factory=lambda: Styles(""))


class Filler:
    """One question with its fields.

    `read` is the existing way of a question to a checked answer, asked where labels and
    sentences do not state. Fields whose confidence is below `threshold` stay empty.
    """

    def __init__(
        self,
        question: str,
        fields: Node,
        schema: Mapping[str, Any],
        *,
        search: Search,
        read: Read,
        scope: QuestionScope,
        k: int,
        encode: Encode | None,
        threshold: float,
        yes_no: bool = False,
        cancel: CancelToken | None = None,
    ) -> None:
        self.question = question
        self.fields = fields
        self._search, self._read = search, read
        self._scope, self._k = scope, k
        self._encode = cached(encode) if encode is not None else None
        self._threshold = threshold
        self._yes_no = yes_no
        self._cancel = cancel
        about = f"{question} {schema.get('title', '')} {schema.get('description', '')}"
        self._context = frozenset(tokens(about))
        self._targets = list(_targets(fields))
        self._names = {t.path: FieldName(t, self._context) for t in self._targets}
        for t in self._targets:
            if isinstance(t, Rows):
                inner = t.item.fields.values() if isinstance(t.item, Group) else (t.item,)
                for leaf in inner:
                    if isinstance(leaf, Leaf):
                        self._names[leaf.path] = FieldName(replace(leaf, parents=()), ())
        self._disambiguate()
        self.hits: list[Hit] = []
        self.nearest: tuple[Hit, ...] = ()
        self._asked: tuple[Hit, ...] = ()  # what the question itself found
        self._found: dict[str, FieldCandidate] = {}
        self._lists: dict[str, list[Row] | list[FieldCandidate]] = {}

    def _disambiguate(self) -> None:
        """What names a field of the same type speaks against this one."""
        for one in self._targets:
            name = self._names[one.path]
            own = {*name.weights, *name.described}
            name.rivals = frozenset(
                t
                for other in self._targets
                if other is not one
                and isinstance(one, Leaf)
                and isinstance(other, Leaf)
                and one.kind == other.kind
                for t in self._names[other.path].heavy()
                if not any(same(t, mine) for mine in own)
            )

    def _check(self) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled("the answer was cancelled")

    def fill(self) -> Filled:
        documents = self._documents()
        singles = [t for t in self._targets if isinstance(t, Leaf)]
        if self._yes_no and len(self._targets) == 1 and [s.kind for s in singles] == ["boolean"]:
            self._ask_itself(singles[0])  # what the field is about, only the question says
        else:
            self._choose(singles, documents)
            for leaf in singles:
                self._check()
                if leaf.path not in self._found and documents:
                    self._read_one(leaf, documents)
        for target in self._targets:
            if isinstance(target, Rows) and documents:
                self._lists[target.path] = self._list(target, documents[0])
        return self._assembled()

    # --- passages ----------------------------------------------------------------------

    def _documents(self) -> list[_Document]:
        """The document that the answer is taken from, whole, and others as near to it."""
        result = self._search(self._query(self.question))
        self._asked = tuple(hit for hit in result.hits if hit.kind == "passage")
        self.nearest = (*result.hits, *result.below)[:3]
        weights: dict[int, float] = {}
        seen: dict[int, Hit] = {}
        for n, phrase in enumerate(["", *map(_phrase, self._targets[:_SEARCHES])]):
            self._check()
            if phrase:
                result = self._search(self._query(f"{self.question} {phrase}"))
            best: dict[int, float] = {}
            for hit in result.hits:
                if hit.kind == "passage" and hit.text.strip():
                    seen.setdefault(hit.id, hit)
                    best[hit.document_id] = max(best.get(hit.document_id, 0.0), hit.score)
            for document, score in best.items():
                share = score if not n else score / max(1, len(self._targets[:_SEARCHES]))
                weights[document] = weights.get(document, 0.0) + share
        order = sorted(weights, key=lambda document: -weights[document])
        if not order:
            return []
        for hit in self._whole(order[0]):
            seen.setdefault(hit.id, hit)
        near = [one for one in order if weights[one] >= _ALIKE * weights[order[0]]]
        found = []
        for document in near[:4]:
            of = [hit for hit in seen.values() if hit.document_id == document]
            of.sort(key=lambda hit: (hit.span or (0, 0), hit.id))
            numbers = list(range(len(self.hits), len(self.hits) + len(of)))
            self.hits += of
            one = _Document(numbers, 1.0 if document == order[0] else _OTHER)
            one.layout = read_layout(self.hits, numbers)
            one.styles = Styles(one.layout.text)
            found.append(one)
        return found

    def _query(self, text: str) -> SearchQuery:
        """Documents that the asker has named are looked into, however far from the question."""
        query = self._scope.query(text, max(self._k, 4))
        return replace(query, cutoff=0.0) if "document" in self._scope.where else query

    def _whole(self, document: int) -> list[Hit]:
        query = self._scope.query(self.question, PASSAGES, document=document)
        result = self._search(replace(query, cutoff=0.0))
        return [
            hit
            for hit in (*result.hits, *result.below)
            if hit.kind == "passage" and hit.document_id == document
        ]

    # --- single values -----------------------------------------------------------------

    def _choose(self, singles: Sequence[Leaf], documents: Sequence[_Document]) -> None:
        """The best value for each field; a value that stands once is that of one field."""
        offers: list[tuple[float, int, Leaf, FieldCandidate]] = []
        for document in documents:
            near = self._nearness(singles, document)
            for n, leaf in enumerate(singles):
                self._check()
                for one in self._candidates(leaf, document, near[n]):
                    offers.append((document.weight * one.score, n, leaf, one))
        offers.sort(key=lambda offer: (-offer[0], offer[1], offer[3].cell.hit, offer[3].cell.start))
        used: dict[tuple[int, int, int], str] = {}
        for score, _, leaf, one in offers:
            if leaf.path in self._found or score < max(self._threshold, NAMES):
                continue
            place = (one.cell.hit, one.cell.start, one.cell.end)
            side = self._names[leaf.path].side or leaf.path
            exclusive = leaf.kind not in ("boolean", "choice", "email")
            taken = used.get(place)
            if exclusive and taken is not None and {side, taken} != {"min", "max"}:
                continue
            if exclusive:
                used[place] = side
            self._found[leaf.path] = replace(one, score=min(1.0, score))

    def _candidates(
        self, leaf: Leaf, document: _Document, near: Sequence[float]
    ) -> Iterator[FieldCandidate]:
        name, layout, styles = self._names[leaf.path], document.layout, document.styles
        if not name.known:
            return
        yield from by_label(leaf, name, layout, styles)
        yield from by_prose(leaf, name, layout, styles, near)
        if leaf.kind == "string":
            yield from people_in(leaf, name, layout)
            yield from codes(leaf, name, layout)
            yield from letterhead(leaf, name, layout)
            yield from opening(leaf, name, layout)
        if leaf.kind == "date":
            yield from first_date(leaf, name, layout, styles)
        if leaf.kind == "choice":
            yield from any_choice(leaf, layout)

    def _nearness(self, singles: Sequence[Leaf], document: _Document) -> list[list[float]]:
        """Cosines of each field with each clause."""
        clauses = document.layout.clauses
        if self._encode is None or not clauses or not singles or len(clauses) > _CLAUSES:
            return [[0.0] * len(clauses) for _ in singles]
        fields = self._encode([_phrase(leaf) for leaf in singles])
        said = self._encode([clause.cell.text or "-" for clause in clauses])
        return [[float(value) for value in row] for row in fields @ said.T]

    def _ask_itself(self, leaf: Leaf) -> None:
        """A question of yes or no with one field of that type is that field's question."""
        if self._asked:
            self._take(leaf, self._read(self.question, self._asked, "yes_no"))

    def _read_one(self, leaf: Leaf, documents: Sequence[_Document]) -> None:
        """By the language model, from the passages nearest to the field."""
        if leaf.kind not in ("string", "boolean") or self._reads >= _READ:
            return
        asked = question_for(leaf, self.question, only=len(self._targets) == 1)
        if asked is None:
            return
        self._reads += 1
        passages = [self.hits[n] for n in documents[0].numbers]
        chosen = closest(asked, passages, 2, encode=self._encode)
        kind: Literal["fact", "yes_no"] = "yes_no" if leaf.kind == "boolean" else "fact"
        self._take(leaf, self._read(asked, chosen, kind))

    _reads = 0

    def _take(self, leaf: Leaf, answer: Answer) -> None:
        """The value that an answer's quote has."""
        if answer.abstained or not answer.citations:
            return
        confidence = answer.timings.get("confidence", self._threshold)
        citation = answer.citations[0]
        n = self._number(answer.hits[citation.n - 1])
        text = self.hits[n].text
        start = text.find(citation.quote)
        if start < 0:
            return
        quote = Cell(n, start, start + len(citation.quote), citation.quote)
        if leaf.kind == "boolean":
            word = answer.text.lstrip(r'\W "“').lower()
            if word.startswith(("yes", "no")):
                value = word.startswith("yes")
                self._found[leaf.path] = FieldCandidate(value, quote, quote, confidence)
            return
        cell = said(answer.text, quote, f"{leaf.name} {leaf.description} {self.question}")
        if cell is None:
            return
        values = typed(leaf, self._names[leaf.path], cell, Styles(text))
        if values and not self._names_a_field(values[0][1].text):
            self._found[leaf.path] = FieldCandidate(values[0][0], values[0][1], quote, confidence)

    def _names_a_field(self, text: str) -> bool:
        """Whether the words are the name of what is looked for, not its value."""
        return any(
            all(any(same(t, own) for own in name.weights) for t in tokens(text))
            for name in self._names.values()
        )

    def _number(self, hit: Hit) -> int:
        for n, known in enumerate(self.hits):
            if known.id == hit.id and known.kind == hit.kind:
                return n
        self.hits.append(hit)
        return len(self.hits) - 1

    # --- lists -------------------------------------------------------------------------

    def _list(self, rows: Rows, document: _Document) -> list[Row] | list[FieldCandidate]:
        name = self._names[rows.path]
        layout, styles = document.layout, document.styles
        if isinstance(rows.item, Group):
            inner = {key: self._names[leaf.path] for key, leaf in rows.item.fields.items()}
            return rows_of(rows, inner, name, layout, styles)
        assert isinstance(rows.item, Leaf)
        found = listed(rows, name, layout)
        if found is None:
            return list(people_of(rows, name, layout))
        cells, quote, score = found
        values = []
        for cell in cells:
            for value, place in typed(rows.item, self._names[rows.item.path], cell, styles)[:1]:
                if rows.item.kind == "string":
                    value, place = cell.text, cell
                whole = quote if quote.text else place
                values.append(FieldCandidate(value, place, whole, score))
        return values

    # --- the answer --------------------------------------------------------------------

    def _assembled(self) -> Filled:
        filled = Filled(nearest=self.nearest)
        evidence = Evidence(self.hits)
        try:
            filled.value = self._value(self.fields, evidence)
        except Missing as missing:
            filled.missing = str(missing)
            return filled
        filled.fields = tuple(evidence.fields)
        filled.citations = tuple(evidence.citations)
        used = {citation.passage_id for citation in filled.citations}
        filled.hits = tuple(hit for hit in self.hits if hit.id in used)
        return filled

    def _value(self, node: Node, evidence: Evidence) -> Any:
        """Raises Missing for a value that is needed and not there."""
        if isinstance(node, Leaf):
            return evidence.add(node, node.path, self._found.get(node.path))
        if isinstance(node, Group):
            return object_of(node, lambda inner: self._value(inner, evidence))
        found: Sequence[Row | FieldCandidate] = self._lists.get(node.path, [])
        if len(found) < node.least:
            raise Missing(node.path)
        if not found and node.nullable:
            return None
        values = []
        for n, one in enumerate(found):
            path = f"{node.path}[{n}]"
            if isinstance(one, FieldCandidate):
                assert isinstance(node.item, Leaf)
                values.append(evidence.add(node.item, path, one))
                continue
            assert isinstance(node.item, Group)
            values.append(row_of(node.item, path, one, evidence))
        return values


def _targets(node: Node) -> Iterator[Leaf | Rows]:
    if isinstance(node, Group):
        for inner in node.fields.values():
            yield from _targets(inner)
    else:
        yield node


def _phrase(field: Leaf | Rows) -> str:
    """A field in words, to search for."""
    return field.description or " ".join((*field.parents, field.name))
