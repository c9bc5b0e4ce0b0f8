"""Typed values as they are written: numbers, dates, yes and no, choices."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ragcore.text import stem


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it stands: `text[start:end]`. `unit` is what is written beside it."""

    value: Any
    start: int
    end: int
    unit: str = ""


# --- numbers -----------------------------------------------------------------------------

_UNITS = {
    "kg": "kg kilogram kilograms kilogramme kilogrammes kilo kilos",
    "g": "g gram grams gramme grammes",
    "mg": "mg milligram milligrams",
    "t": "t tonne tonnes",
    "lb": "lb lbs pound_weight",
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "in": "inch inches",
    "v": "v volt volts vdc vac",
    "mv": "mv millivolt millivolts",
    "a": "a ampere amperes amp amps",
    "ma": "ma milliampere milliamperes",
    "w": "w watt watts",
    "mw": "mw milliwatt milliwatts",
    "kw": "kw kilowatt kilowatts",
    "kwh": "kwh",
    "wh": "wh",
    "hz": "hz hertz",
    "khz": "khz",
    "mhz": "mhz",
    "ghz": "ghz",
    "c": "°c celsius ºc",
    "f": "°f fahrenheit",
    "s": "s second seconds sec",
    "ms": "ms millisecond milliseconds",
    "min": "minute minutes",
    "h": "h hour hours hrs",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years",
    "l": "l liter liters litre litres",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "mb": "mb megabyte megabytes",
    "gb": "gb gigabyte gigabytes",
    "tb": "tb terabyte terabytes",
    "bar": "bar",
    "db": "db decibel decibels",
    "lm": "lm lumen lumens",
    "%": "% percent pct",
    "EUR": "€ eur euro euros",
    "USD": "$ usd us$ dollar dollars",
    "GBP": "£ gbp pound pounds",
    "CHF": "chf sfr francs franc",
    "JPY": "¥ jpy yen",
}
_UNIT_OF = {form: unit for unit, forms in _UNITS.items() for form in forms.split()}
CURRENCIES = frozenset(unit for unit in _UNITS if unit.isupper())
_CURRENCY = r"(?:US\$|[€$£¥]|\b(?:EUR|USD|GBP|CHF|JPY)\b)"
_NUMBER = re.compile(
    rf"(?P<before>{_CURRENCY})?\s?(?<![\w.,/:#])(?P<sign>[-−–+](?=\d))?"
    r"(?P<digits>\d{1,3}(?:(?P<group>[.,'’   ])\d{3})(?:(?P=group)\d{3})*(?:[.,]\d{1,8})?(?!\d)"
    r"|\d+(?:[.,]\d{1,8})?(?!\d))"
    r"(?P<tail>(?:[ -]|\s{1,2})?(?:%|°\s?[CF]|º\s?C|[€$£¥]|[A-Za-z]{1,12}))?",
)
_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90, "hundred": 100}
_WORDS = {word: n for n, word in enumerate(_COUNTED.split())} | _TENS
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b(?:[ -]([A-Za-z]{{1,12}}))?", re.IGNORECASE)
_COMMA_DECIMALS = re.compile(
    r"(?<![\d.,])\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)|(?<![\d.,])\d+,\d{2}(?!\d)"
)
_POINT_DECIMALS = re.compile(
    r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?(?!\d)|(?<![\d.,])\d+\.\d{2}(?![\d.])"
)


def unit_of(word: str) -> str:
    """The unit that a word or sign stands for; "" for other words."""
    return _UNIT_OF.get(word.replace(" ", "").replace("º", "°").lower(), "")


def decimal_comma(text: str) -> bool:
    """Whether the numbers of a text have a comma before their decimals."""
    return len(_COMMA_DECIMALS.findall(text)) > len(_POINT_DECIMALS.findall(text))


def numbers(text: str, *, comma: bool = False) -> Iterator[Value]:
    """The numbers of a text in order, those in dates and codes left out.

    `comma`: the document writes 1.204,50 for what is 1,204.50 elsewhere.
    """
    taken = [(one.start, one.end) for one in dates(text, day_first=True)]
    taken += [match.span() for match in _TIME.finditer(text) if ":" in match[0] or match[3]]
    found: list[Value] = []
    for match in _NUMBER.finditer(text):
        start = match.start("sign") if match["sign"] else match.start("digits")
        end = match.end("digits")
        if any(a < end and start < b for a, b in taken) or _in_code(text, start, end):
            continue
        tail = (match["tail"] or "").strip(" -\u00a0\t\n")
        unit = unit_of(tail)
        if not unit and tail and match["tail"][:1].isalpha():
            continue  # 4x, 3rd, 12B
        number = _number(match["digits"], comma)
        if number is None:
            continue
        if match["sign"] in ("-", "−") or (match["sign"] == "–" and not text[:start].strip()):
            number = -number
        elif match["sign"] == "–":
            start += 1
        found.append(Value(number, start, end, unit or unit_of(match["before"] or "")))
    for match in _WORD.finditer(text):
        unit = unit_of(match[2] or "")
        found.append(Value(_WORDS[match[1].lower()], match.start(1), match.end(1), unit))
    yield from sorted(found, key=lambda one: one.start)


def _in_code(text: str, start: int, end: int) -> bool:
    """Whether the digits are a part of a code such as BM-20871, RS-485 or 2025-0093."""
    before, after = text[max(0, start - 2) : start], text[end : end + 3]
    if re.match(r"[-/]0\d", after) or (re.search(r"\d[-/]$", before) and text[start] == "0"):
        return True
    if re.search(r"[A-Za-z\d][-–/_]$|[A-Za-z_]$", before) and not re.search(r"\d[-–]$", before):
        return True
    return bool(re.match(r"[-/]\d|[-/_][A-Z]\d", after)) and not re.match(r"-\d", after)


def _number(digits: str, comma: bool) -> int | float | None:
    plain = re.sub(r"['’\u00a0\u202f ]", "", digits)
    marks = re.findall(r"[.,]", plain)
    if len(set(marks)) == 2:  # the last one is that of the decimals
        decimals = marks[-1]
        plain = plain.replace("," if decimals == "." else ".", "").replace(decimals, ".")
    elif len(marks) > 1:
        plain = re.sub(r"[.,]", "", plain)
    elif marks:
        mark = marks[0]
        three = re.search(r"[.,]\d{3}$", plain) and not plain.startswith("0")
        if three and (mark == ",") != comma:
            plain = plain.replace(mark, "")
        plain = plain.replace(",", ".")
    try:
        return float(plain) if "." in plain else int(plain)
    except ValueError:
        return None


# --- dates -------------------------------------------------------------------------------

_MONTHS = {
    name: n
    for n, names in enumerate(
        (
            "january jan januar janvier",
            "february feb februar février",
            "march mar märz mars",
            "april apr avril",
            "may mai",
            "june jun juni juin",
            "july jul juli juillet",
            "august aug août",
            "september sep sept septembre",
            "october oct oktober okt octobre",
            "november nov novembre",
            "december dec dezember dez décembre",
        ),
        1,
    )
    for name in names.split()
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(
    r"(?<![\w/.-])(?:(?P<iso>(?P<y1>\d{4})[-/.](?P<m1>\d{1,2})[-/.](?P<d1>\d{1,2}))"
    rf"|(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\.?\s*(?:of\s+)?-?(?P<m2>{_MONTH})\b\.?,?\s*-?(?P<y2>\d{{4}})"
    rf"|(?P<m3>{_MONTH})\b\.?\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y3>\d{{4}})"
    r"|(?P<d4>\d{1,2})\.\s?(?P<m4>\d{1,2})\.\s?(?P<y4>\d{4}|\d{2}(?!\d))"
    r"|(?P<a>\d{1,2})(?P<mark>[/-])(?P<b>\d{1,2})(?P=mark)(?P<y5>\d{4}|\d{2}(?!\d)))(?![\w/-])",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?<![\w:.,])(\d{1,2})(?:[:.](\d{2}))(?::\d{2})?(?:\s?([ap])\.?m\b\.?)?(?![\d:]|[.,]\d)",
    re.IGNORECASE,
)


def day_first(text: str) -> bool | None:
    """Whether a document writes the day of 03/04/2025 first; None where it does not show it."""
    shown = set()
    for match in _DATE.finditer(text):
        if match["a"]:
            first, second = int(match["a"]), int(match["b"])
            if first > 12 >= second:
                shown.add(True)
            if second > 12 >= first:
                shown.add(False)
    if re.search(r"\bdd[/-]mm[/-]yy", text, re.IGNORECASE):
        shown.add(True)
    if re.search(r"\bmm[/-]dd[/-]yy", text, re.IGNORECASE):
        shown.add(False)
    return shown.pop() if len(shown) == 1 else None


def dates(text: str, *, day_first: bool | None = None) -> Iterator[Value]:
    """The dates of a text as ISO 8601, in order.

    Those whose day and month could be exchanged only where `day_first` says which is first.
    """
    for match in _DATE.finditer(text):
        year, month, day = _parts(match, day_first)
        try:
            found = dt.date(year, month, day)
        except ValueError:
            continue
        yield Value(found.isoformat(), match.start(), match.end())


def _parts(match: re.Match[str], day_first: bool | None) -> tuple[int, int, int]:
    for n in "1", "2", "3", "4":
        if match[f"y{n}"]:
            month = match[f"m{n}"]
            return (
                _year(match[f"y{n}"]),
                int(month) if month.isdigit() else _MONTHS[month.lower()],
                int(match[f"d{n}"]),
            )
    first, second = int(match["a"]), int(match["b"])
    if first > 12 or (second <= 12 and (day_first or first == second)):
        return _year(match["y5"]), second, first
    if second > 12 or day_first is False:
        return _year(match["y5"]), first, second
    return 0, 0, 0


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def times(text: str) -> Iterator[Value]:
    """Times of the day, as HH:MM."""
    for match in _TIME.finditer(text):
        hour = int(match[1])
        if match[3]:
            hour = hour % 12 + (12 if match[3].lower() == "p" else 0)
        if hour < 24 and int(match[2]) < 60 and (":" in match[0] or match[3]):
            yield Value(f"{hour:02}:{match[2]}", match.start(), match.end())


EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

# --- yes and no, choices -----------------------------------------------------------------

NEGATIVE = re.compile(
    r"(?<![\w-])(?:not|no|never|none|cannot|neither|nor|without|forbidden|prohibited|excluded|excl|"
    r"refused|denied|rejected|declined|impossible|unsupported|disabled|fails?|false|outstanding|"
    r"excludes|except|banned)\b|n['’]t\b|^[✗✘☐x]$",
    re.IGNORECASE,
)
_POSITIVE = re.compile(
    r"^\W*(?:yes|true|✓|✔|☑|included|available|possible|supported|allowed|permitted|approved|up to|"
    r"optional|paid|done)\b|^[✓✔☑]",
    re.IGNORECASE,
)
UNCERTAIN = re.compile(
    r"\?|\b(?:if|whether|unless|may be|might|could be|to be decided|tbd|tba|pending)\b",
    re.IGNORECASE,
)


def polarity(value: str) -> bool | None:
    """Yes or no as the value of a label; None where it says neither."""
    if UNCERTAIN.search(value):
        return None
    if NEGATIVE.search(value) or re.match(
        r"\W*(?:un|non-?|in)(?:paid|available|waterproof)", value
    ):
        return False
    return True if _POSITIVE.search(value) else None


def _forms(text: str) -> list[str]:
    return [stem(w, "english") for w in re.findall(r"[^\W_]+", text.lower())]


def choices_in(text: str, choices: Sequence[Any]) -> list[Value]:
    """The choices whose words stand in the text, those that it denies left out."""
    found = []
    tokens = [
        (stem(m[0].lower(), "english"), m.start(), m.end()) for m in re.finditer(r"[^\W_]+", text)
    ]
    stems = [token for token, _, _ in tokens]
    for choice in choices:
        wanted = _forms(str(choice))
        for at in range(len(stems) - len(wanted) + 1):
            if wanted and stems[at : at + len(wanted)] == wanted:
                start, end = tokens[at][1], tokens[at + len(wanted) - 1][2]
                if not NEGATIVE.search(text[max(0, start - 12) : start]):
                    found.append(Value(choice, start, end))
                break
        else:
            for match in re.finditer(r"US\$|[€$£¥%]", text):
                if unit_of(match[0]) == str(choice).upper():
                    found.append(Value(choice, match.start(), match.end()))
                    break
    return found
