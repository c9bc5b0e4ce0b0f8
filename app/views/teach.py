"""The page Classifiers: classes of one's own, labels given by hand, a classifier, what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass

import streamlit as st

from ragcore.errors import UsageError
from ragcore.library import Statistics
from ragcore.types import HitKind

from ..components import collections
from ..components.text import count_name, plain
from ..state import errors_as_sentences, library, say_later, set_later
from . import teach_label, teach_results, teach_train

_VIEWS = ("Label", "Train", "Results", "Use")
_KINDS: dict[str, HitKind] = {"Images": "image", "Passages": "passage"}


@dataclass(frozen=True, slots=True)
class Lesson:
    """A classifier to be trained in a collection: its name, what it is about, its classes."""

    name: str
    kind: HitKind
    classes: tuple[str, ...]
    collection: str
    trained: bool


def show() -> None:
    collection = collections.choose()
    if collection is None:
        collections.empty_state()
        return
    counts = library().documents.statistics(collection)
    if not counts.images and not counts.passages:
        collections.empty_state()
        return
    lessons = _lessons(collection)
    if not lessons:
        _welcome(collection, counts)
        return
    lesson = _choose(lessons, collection, counts)
    view = st.segmented_control(
        "View", _VIEWS, required=True, key="teach-view", bind="query-params",
        default=None if "teach-view" in st.session_state else "Label",
        label_visibility="collapsed",
    )  # fmt: skip
    with errors_as_sentences():
        if view == "Train":
            teach_train.show(lesson)
        elif view == "Results":
            teach_results.show(lesson)
        elif view == "Use":
            teach_train.use(lesson)
        else:
            teach_label.show(lesson)


def _lessons(collection: str) -> dict[str, Lesson]:
    """Classifiers of this collection, then classifiers that were trained elsewhere."""
    cards = {card.name: card for card in library().classifiers.list()}
    found = {
        name: Lesson(name, kind, tuple(labels), collection, name in cards)
        for name, (kind, labels) in library().labels.classes(collection).items()
    }
    for name, card in cards.items():
        kind: HitKind = "image" if card.modality == "image" else "passage"
        found.setdefault(name, Lesson(name, kind, (), collection, True))
    return found


def _choose(lessons: dict[str, Lesson], collection: str, counts: Statistics) -> Lesson:
    if st.session_state.get("teach") not in (None, *lessons):
        del st.session_state["teach"]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.selectbox(
            "Categories", list(lessons), key="teach", bind="query-params", width=220
        )
        with st.popover("New", icon=":material/add:"):
            _form(collection, counts)
    return lessons[str(name)]


def _welcome(collection: str, counts: Statistics) -> None:
    st.subheader("Train a classifier of your own categories", anchor=False)
    st.markdown(
        "Name a few classes, tick some examples of each, and everything else in "
        f"**{plain(collection)}** is labelled by what it learned from them. Labels become "
        "filters of the search. Nothing leaves this computer."
    )
    _form(collection, counts)


def _form(collection: str, counts: Statistics) -> None:
    """A name, what it is about, the classes."""
    kinds = [
        name for name, kind in _KINDS.items()
        if (counts.images if kind == "image" else counts.passages)
    ]  # fmt: skip
    with st.form("teach-new", border=False):
        name = st.text_input("Name", key="teach-name", placeholder="pets", max_chars=60)
        kind = st.segmented_control(
            "Of what", kinds, default=kinds[0], required=True, key="teach-kind"
        )
        text = st.text_area(
            "Classes", key="teach-classes", placeholder="cat, dog, other", max_chars=20_000,
            help="Two or more, separated by commas or lines. A class such as other takes what "
            "belongs to none of them.",
        )  # fmt: skip
        made = st.form_submit_button("Begin", type="primary", icon=":material/school:")
    if made:
        with errors_as_sentences():
            begin(collection, name or "", _KINDS[str(kind)], text or "")


def begin(collection: str, name: str, kind: HitKind, text: str) -> None:
    """Make the classes, and open them."""
    name = " ".join(name.split())
    if name in library().labels.classes(collection):
        raise UsageError(f"there is already a classifier called {name!r}: choose another name")
    classes = split_classes(text)
    if len(classes) < 2:
        raise UsageError("give two classes or more, such as: cat, dog, other")
    library().labels.set_classes(name, kind, classes, collection=collection)
    set_later(**{"teach": name, "teach-view": "Label"})
    say_later(f"Now tick examples of {count_name(len(classes), 'class', 'classes')}.")
    st.rerun()


def split_classes(text: str) -> list[str]:
    """Names between commas, semicolons or line ends."""
    return [name.strip() for name in re.split(r"[,;\n]", text) if name.strip()]
