"""Numbers over tables: one SELECT, put together from the question's words and the table's columns.

Rows come from the documents' text, so that each can be cited. A question is answered only if all
its words are explained by the table: its columns, its cells, its title, or what is asked of them.
"""

from __future__ import annotations

import re
import sqlite3
import statistics
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from ragcore.answers.composing.quotes import Composed, Quotes, one_line, where
from ragcore.answers.composing.sources import ScopedDocuments
from ragcore.answers.kinds import RecognizedQuestion
from ragcore.answers.sentences import words
from ragcore.catalog import DocumentText

_SHEETS = ("text/csv", "text/tab-separated-values", "spreadsheet", "excel")
_MOST_ROWS = 200_000  # of one table
_MOST_TABLES = 60
_SHOWN = 12  # rows that an answer quotes
_NUMBER = re.compile(r"[-+−]?\s*(?:\d{1,3}(?:[,\u202f\u00a0 ]\d{3})+|\d+)(?:[.,]\d+)?")
_LIMIT = re.compile(
    r"\b(?P<word>more than|less than|fewer than|at least|at most|over|under|above|below|"
    r"greater than|cheaper than|between)\s+(?:[$€£]\s*)?(?P<one>\d[\d,.]*)"
    r"(?:\s+and\s+(?:[$€£]\s*)?(?P<two>\d[\d,.]*))?",
    re.IGNORECASE,
)
_SIGNS = {
    "more than": ">", "over": ">", "above": ">", "greater than": ">", "at least": ">=",
    "less than": "<", "fewer than": "<", "under": "<", "below": "<", "cheaper than": "<",
    "at most": "<=",
}  # fmt: skip
# Words that name a column by another word.
_MEANINGS = {
    "price cost amount fee charge euro eur usd dollar": "expensive cheap cheapest price cost "
    "costs dear dearest cheaper pay worth euro euros dollar",
    "stock quantity qty count number available inventory": "stock quantity available",
    "weight mass kg gram": "weight heavy heaviest light lightest weigh",
    "length long distance km": "long longest short shortest length",
    "height tall": "tall tallest high height",
    "speed fast": "fast fastest slow slowest speed",
    "area size km2 surface": "area large big surface",
    "population inhabitants people": "population inhabitants people populous",
    "age year date born": "old oldest young youngest new newest age year",
    "salary wage pay income": "salary wage earn paid income",
}
_ASKS = frozenset(
    words(
        "average mean median total sum altogether highest largest most greatest maximum biggest "
        "lowest smallest "
        "minimum least fewest top count number list show give name all each every row rows entry "
        "entries record records "
        "line lines table sheet spreadsheet csv file document value values overall combined "
        "together add much many "
        "more less fewer than over under above below between sort sorted order ordered rank "
        "ranked descending ascending "
        "have has had there any compute calculate find longest shortest heaviest lightest "
        "cheapest dearest tallest fastest "
        "slowest expensive cheaper tell please collection item items thing"
    )
)
_VERBS = {"mean": "avg", "sum": "sum", "max": "max", "min": "min", "median": "median"}
_SAID = {
    "mean": "The average", "sum": "The sum", "max": "The highest value",
    "min": "The lowest value", "median": "The median",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of a table's row, and where it stands in the document's text."""

    cells: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DocumentTable:
    """A table of a document with named columns."""

    document: DocumentText
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    heading: str
    header: tuple[int, int]  # where the columns' names stand

    @property
    def numeric(self) -> list[int]:
        """Columns of which nearly all cells are numbers."""
        found = []
        for at in range(len(self.columns)):
            cells = [row.cells[at] for row in self.rows if row.cells[at]]
            if cells and sum(number(cell) is not None for cell in cells) >= 0.8 * len(cells):
                found.append(at)
        return found


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a table.

    `column` is None where rows are counted or listed; `limits` are (column, sign, value); `holds`
    are words of which a row has to hold each, in some form.
    """

    table: DocumentTable
    wanted: str
    column: int | None
    limits: tuple[tuple[int, str, float], ...]
    holds: tuple[str, ...]
    falling: bool = False  # sorted from the highest value down


def compose(
    asked: RecognizedQuestion, question: str, sources: ScopedDocuments, length: int
) -> Composed | None:
    """The number and the rows that it comes from; None where no table explains the question."""
    for table in _tables(question, sources):
        query = understood(asked, table)
        if query is not None:
            return _answered(query)
    return None


def _tables(question: str, sources: ScopedDocuments) -> Iterator[DocumentTable]:
    """Tables of the scope: of the passages found, then of its sheets."""
    found = [hit.document_id for hit in sources.search(question, 8)]
    sheets = [
        row.id for row in sources.rows() if any(kind in row.media_type for kind in _SHEETS)
    ]  # fmt: skip
    count = 0
    for document_id in dict.fromkeys([*found, *sheets]):
        for table in tables_of(sources.text(document_id)):
            yield table
            count += 1
            if count >= _MOST_TABLES:
                return


def tables_of(document: DocumentText) -> Iterator[DocumentTable]:
    """Tables in a document's text.

    Neighboring lines with equally many cells below named " "columns.
    """
    group: list[Row] = []
    at = 0
    for line in [*re.split(r"[\n\f]", document.text), ""]:
        cells = tuple(cell.strip() for cell in line.split("\t" if "\t" in line else " | "))
        if len(cells) >= 2 and (not group or len(cells) == len(group[0].cells)):
            if len(group) <= _MOST_ROWS:
                group.append(Row(cells, at, at + len(line)))
        elif line.strip() or not group:  # a blank line between two rows ends no table
            table = _table(document, group)
            if table is not None:
                yield table
            group = [Row(cells, at, at + len(line))] if len(cells) >= 2 else []
        at += len(line) + 1
    table = _table(document, group)
    if table is not None:
        yield table


def _table(document: DocumentText, group: Sequence[Row]) -> DocumentTable | None:
    if len(group) < 3 or any(not cell or number(cell) is not None for cell in group[0].cells):
        return None
    if len(set(group[0].cells)) < len(group[0].cells):
        return None
    passage = document.passage_at(group[0].start)
    heading = passage.heading.split(" > ")[0] if passage is not None else ""
    return DocumentTable(
        document, group[0].cells, tuple(group[1:]), heading, (group[0].start, group[0].end)
    )


def number(text: str) -> float | None:
    """A cell's number, with a unit or currency beside it; None for other text."""
    plain = re.sub(r"^(?:[$€£~≈]|USD|EUR|GBP)\s*|\s*(?:[%€$£]|[A-Za-z²³]{1,4})$", "", text.strip())
    found = _NUMBER.fullmatch(plain)
    if found is None:
        return None
    digits = re.sub(r"[\s\u202f\u00a0]", "", found.group().replace("−", "-"))
    if re.search(r",\d{3}(?:\D|$)", digits) or ("," in digits and "." in digits):
        digits = digits.replace(",", "")
    try:
        return float(digits.replace(",", "."))
    except ValueError:
        return None


# --- the question ---------------------------------------------------------------------------


def understood(asked: RecognizedQuestion, table: DocumentTable) -> Query | None:
    """The question as a query of the table; None where a word of it means nothing there."""
    text = asked.topic
    limits, rest = [], text
    for match in _LIMIT.finditer(text):
        column = _column(text, table, near=match.end())
        if column is None:
            return None
        limits += [(column, sign, value) for sign, value in _bounds(match)]
        rest = rest.replace(match.group(), " ")
    wanted = asked.wanted
    if wanted == "count" and not limits and (counted := _counted(text, table)) is not None:
        wanted, column = "sum", counted  # "how many are in stock" is in a column
    else:
        column = _column(text, table) if wanted in _VERBS or _sorts(text) else None
    named = {
        stem for name in table.columns for stem in words(name)
    } | set(words(f"{re.sub(r'[-_.]', ' ', table.document.title)} {table.heading}"))  # fmt: skip
    if wanted in _VERBS and column is None:
        return None
    meant = {
        stem
        for names, others in _MEANINGS.items()
        if any(set(words(names)) & set(words(name)) for name in table.columns)
        for stem in words(others)
    }
    cells = {stem for row in table.rows[:5000] for cell in row.cells for stem in words(cell)}
    asks = set(words(rest)) - _ASKS - meant
    spelled = {words(word)[0]: word for word in re.findall(r"[\w-]+", rest) if words(word)}
    holds = [
        spelled.get(stem, stem)
        for stem in words(rest)
        if stem in asks and stem in cells and stem not in named
    ]
    if any(stem not in cells and stem not in named for stem in asks):
        return None
    if (
        not limits
        and not holds
        and not asks & named
        and not table.document.media_type.endswith("csv")
    ):
        return None
    falling = bool(re.search(r"\b(?:descending|highest|falling|decreasing)\b", text, re.I))
    contained = tuple(dict.fromkeys(holds))
    return Query(table, wanted, column, tuple(limits), contained, falling)


def _counted(text: str, table: DocumentTable) -> int | None:
    """The numeric column whose whole name stands in a text."""
    asked = set(words(text))
    found = [at for at in table.numeric if set(words(table.columns[at])) <= asked]
    return found[0] if len(found) == 1 else None


def _sorts(text: str) -> bool:
    return bool(re.search(r"\b(?:sort|order|rank)(?:ed)?\b.*\bby\b", text, re.IGNORECASE))


def _bounds(match: re.Match[str]) -> list[tuple[str, float]]:
    one, two = number(match["one"].rstrip(".,")), number((match["two"] or "").rstrip(".,"))
    word = match["word"].lower()
    if word == "between":
        return [(">=", one or 0.0), ("<=", two or 0.0)] if two is not None else []
    return [(_SIGNS[word], one or 0.0)]


def _column(text: str, table: DocumentTable, near: int | None = None) -> int | None:
    """The numeric column that a text names, by its own words or by others that mean it."""
    asked = set(words(text))
    scores = []
    for at in table.numeric:
        own = set(words(table.columns[at]))
        meant = {
            stem
            for names, others in _MEANINGS.items()
            if set(words(names)) & own
            for stem in words(others)
        }
        unit = set(words(text[near : near + 20])) & own if near is not None else set()
        score = (
            2.0 * len(asked & own) / max(1, len(own)) + (1.0 if asked & meant else 0) + len(unit)
        )
        scores.append((score, at))
    scores.sort(key=lambda pair: -pair[0])
    if not scores or scores[0][0] <= 0 or (len(scores) > 1 and scores[0][0] == scores[1][0]):
        return None
    return scores[0][1]


# --- the answer -----------------------------------------------------------------------------


def _answered(query: Query) -> Composed | None:
    table = query.table
    quotes = Quotes()
    with closing(sqlite3.connect(":memory:")) as database:
        _load(database, table)
        condition, values = _condition(query)
        select = "SELECT line FROM rows" + (f" WHERE {condition}" if condition else "")
        order = ""
        if query.column is not None and query.wanted in {"max", "min", "list"}:
            order = (
                f" ORDER BY {_name(table, query.column)}{' DESC' if query.falling else ''}, line"
            )
        lines = [int(row[0]) for row in database.execute(select + order, values)]
        if query.column is not None:
            value = database.execute(
                f"SELECT {_VERBS.get(query.wanted, 'count')}({_name(table, query.column)}) FROM "
                f"rows" + (f" WHERE {condition}" if condition else ""),
                values,
            ).fetchone()[0]
        else:
            value = len(lines)
    if not lines or value is None:
        return None
    if query.wanted in {"max", "min"} and query.column is not None:
        column = query.column
        lines = [n for n in lines if number(table.rows[n].cells[column]) == value]
    place = where(table.document, table.header[0])
    shown = [_sentence(query, value, len(lines), place)]
    shown.append(f"Columns: {quotes.line(table.document, *table.header)}")
    shown += [
        f"- {quotes.line(table.document, table.rows[n].start, table.rows[n].end)}"
        for n in lines[:_SHOWN]
    ]
    if len(lines) > _SHOWN:
        shown.append(f"… and {len(lines) - _SHOWN} rows more")
    shown.append(f"Computed by: {_shown(query)}")
    return quotes.composed("table", "\n".join(shown))


def _load(database: sqlite3.Connection, table: DocumentTable) -> None:
    numeric = set(table.numeric)
    columns = ", ".join(
        f"{_name(table, at)} {'REAL' if at in numeric else 'TEXT'}"
        for at in range(len(table.columns))
    )
    database.create_aggregate("median", 1, _Median)  # type: ignore[arg-type]
    database.create_function("holds", 2, _holds, deterministic=True)
    database.execute(f"CREATE TABLE rows (line INTEGER PRIMARY KEY, {columns})")
    marks = ", ".join("?" * (len(table.columns) + 1))
    database.executemany(
        f"INSERT INTO rows VALUES ({marks})",
        (
            (n, *(number(c) if at in numeric else c for at, c in enumerate(row.cells)))
            for n, row in enumerate(table.rows)
        ),
    )


class _Median:
    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        return statistics.median(self._values) if self._values else None


def _holds(text: str | None, stem: str) -> bool:
    return stem in words(str(text or ""))


def _name(table: DocumentTable, at: int) -> str:
    return '"' + table.columns[at].replace('"', '""') + '"'


def _condition(query: Query) -> tuple[str, list[float | str]]:
    table, numeric = query.table, set(query.table.numeric)
    parts, values = [], list[float | str]()
    for column, sign, value in query.limits:
        parts.append(f"{_name(table, column)} {sign} ?")
        values.append(value)
    texts = [_name(table, at) for at in range(len(table.columns)) if at not in numeric]
    whole = " || ' ' || ".join(f"coalesce({name}, '')" for name in texts) or "''"
    for word in query.holds:
        parts.append(f"holds({whole}, ?)")
        values.append(words(word)[0])
    return " AND ".join(parts), values


def _shown(query: Query) -> str:
    """The query as people read it, with its values."""
    table = query.table
    parts = [f"{_name(table, c)} {sign} {value:g}" for c, sign, value in query.limits]
    parts += [f"a text column has “{word}”" for word in query.holds]
    what = "count(*)" if query.wanted == "count" else "*"
    if query.wanted in _VERBS and query.column is not None:
        what = f"{_VERBS[query.wanted]}({_name(table, query.column)})"
    order = ""
    if query.wanted == "list" and query.column is not None:
        order = f" ORDER BY {_name(table, query.column)}{' DESC' if query.falling else ''}"
    condition = f" WHERE {' AND '.join(parts)}" if parts else ""
    return f"SELECT {what} FROM {one_line(table.document.title)}{condition}{order}"


def _sentence(query: Query, value: float, count: int, place: str) -> str:
    """The result in words."""
    rows = f"{count} row{'s' if count != 1 else ''}"
    if query.column is None or query.wanted in {"count", "list"}:
        return f"{rows} of the table in {place}:"
    name = query.table.columns[query.column]
    said = f"{value:,.10g}" if abs(value) < 1e15 else f"{value:g}"
    if query.wanted in {"mean", "median"}:
        said = f"{value:,.4f}".rstrip("0").rstrip(".")
    over = f" over {rows}" if query.wanted not in {"max", "min"} else ""
    return f"{_SAID[query.wanted]} of “{name}”{over} is {said} (table in {place}):"
