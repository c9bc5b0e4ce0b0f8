"""What an answer is composed from: the documents in its scope, by search and by catalog."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ragcore.answers.lists import is_contents
from ragcore.answers.sentences import words
from ragcore.catalog import (
    Catalog,
    Document,
    DocumentText,
    document_text,
    documents_containing,
    passage_vectors,
)
from ragcore.errors import Cancelled
from ragcore.types import CancelToken, Hit, SearchQuery, SearchResult

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode
    from ragcore.types import FloatArray

Documents = Callable[[Sequence[str], Mapping[str, str]], Sequence[Document]]
# Words of a title that do not distinguish documents.
GENERIC = frozenset(
    words(
        "document documents file files pdf report reports paper papers manual manuals guide "
        "guides book "
        "books article text handbook version edition user users reference introduction page pages "
        "documentation collection library folder table sheet list"
    )
)


_TEXTS = 128  # documents whose texts are in memory


@dataclass(frozen=True, slots=True)
class QuestionScope:
    """Which documents a question is about: those of these collections that meet `where`."""

    collections: tuple[str, ...] = ("default",)
    where: Mapping[str, str] = field(default_factory=dict)

    def query(self, text: str, k: int, *, kind: str = "passages", document: int = 0) -> SearchQuery:
        """A search within the scope; `document` limits it to one."""
        where = {**self.where, **({"document": str(document)} if document else {})}
        return SearchQuery(
            text=text,
            kind=kind,  # type: ignore[arg-type]
            k=k,
            where=where,
            collection=self.collections[0],
            collections=self.collections if len(self.collections) > 1 else (),
        )


class ScopedDocuments:
    """The documents of one question's scope. The last texts are kept."""

    def __init__(
        self,
        catalog: Catalog,
        search: Callable[[SearchQuery], SearchResult],
        documents: Documents,
        encode: Encode,
        scope: QuestionScope,
        cancel: CancelToken | None = None,
    ) -> None:
        self._catalog = catalog
        self._search = search
        self._documents = documents
        self._encode = encode
        self._cancel = cancel
        self._texts: dict[int, DocumentText] = {}
        self._rows: Sequence[Document] | None = None
        self.scope = scope

    def check(self) -> None:
        """Raises Cancelled if the question was given up."""
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled("the answer was cancelled")

    def search(self, text: str, k: int, *, document: int = 0) -> list[Hit]:
        """Passages above the cut-off, tables of contents left out."""
        self.check()
        found = self._search(self.scope.query(text, k, document=document)).hits
        return [hit for hit in found if hit.kind == "passage" and not is_contents(hit.text)]

    def nearest(self, text: str, k: int = 3) -> tuple[Hit, ...]:
        """The passages that come nearest, above the cut-off or not."""
        result = self._search(self.scope.query(text, k))
        return (*result.hits, *result.below)[:k]

    def rows(self) -> Sequence[Document]:
        """The documents in the scope, by title."""
        if self._rows is None:
            self.check()
            self._rows = self._documents(self.scope.collections, self.scope.where)
        return self._rows

    def text(self, document_id: int) -> DocumentText:
        found = self._texts.pop(document_id, None)
        if found is None:
            self.check()
            with self._catalog.search() as session:
                found = document_text(session, document_id)
        self._texts[document_id] = found  # the last one used
        if len(self._texts) > _TEXTS:
            del self._texts[next(iter(self._texts))]
        return found

    def containing(self, word: str) -> list[Document]:
        """The documents in the scope with a passage that has these letters, whatever the case."""
        rows = self.rows()
        self.check()
        with self._catalog.search() as session:
            ids = documents_containing(session, {row.collection_id for row in rows}, word)
        return [row for row in rows if row.id in ids]

    def vectors(self, document: DocumentText, ids: Sequence[int]) -> dict[int, FloatArray]:
        """Stored vectors of a document's passages in its collection's active text space."""
        row = next((row for row in self.rows() if row.id == document.id), None)
        space = self._catalog.active_space(row.collection_id, "text") if row is not None else None
        if space is None:
            return {}
        with self._catalog.search() as session:
            return passage_vectors(session, space.id, ids)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Normalized vectors [n, dimension] of texts."""
        self.check()
        return self._encode(texts)

    def cosines(self, text: str, others: Sequence[str]) -> list[float]:
        """The cosine of `text` and each of `others`."""
        if not others:
            return []
        vectors = self.encode([text, *others])
        return [float(value) for value in vectors[1:] @ vectors[0]]

    def named(self, text: str) -> tuple[list[Document], str]:
        """The documents whose titles or file names `text` names, and what else it says.

        A document is named by words of its title that few other titles have, or by its initials.
        """
        rows = self.rows()
        titles = {row.id: title_words(row) for row in rows}
        asked = set(_words(text)) - GENERIC
        scores: dict[int, float] = {}
        for row in rows:
            shared = asked & titles[row.id]
            scores[row.id] = sum(
                math.log((len(rows) + 1) / sum(word in other for other in titles.values()))
                for word in sorted(shared)
            )
        best = max(scores.values(), default=0.0)
        if best <= 0:
            return [], text
        found = [row for row in rows if scores[row.id] >= 0.99 * best]
        used = set[str]().union(*(asked & titles[row.id] for row in found))
        # A topic that happens to share a word with a title does not name it.
        capital = any(
            set(_words(token)) & used
            for token in text.split()
            if token[:1].isupper() or any(c.isdigit() for c in token)
        )
        generic = set(_words(text)) & GENERIC
        if len(used) < 2 and not capital and not generic and asked - used:
            return [], text
        rest = [t for t in text.split() if not set(_words(t)) & (used | GENERIC)]
        return found, tidy(" ".join(rest))


_EDGE = re.compile(
    r"^(?:(?:of|on|in|about|from|for|the|a|an|and|regarding|concerning|that|by|to|with|this|these|what|says?|say)\b\s*)+"
    r"|(?:\s*\b(?:of|on|in|about|from|for|the|a|an|and|by|to|with|this|these|says?|say))+$",
    re.IGNORECASE,
)


def tidy(text: str) -> str:
    """Without prepositions and articles at its ends."""
    return _EDGE.sub("", text.strip(" ,;:.?!'’")).strip(" ,;:.?!'’")


def _words(text: str) -> list[str]:
    """Stems, a British spelling like an American one."""
    plain = re.sub(r"(?<=\w)[-_./](?=\w)", " ", text)
    return words(re.sub(r"licence", "license", plain, flags=re.IGNORECASE))


def title_words(row: Document) -> set[str]:
    """Stems of a document's title and file name, and its title's initials."""
    stem = row.name.rsplit(".", 1)[0]
    found = set(_words(re.sub(r"[-_./]", " ", f"{row.title} {stem}")))
    initials = "".join(w[0] for w in re.findall(r"[A-Za-z]\w+", row.title) if w[0].isupper())
    if len(initials) >= 3:
        found.add(initials.lower())
    return (found | set(_words(row.title))) - GENERIC
