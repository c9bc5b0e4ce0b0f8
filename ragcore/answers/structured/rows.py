"""Arrays of objects: rows of tables, items of lists, and sentences that give somebody a task."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ragcore.answers.structured.fields import Group, Leaf, Rows
from ragcore.answers.structured.finding import FieldCandidate, Styles, typed
from ragcore.answers.structured.layout import Cell, Layout, LayoutTable, part
from ragcore.answers.structured.names import FieldName, tokens

_SURE, _FAIR = 0.9, 0.7
_TOTALS = re.compile(
    r"\s*(?:sub-?total|total|sum|net|gross|vat|tax|shipping|balance)\b", re.IGNORECASE
)
_PERSON = re.compile(r"\b(?:who|person|owner|responsible|assignee|assigned)\b")
_NAME = r"(?:(?:Mrs|Mr|Ms|Dr|Prof)\.?\s)?[A-Z][\w'’-]*\.?(?:\s[A-Z][\w'’-]*\.?)*"
_GIVEN = re.compile(
    rf"^(?P<who>{_NAME})(?:\s*[:–—-]\s+|\s+(?:will|shall|is to|are to|has to|agreed to|to)\s+)"
    r"(?P<task>\S.*)$",
    re.DOTALL,
)
_WHEN = re.compile(
    r"[\s,(;–—-]*(?:\b(?:by|until|before|due|deadline|no later than)\b:?\s*(?:on\s+)?)?\s*$",
    re.IGNORECASE,
)

_ASSIGNED = re.compile(rf"(?:[-*•]\s+|\d+[.)]\s+)?(?={_NAME}\s+(?:will|shall|is to|agreed to)\s)")

Row = Mapping[str, FieldCandidate]


def rows_of(
    rows: Rows, names: Mapping[str, FieldName], own: FieldName, layout: Layout, styles: Styles
) -> list[Row]:
    """The rows, each by its fields' keys.

    `names` are those of the item's fields, `own` the array's.
    """
    group = rows.item
    assert isinstance(group, Group)
    fields = {key: leaf for key, leaf in group.fields.items() if isinstance(leaf, Leaf)}
    tables = [(_columns(fields, names, table), table) for table in layout.tables if table.names]
    fitting = [(columns, table) for columns, table in tables if len(columns) >= min(2, len(fields))]
    if fitting:
        columns, table = max(fitting, key=lambda pair: len(pair[0]))
        return [row for row in _of_table(fields, names, columns, table, styles) if row]
    for table in layout.tables:
        if not table.names:
            found = [
                _of_numbered(fields, names, row, quote, styles)
                for row, quote in zip(table.rows, table.quotes, strict=True)
            ]
            if all(len(row) >= 2 for row in found):
                return found
    for one in layout.labelled:
        if one.items and own.fits(one.label) >= 0.55:
            found = [_of_item(fields, names, item, item, styles) for item in one.items]
            if any(found):
                return [row for row in found if row]
    return list(_of_sentences(fields, names, layout, styles))


def _columns(
    fields: Mapping[str, Leaf], names: Mapping[str, FieldName], table: LayoutTable
) -> dict[str, int]:
    """The column of each field, the best fits first."""
    fits = sorted(
        (
            (-names[key].fits(re.sub(r"[(\[].*", "", column)), n, key)
            for key in fields
            for n, column in enumerate(table.names)
        ),
    )
    found: dict[str, int] = {}
    for fit, n, key in fits:
        if -fit >= 0.5 and key not in found and n not in found.values():
            found[key] = n
    return found


def _of_table(
    fields: Mapping[str, Leaf],
    names: Mapping[str, FieldName],
    columns: Mapping[str, int],
    table: LayoutTable,
    styles: Styles,
) -> Iterator[Row]:
    for row, quote in zip(table.rows, table.quotes, strict=True):
        if _TOTALS.match(" ".join(cell.text for cell in row if cell.text)):
            continue
        found: dict[str, FieldCandidate] = {}
        for key, n in columns.items():
            matched = re.search(r"[(\[]([^)\]]+)[)\]]", table.names[n])
            values = typed(
                fields[key], names[key], row[n], styles, unit=matched[1] if matched else ""
            )
            if values:
                value, cell = values[0]
                if fields[key].kind == "string":  # brackets belong to a cell
                    value, cell = row[n].text, row[n]
                found[key] = FieldCandidate(value, cell, quote, _SURE)
        yield found


def _of_numbered(
    fields: Mapping[str, Leaf],
    names: Mapping[str, FieldName],
    row: Sequence[Cell],
    quote: Cell,
    styles: Styles,
) -> Row:
    """The first text, and the last number for the field that is an amount."""
    found: dict[str, FieldCandidate] = {}
    texts = [cell for cell in row[1:-1] if re.search(r"[^\W\d_]{3}", cell.text)]
    for key, leaf in fields.items():
        if leaf.kind == "string" and texts and key not in found:
            cell = texts.pop(0)
            found[key] = FieldCandidate(cell.text, cell, quote, _FAIR)
        elif leaf.kind in ("number", "integer") and names[key].covered(
            tokens("amount total price")
        ):
            values = typed(leaf, names[key], row[-1], styles)
            if values:
                found[key] = FieldCandidate(values[-1][0], values[-1][1], quote, _FAIR)
    return found


def _of_item(
    fields: Mapping[str, Leaf],
    names: Mapping[str, FieldName],
    item: Cell,
    quote: Cell,
    styles: Styles,
) -> Row:
    """A list's item: typed values, who has to do it, and the rest of its text."""
    found: dict[str, FieldCandidate] = {}
    rest = item
    for key, leaf in fields.items():
        if leaf.kind == "string":
            continue
        values = typed(leaf, names[key], item, styles)
        if values:
            value, cell = values[-1]
            found[key] = FieldCandidate(value, cell, quote, _FAIR)
            if cell.end >= rest.end - 2:
                rest = part(item, 0, cell.start - item.start)
                cut = _WHEN.search(rest.text)
                rest = part(rest, 0, cut.start() if cut else len(rest.text))
    given = _GIVEN.match(rest.text)
    texts = [key for key, leaf in fields.items() if leaf.kind == "string"]
    who = next((key for key in texts if _is_person(fields[key])), None)
    if given and who is not None:
        cell = part(rest, given.start("who"), given.end("who"))
        found[who] = FieldCandidate(cell.text, cell, quote, _FAIR)
        rest = part(rest, given.start("task"), given.end("task"))
    others = [key for key in texts if key != who]
    if others and re.search(r"[^\W\d_]", rest.text):
        cell = part(rest, 0, len(rest.text.rstrip(".;,")))
        found[others[0]] = FieldCandidate(cell.text, cell, quote, _FAIR)
    return found


def _of_sentences(
    fields: Mapping[str, Leaf], names: Mapping[str, FieldName], layout: Layout, styles: Styles
) -> Iterator[Row]:
    """Rows from sentences: "Sofia Marin will book the hall by 20 March 2025."."""
    who = [leaf for leaf in fields.values() if leaf.kind == "string" and _is_person(leaf)]
    if not who:
        return
    seen = set()
    for clause in layout.clauses:
        match = _ASSIGNED.match(clause.cell.text)
        place = (clause.cell.hit, clause.cell.start)
        if match is None or place in seen:
            continue
        seen.add(place)
        first = clause.cell.text[match.end() :].split()[0]
        if first.lower() in ("the", "we", "it", "they", "this", "you", "all", "there", "he", "she"):
            continue
        item = part(clause.cell, match.end(), len(clause.cell.text.rstrip(".")))
        yield _of_item(fields, names, item, clause.sentence, styles)


def _is_person(leaf: Leaf) -> bool:
    return bool(_PERSON.search(f"{leaf.name} {leaf.description}".lower()))
