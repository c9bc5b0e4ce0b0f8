"""How results look in a notebook (Jupyter): HTML of hits and answers, everything escaped."""

from __future__ import annotations

from html import escape
from typing import Any

_MOST_TEXT = 400  # characters of a passage
_SMALL = "color:#666;font-size:85%"


class HtmlResult:
    """A search's result: notebooks show a table of its hits."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        hits: Any = getattr(self, "hits", ())
        if not hits:
            return "<p><em>nothing was found</em></p>"
        return f"<table>{''.join(map(_row, hits))}</table>"


class HtmlAnswer:
    """An answer: notebooks show its text, then its quotes with their places."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return _answer(self)


def _row(hit: Any) -> str:
    where = escape(hit.document) + (f", page {hit.page}" if hit.page else "")
    heading = f" · {escape(hit.heading)}" if hit.heading else ""
    text = escape(hit.text[:_MOST_TEXT]) + (" …" if len(hit.text) > _MOST_TEXT else "")
    return (
        f'<tr><td style="vertical-align:top">{hit.score:.2f}</td>'
        f'<td style="text-align:left"><b>{where}</b><span style="{_SMALL}">{heading}</span><br>'
        f"{text}</td></tr>"
    )


def _answer(answer: Any) -> str:
    text = escape(answer.text).replace("\n", "<br>")
    if answer.abstained:
        return f"<p><em>{text}</em></p>"
    quotes = "".join(map(_quote, answer.citations))
    return f"<p>{text}</p>" + (f"<ol>{quotes}</ol>" if quotes else "")


def _quote(citation: Any) -> str:
    where = escape(citation.document) + (f", page {citation.page}" if citation.page else "")
    return (
        f'<li value="{citation.n}"><q>{escape(citation.quote)}</q> '
        f'<span style="{_SMALL}">{where}</span></li>'
    )
