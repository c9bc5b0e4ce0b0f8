"""Labels of one's own for the images: typed, and chosen among at once; nothing is trained."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import streamlit as st

from ragcore.types import Labelled

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
    names = [name.strip() for name in re.split(r"[,;\n]", st.session_state["labels"] or "")]
    names = [name for name in names if name]
    if not names:
        st.caption(f"Type at least two, such as: {_EXAMPLE}.")
        return
    with errors_as_sentences():
        with st.spinner("Looking at the images …"):
            found = library().label(names, collection=collection, top=3)
        _groups(names, found, st.session_state["label-least"])


def _groups(names: list[str], found: Sequence[Labelled], least: float) -> None:
    """A grid for each label, the surest images first; what fits none well comes last."""
    groups: dict[str, Sequence[Labelled]] = defaultdict(list)
    for one in found:
        best = one.labels[0]
        groups[best.name if best.probability >= least else ""].append(one)
    counts = Counter({name: len(groups[name]) for name in names if groups.get(name)})
    unsure = len(groups.get("", []))
    listed = [f"{plain(name)} {count:,}" for name, count in counts.most_common()]
    st.markdown(" · ".join([*listed, *([f"unsure {unsure:,}"] if unsure else [])]))
    for name, _ in counts.most_common():
        _grid(name, plain(name), groups[name])
    if unsure:
        _grid("", "Not sure", groups[""])


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
