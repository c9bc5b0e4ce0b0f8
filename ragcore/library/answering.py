"""Questions: which collections and documents they are asked of, and by which adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.catalog import Collection, Document
from ragcore.errors import UsageError
from ragcore.library.core import Core
from ragcore.types import Answer, AnswerStyle, CancelToken, Hit, Message, SearchResult

if TYPE_CHECKING:
    from ragcore.answers import AnswerEvent

ADAPTER, STYLE = "adapter", "style"  # keys of a collection's settings
PLAIN = AnswerStyle()
_NAMED = 5  # of several that fit, in the error's text


def ask(
    core: Core,
    question: str,
    *,
    collection: str | Sequence[str],
    documents: Sequence[str | int],
    k: int,
    where: Mapping[str, str] | None,
    history: Sequence[Message],
    schema: Mapping[str, Any] | None,
    adapter: str | None,
    threshold: float | None,
    length: int | None,
    style: AnswerStyle,
    cancel: CancelToken | None,
) -> Answer:
    """See `Library.ask`."""
    if schema is not None:
        check_schema(schema)  # before any model is loaded
    names, chosen = scope_of(core, collection, documents, where)
    return core.answerer.ask(
        question,
        collection=names,
        k=k,
        where=chosen,
        history=history,
        schema=schema,
        adapter=adapter or _common_adapter(core, names),
        threshold=threshold,
        length=length,
        style=style.over(_common_style(core, names)),
        cancel=cancel,
    )


def ask_plainly(
    core: Core, question: str, collection: str, cancel: CancelToken | None = None
) -> Answer:
    """A question asked of a collection as a person does."""
    return ask(
        core, question, collection=collection, documents=(), k=4, where=None, history=(),
        schema=None, adapter=None, threshold=None, length=None, style=PLAIN, cancel=cancel,
    )  # fmt: skip


def ask_stream(
    core: Core,
    question: str,
    *,
    collection: str | Sequence[str],
    documents: Sequence[str | int] = (),
    k: int = 4,
    where: Mapping[str, str] | None = None,
    history: Sequence[Message] = (),
    hits: Sequence[Hit] | None = None,
    adapter: str | None = None,
    length: int | None = None,
    style: AnswerStyle = PLAIN,
    cancel: CancelToken | None = None,
) -> Iterator[AnswerEvent]:
    """See `Library.ask_stream`."""
    answerer = core.answerer
    if hits is not None:
        found = SearchResult(tuple(hits))
        answerer = answerer.searching(lambda _query: found)
        k = max(1, len(found.hits))
    names, chosen = scope_of(core, collection, documents, where)
    return answerer.stream(
        question,
        collection=names,
        k=k,
        where=chosen,
        history=history,
        adapter=adapter or _common_adapter(core, names),
        length=length,
        style=style.over(_common_style(core, names)),
        cancel=cancel,
    )


def check_schema(schema: Mapping[str, Any]) -> None:
    """See `Library.check_schema`."""
    from ragcore.answers import check_form

    check_form(schema)


def scope_of(
    core: Core,
    collection: str | Sequence[str],
    documents: Sequence[str | int] = (),
    where: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The collections' names and the filters that a question with these words is asked of.

    Raises UsageError for a document that is in none of the collections, or whose name fits
    several.
    """
    names = (collection,) if isinstance(collection, str) else tuple(collection)
    if "*" in names:
        names = tuple(row.name for row in core.catalog.collections())
    chosen = dict(where or {})
    if documents:
        if "document" in chosen:
            raise UsageError("give documents by name or by the filter document, not both")
        ids = document_ids(core.engine.documents(names), documents)
        chosen["document"] = ",".join(map(str, ids))
    return names, chosen


def adapter_of(core: Core, collection: str) -> str | None:
    """The adapter that a collection's questions are answered with; None: the profile's."""
    try:
        chosen = core.catalog.collection(collection).settings.get(ADAPTER)
    except UsageError:  # whoever searches it says so
        return None
    return str(chosen) if chosen else None


def _common_adapter(core: Core, names: Sequence[str]) -> str | None:
    """The adapter of all these collections; the profile's where they differ."""
    found = {adapter_of(core, name) for name in names}
    return found.pop() if len(found) == 1 else None


def style_of(row: Collection) -> AnswerStyle:
    """How a collection's answers are worded."""
    return AnswerStyle(**(row.settings.get(STYLE) or {}))


def _common_style(core: Core, names: Sequence[str]) -> AnswerStyle:
    """The style of all these collections; the plain one where they differ."""
    found = {style_of(row) for row in core.catalog.collections() if row.name in names}
    return found.pop() if len(found) == 1 else PLAIN


def document_ids(rows: Sequence[Document], names: Sequence[str | int]) -> list[int]:
    """The number of each named document among `rows`, in the order of the names, each once.

    A name is a document's number, its title or file name (whatever the case), or a part of
    one that only one document has. Raises UsageError where none fits, or several.
    """
    found: dict[int, None] = {}
    for name in names:
        found.setdefault(_one(rows, str(name).strip()).id)
    return list(found)


def _one(rows: Sequence[Document], name: str) -> Document:
    wanted = name.lower()
    if not wanted:
        raise UsageError("a document's name is empty")
    exact = [row for row in rows if wanted in (str(row.id), row.title.lower(), row.name.lower())]
    fitting = exact or [row for row in rows if wanted in f"{row.title}\n{row.name}".lower()]
    if not fitting:
        raise UsageError(f"there is no document {name[:100]!r} here; `ragcore list` names them")
    if len(fitting) > 1:
        listed = "; ".join(f"{row.id}: {row.title or row.name}" for row in fitting[:_NAMED])
        more = f" and {len(fitting) - _NAMED} more" if len(fitting) > _NAMED else ""
        raise UsageError(
            f"{name[:100]!r} fits several documents; name one by number: {listed}{more}"
        )
    return fitting[0]
