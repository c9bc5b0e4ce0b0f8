"""What stands for itself, without a label: a document's first line, the one choice it names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragcore.answers.structured.fields import Leaf
from ragcore.answers.structured.finding import FieldCandidate, Styles, typed
from ragcore.answers.structured.layout import Layout, cells, part
from ragcore.answers.structured.names import FieldName, same, tokens
from ragcore.answers.structured.values import CURRENCIES, choices_in, unit_of

_SENDERS = tokens("seller employer manufacturer sender")
_TITLES = tokens("title product")
_FIRM = re.compile(
    r"\b(?:Ltd|Limited|GmbH|AG|KG|Inc|LLC|LLP|AB|AS|Oy|BV|NV|S\.p\.A|S\.r\.l|S\.A|SA|SE|plc|PLC|Co|Corp|"
    r"Company|Council|University|Institute|Trust|Foundation|Hospital|Museum|Society|Association|"
    r"Bank|Group|Studio|Partners|Services|Systems|Industries|Works)\b\.?"
)
_FORM = re.compile(
    r"\b(?:invoice|bill|minutes|meeting|data ?sheet|specifications?|advertisement|vacancy|agenda|"
    r"receipt|technical data|hiring|we are)\b",
    re.IGNORECASE,
)
LETTERHEAD, ONLY = 0.62, 0.6


def letterhead(leaf: Leaf, name: FieldName, layout: Layout) -> Iterator[FieldCandidate]:
    """The first line as the sender's name, or as the title of what the document is about."""
    own = [t for t, weight in name.weights.items() if weight >= 0.5] or list(name.weights)
    sender = any(same(t, s) for t in own for s in _SENDERS)
    title = any(t in _TITLES for t in own)
    line = next((line for line in layout.lines if line.text), None)
    if line is None or not (sender or title):
        return
    if len(cells(line)) > 1:
        return
    first = line
    cut = re.search(r"\s*[(:,]|\s[-–|]\s", first.text) if title or "," in first.text else None
    first = part(first, 0, cut.start()) if cut else first
    text = first.text
    words = text.split()
    if not words or len(words) > 7 or _FORM.search(text) or ":" in text:
        return
    if text[-1] in ".!?" and not _FIRM.search(text):
        return
    if len([w for w in words if w[0].isupper() or w[0].isdigit()]) * 2 < len(words):
        return
    firm = bool(_FIRM.search(text)) or (text.isupper() and len(words) > 1)
    if (sender and firm) or (title and not firm):
        yield FieldCandidate(text, first, line, LETTERHEAD)


_PRODUCT = re.compile(r"(?:The |Our )?(?P<name>[A-Z][^,.;:]{1,50}?) (?:is|are) (?:an?|the|our) ")
_SEEKS = re.compile(
    r"(?P<who>(?-i:[A-Z])[^,.;:]{1,60}?) (?:is|are) (?:currently |now )?"
    r"(?:looking for|seeking|hiring|recruiting) (?:an? |our next |another )?"
    r"(?P<what>[^,.;:(]{2,60}?)(?= (?:in|at|to|for|with|who|on)\b|[,.;:(]|$)",
    re.IGNORECASE,
)


def opening(leaf: Leaf, name: FieldName, layout: Layout) -> Iterator[FieldCandidate]:
    """What the first sentence is about: "The TrailEye 4 is a …", "Castellan is looking for …"."""
    own = name.heavy() or frozenset(name.weights)
    for clause in layout.clauses[:3]:
        seeks, product = _SEEKS.search(clause.cell.text), _PRODUCT.match(clause.cell.text)
        if seeks is not None:
            found = "who" if any(same(t, s) for t in own for s in _SENDERS) else "what"
            if found == "what" and "titl" not in own:
                return
            if seeks["who"].lower() in ("we", "our team") and found == "who":
                return
            cell = part(clause.cell, seeks.start(found), seeks.end(found))
            yield FieldCandidate(cell.text, cell, clause.sentence, ONLY)
            return
        if product is not None and own & set(tokens("product model")):
            cell = part(clause.cell, product.start("name"), product.end("name"))
            yield FieldCandidate(cell.text, cell, clause.sentence, ONLY)
            return


def first_date(
    leaf: Leaf, name: FieldName, layout: Layout, styles: Styles
) -> Iterator[FieldCandidate]:
    """The date in the first lines, for a field that is called nothing else."""
    if name.heavy() - set(tokens("date day")):
        return
    lines = [line for line in layout.lines if line.text][:3]
    found = [
        FieldCandidate(value, cell, line, ONLY)
        for line in lines
        for value, cell in typed(leaf, name, line, styles)
    ]
    if len(found) == 1:
        yield found[0]


def any_choice(leaf: Leaf, layout: Layout) -> Iterator[FieldCandidate]:
    """The only one of the choices that the document names; of currencies the one used most."""
    money = all(unit_of(str(choice)) in CURRENCIES for choice in leaf.choices)
    found: dict[str, list[FieldCandidate]] = {}
    for line in layout.lines:
        for one in choices_in(line.text, leaf.choices):
            cell = part(line, one.start, one.end)
            found.setdefault(str(one.value), []).append(FieldCandidate(one.value, cell, line, ONLY))
    if len(found) == 1 or (found and money):
        yield max(found.values(), key=len)[-1]
