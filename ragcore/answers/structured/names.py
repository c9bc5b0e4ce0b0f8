"""Whether a label, or the words around a value, name a field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ragcore.answers.structured.fields import Leaf, Rows
from ragcore.answers.structured.values import unit_of
from ragcore.text import stem


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that forms, letters and data sheets use for one thing. A label that has another word of
# the same row names the field as well.
_SAME = (
    "number no nr num # id reference ref code",
    "date day dated held",
    "issue issued created drawn",
    "due payable deadline closing until latest by",
    "total sum payable grand altogether",
    "tax vat gst mwst",
    "customer client buyer billed bill recipient purchaser",
    "seller vendor supplier biller",
    "manufacturer maker producer vendor brand made",
    "employer organization organization company firm institution",
    "company firm business organization organization",
    "place location venue where site city room held",
    "salary pay wage remuneration compensation earn",
    "weekly week",
    "yearly annual annum year",
    "remote remotely home telework hybrid",
    "deadline closing apply applications until",
    "start starting begin begins beginning commence",
    "contract engagement",
    "skill skills requirements qualifications ask bring know need expect",
    "required essential must",
    "contact apply applications",
    "chair chaired chairperson chairman chairwoman facilitator moderator presided presiding",
    "taker secretary minutes notes recorder keeper minuted",
    "attendee attendees present participants attending attendance",
    "apology apologies absent excused regrets",
    "next following again",
    "action actions todo tasks tasklist",
    "owner responsible assignee assigned who",
    "task action what todo",
    "quantity qty pcs pieces count units",
    "description item article product service position",
    "amount sum total",
    "product model device",
    "weight mass weighs weigh",
    "power wattage",
    "consumption input draw drawn uses consumes",
    "supply input rated nominal",
    "temperature temperatures ambient",
    "operating operation operational works operated",
    "ip protection ingress",
    "interface interfaces ports connections connectivity communication connectors",
    "warranty guarantee guaranteed",
    "release released launch launched market introduced",
    "include included includes enclosed",
    "waterproof watertight",
    "title position role vacancy job hiring seek wanted",
    "limit cap ceiling maximum",
    "spend spending expenditure",
    "approve approved adopted passed accepted",
    "phone telephone tel mobile",
    "email e-mail mail",
)
_ROWS: dict[str, frozenset[int]] = {}
for _n, _row in enumerate(_SAME):
    for _word in _row.split():
        _key = stem(_word, "english")
        _ROWS[_key] = _ROWS.get(_key, frozenset()) | {_n}


_DROPPED = _set(
    "a an the of in at to for from with as is are was were be been it its this that these those "
    "and or any all per which whether has have had does do did will can may must should than "
    "other our your their his her we you they there typical typ nom"
)
# Of a field's name: they say little about what to look for.
_PLAIN = frozenset(
    stem(w, "english")
    for w in _set(
        "name value text issue full main document current overall type kind title number date "
        "person people work exact list"
    )
)
# They choose a side of a range, and stand in few documents.
LOWER = _set("min minimum lowest least from lower smallest low")
UPPER = _set("max maximum highest most to upper largest high")
_LIGHT = 0.35
# Alone before a name, they say who it is.
_PREPOSITIONS = {"to": "customer", "from": "seller", "by": "manufacturer"}


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """Stems of a label's words; "no" is a number's."""
    plain = re.sub(r"[°º]\s?[CF]\b", " ", text.lower().replace("e-mail", "email").replace("_", " "))
    plain = re.sub(r"\bworking (time|hours)\b", "weekly hours", plain)
    plain = re.sub(r"\bto[ -]?do\b", "todo", plain)
    plain = re.sub(r"\bup to\b", "limit", plain)
    plain = re.sub(r"\bmet\b", "meeting", plain)
    plain = re.sub(r"\bemployment\b", "contract", plain)  # no employer, though of the same stem
    found = [w for w in re.findall(r"#|[^\W_]+", plain) if w not in _DROPPED]
    return tuple(stem(w, "english") for w in found if not w[0].isdigit())


def same(one: str, other: str) -> bool:
    """Whether two stems are used for one thing."""
    return one == other or bool(_ROWS.get(one, frozenset()) & _ROWS.get(other, frozenset()))


class FieldName:
    """The words that name a field: its own and its parents', and those that describe it."""

    def __init__(self, field: Leaf | Rows, context: Iterable[str]) -> None:
        words = field.name.split()
        own_name = " ".join(words[:-1] if len(words) > 1 and unit_of(words[-1]) else words)
        own = [t for t in tokens(own_name) if t not in LOWER | UPPER]
        self.dated = isinstance(field, Leaf) and field.kind in ("date", "date-time")
        self.boolean = isinstance(field, Leaf) and field.kind == "boolean"
        self.code = bool({"number", "no", "id", "code", "reference"} & set(words))
        self.rivals: frozenset[str] = frozenset()  # that name fields of the same type
        raw = {*field.name.split(), *re.findall(r"\w+", field.description.lower())}
        self.side = "min" if raw & LOWER else "max" if raw & UPPER else ""
        above = [t for parent in field.parents for t in tokens(parent)]
        plain = all(t in _PLAIN for t in own)
        context = set(context) - set(own if plain else ())
        self.weights: dict[str, float] = {}
        for t in above:
            self.weights[t] = 1.0 if plain else 0.5
        light = {t for t in own if t in context or t in _PLAIN}
        if own and light == set(own) and not above:
            light.discard(own[-1])  # the head of a name of plain words only
        for t in own:
            self.weights[t] = max(self.weights.get(t, 0.0), _LIGHT if t in light else 1.0)
        self.described = frozenset(tokens(field.description)) - set(self.weights) - LOWER - UPPER
        self.context = context

    @property
    def known(self) -> bool:
        return bool(self.weights or self.described)

    def covered(self, others: Iterable[str]) -> float:
        """The share of the name that the words have."""
        there = list(others)
        whole = sum(self.weights.values())
        if not whole:
            return 0.0
        return sum(w for t, w in self.weights.items() if any(same(t, o) for o in there)) / whole

    def fits(self, label: str) -> float:
        """How well a label names the field, in [0, 1]."""
        everything = tokens(_PREPOSITIONS.get(label.strip().lower(), label))
        there = [t for t in everything if t not in LOWER | UPPER]
        sides = {"min" if t in LOWER else "max" for t in everything if t in LOWER | UPPER}
        if not there or (self.side and sides and self.side not in sides):
            return 0.0
        heavy = [t for t in there if t not in self.context]
        named = [t for t in there if any(same(t, own) for own in self.weights)]
        known = [t for t in there if t in named or any(same(t, d) for d in self.described)]
        precise = (len(known) + _LIGHT * sum(t not in known and t not in heavy for t in there)) / (
            len(known) + sum(_LIGHT if t not in heavy else 1.0 for t in there if t not in known)
        )
        implied = ["date"] if self.dated else []  # the value beside it is one
        by_name = self.covered([*there, *implied]) * (0.35 + 0.65 * precise)
        whole = len(known) == len(there)
        by_words = 0.7 if whole and not self.boolean and self._matches(known) else 0.0
        if whole and self.code and named:  # "Invoice: INV-12" has an invoice's number
            by_words = max(by_words, 0.65)
        best = max(by_name, by_words)
        if any(same(t, r) for t in there for r in self.rivals):
            best *= 0.8
        return best * (0.85 if sides and not self.side else 1.0)

    def heavy(self) -> frozenset[str]:
        """The words that distinguish the field from others."""
        return frozenset(t for t, weight in self.weights.items() if weight >= 0.5)

    def matched(self, there: Iterable[str]) -> float:
        """As `covered`, where a short description's words do as well."""
        others = list(there)
        share = self.covered(others)
        if self.described and len(self.described) <= 2:
            all_of = all(any(same(t, o) for o in others) for t in self.described)
            share = max(share, 0.8 if all_of else 0.0)
        if any(same(o, r) for o in others for r in self.rivals):
            share *= 0.8
        return share

    def _matches(self, known: list[str]) -> bool:
        """Whether words of the description are enough to name it."""
        matched = [t for t in known if any(same(t, d) for d in self.described)]
        return len(set(matched)) >= 2 or (bool(matched) and len(self.described) <= 2)
