"""The widgets of the filters, as the library's table of filters describes them.

What is chosen stands in the address by the name of the filter's argument: `?type=…`,
`?modified_after=…`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import streamlit as st

from ragcore.library import FILTERS, Filter, FilterField

from ..state import library
from .chips import Chip
from .text import shorten, type_name

_NAMES: dict[str, Callable[[str], str]] = {"type": type_name}


def sidebar(*names: str) -> None:
    """A widget for each filter that has one, and something to choose from in the collections."""
    facets = _facets(names)
    for field in FILTERS:
        if field.widget == "choice":
            _choice(field, facets[field.name])
        elif field.widget == "text":
            st.text_input(
                field.label, key=field.name, bind="query-params", placeholder="any", max_chars=200
            )
        elif field.widget == "dates" and _is_of_use(field, facets):
            st.caption(field.label)
            for column, attribute, side in zip(
                st.columns(2), _bounds(field), ("From", "Until"), strict=True
            ):
                column.date_input(
                    side, value=None, key=attribute, bind="query-params", format="YYYY-MM-DD",
                    min_value=date(1900, 1, 1), max_value=date(2099, 12, 31),
                )  # fmt: skip
        elif field.widget == "minimum" and _is_of_use(field, facets):
            least, most, step = field.type.limits
            st.slider(
                f"{field.label}, at least", least, most, least, step,
                key=field.attribute(">="), bind="query-params",
                help=f"{field.help[:1].upper()}{field.help[1:]}.".replace("`", ""),
            )  # fmt: skip


def _facets(names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts by value of each filter, over the collections."""
    found: dict[str, dict[str, int]] = {}
    for name in names:
        for field, counts in library().documents.facets(name).items():
            every = found.setdefault(field, {})
            for value, number in counts.items():
                every[value] = every.get(value, 0) + number
    return found


def _is_of_use(field: FilterField, facets: dict[str, dict[str, int]]) -> bool:
    """Whether what the filter is about is there, or chosen."""
    if field.part_of:
        return bool(st.session_state.get(field.part_of))
    return field.facet is None or bool(facets[field.name])


def chosen() -> Filter:
    """What the widgets are set to."""
    values: dict[str, Any] = {}
    for key in _keys():
        value = st.session_state.get(key)
        if value not in (None, "", 0):
            values[key] = value.strip() if isinstance(value, str) else value
    for field in FILTERS:
        if field.part_of and not values.get(field.part_of):
            values.pop(field.name, None)  # its widget is not shown
    return Filter(**values)


def chips() -> Iterator[Chip]:
    """A chip for each condition that is set."""
    values = chosen()
    for field in FILTERS:
        for key, operator in field.keys.items():
            if key not in values:
                continue
            value = values[key]
            shown = (
                _NAMES[field.name](value) if field.name in _NAMES else field.shown.get(value, value)
            )
            words = {">=": " from", "<=": " until"}.get(operator, ":")
            label = f"{field.label}{words} {shown}"
            yield Chip(key, label, clear, (field.attribute(operator),))


def clear(*keys: str) -> None:
    """Set these widgets, or all, to nothing; to be called before they are shown."""
    for key in keys or _keys():
        value = st.session_state.get(key)
        empty: Any = "" if _is_text(key) else None
        if isinstance(value, int | float):
            empty = type(value)(0)
        if value != empty:
            st.session_state[key] = empty


def _is_text(key: str) -> bool:
    return any(field.name == key and field.widget == "text" for field in FILTERS)


def _keys() -> Iterator[str]:
    for field in FILTERS:
        if field.widget == "dates":
            yield from _bounds(field)
        elif field.widget == "minimum":
            yield field.attribute(">=")
        elif field.widget != "none":
            yield field.name


def _bounds(field: FilterField) -> tuple[str, str]:
    return field.attribute(">="), field.attribute("<=")


def _choice(field: FilterField, counts: dict[str, int]) -> None:
    """A box of the values that there are, with how many documents or items have each.

    The value itself is put into the address, not what is shown of it.
    """
    key, seen = field.name, f"_seen_{field.name}"
    given = st.query_params.get(key)
    if key not in st.session_state or given != st.session_state.get(seen):
        st.session_state[key] = given  # another address: a link, Back or Forward
    if st.session_state[key] not in (None, *counts):
        st.session_state[key] = None
    picked = None
    if counts:
        name = _NAMES.get(key, lambda value: field.shown.get(value, shorten(value[-40:], 40)))
        picked = st.selectbox(
            field.label,
            list(counts),
            index=None,
            key=key,
            persist_state="session",
            placeholder="any",
            format_func=lambda value: f"{name(value)} ({counts.get(value, 0):,})",
        )
    if picked is None:
        st.query_params.pop(key, None)
    elif given != picked:
        st.query_params[key] = picked
    st.session_state[seen] = picked
