"""Which documents are meant by the names that somebody gives."""

from __future__ import annotations

from collections.abc import Sequence

from ragcore.catalog.models import Document
from ragcore.errors import UsageError

_NAMED = 5  # of several that fit, in the error's text


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
