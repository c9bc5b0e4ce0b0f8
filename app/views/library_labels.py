"""Labels of one's own for the images: typed, and chosen among at once; nothing is trained."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import streamlit as st

from ragcore.types import NONE_OF_THESE, Labelled

from ..components import results
from ..components.text import count_name, plain
from ..state import errors_as_sentences, library

_SHOWN = 24
_EXAMPLE = "dog, cat, person, car, food, building, landscape"


def show(collection: str) -> None:
    images = library().documents.statistics(collection).images
    if not images:
        st.caption("There are no images here to label.")
        return
    st.text_area(
        "Labels to choose between",
        key="labels",
        bind="query-params",
        placeholder=_EXAMPLE,
        help="Any words: separate them by commas or lines. Each image gets the one that fits "
        "best among these.",
        max_chars=20_000,
        height=90,
    )
    st.slider(
        "Least probability", 0.0, 1.0, 0.35, 0.05, key="label-least",
        help="Of ten labels given with 0.7, about seven are right. What is less sure than this "
        "stands at the end.",
    )  # fmt: skip
    none = st.toggle(
        "“None of these” is an answer", value=True, key="label-none",
        help="For images that show nothing of what you typed. Some that do get this answer, too.",
    )  # fmt: skip
    names = [name.strip() for name in re.split(r"[,;\n]", st.session_state["labels"] or "")]
    names = [name for name in names if name]
    if not names:
        st.caption(f"Type at least two, such as: {_EXAMPLE}.")
        return
    with errors_as_sentences():
        with st.spinner("Looking at the images …"):
            found = library().label(names, collection=collection, top=3, none=none)
        _groups(found, st.session_state["label-least"])


def _groups(found: Sequence[Labelled], least: float) -> None:
    """A grid for each label, the surest images first; what fits none well comes last."""
    groups: dict[str, Sequence[Labelled]] = defaultdict(list)
    for one in found:
        best = one.labels[0]
        groups[best.name if best.probability >= least else ""].append(one)
    last = (NONE_OF_THESE, "")
    names = sorted(groups, key=lambda name: (name in last, name == "", -len(groups[name])))
    wanted = _wanted({name: len(groups[name]) for name in names})
    for name in names:
        if wanted in (None, name):
            _grid(name, _title(name), groups[name])


def _wanted(counts: Mapping[str, int]) -> str | None:
    """The group that alone is shown; None for all of them."""
    key = "label-only"
    if st.session_state.get(key) not in (None, *counts):
        del st.session_state[key]
    chosen = st.pills(
        "How many of each; choose one to see it alone",
        list(counts),
        key=key,
        format_func=lambda name: f"{_title(name)} · {counts[name]:,}",
    )
    return None if chosen is None else str(chosen)


def _title(name: str) -> str:
    return plain(name[:1].upper() + name[1:] if name == NONE_OF_THESE else name) or "Not sure"


def _grid(name: str, title: str, found: Sequence[Labelled]) -> None:
    st.subheader(f"{title} ({count_name(len(found), 'image')})", anchor=False)
    key = f"label-{name}"
    shown = st.session_state.get(f"_{key}", _SHOWN)
    part = found[:shown]
    section = results.Section(
        [one.hit for one in part], notes={("image", one.hit.id): _fits(one) for one in part}
    )
    results.show(key, [section], density="comfortable")
    if len(found) > shown and st.button(
        "Show more", key=f"{key}-more", icon=":material/expand_more:"
    ):
        st.session_state[f"_{key}"] = shown + 2 * _SHOWN
        st.rerun()


def _fits(one: Labelled) -> str:
    return ", ".join(f"{fit.name} {fit.probability:.2f}" for fit in one.labels[:2])
