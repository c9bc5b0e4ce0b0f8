"""Text as such: where sentences end, stems of words, what of it may be shown."""

from ragcore.text.seconds import clock, second_of, stamp
from ragcore.text.sentences import sentence_spans
from ragcore.text.shown import (
    check_shown,
    visible_json,
    visible_lines,
    visible_name,
)
from ragcore.text.stems import stem

__all__ = [
    "check_shown",
    "clock",
    "second_of",
    "sentence_spans",
    "stamp",
    "stem",
    "visible_json",
    "visible_lines",
    "visible_name",
]
