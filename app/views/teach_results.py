"""What a training came to: the table, the confusion, mistakes, labels to look at again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ..components.text import plain, shorten, size_name, time_name
from ..state import library
from . import teach_label

if TYPE_CHECKING:
    from .teach import Lesson

_SHOWN = 24
_DROPPED = "_teach_right"


def show(lesson: Lesson) -> None:
    if not lesson.trained:
        st.caption("There are no results yet: label examples, then train.")
        return
    results = library().classifiers.results(lesson.name)
    card = library().classifiers.get(lesson.name)
    scores, folder = card.scores, Path(results["folder"])
    with st.container(horizontal=True, gap="large"):
        st.metric("Right of ten", f"{10 * scores.get('accuracy', 0):.1f}", width="content")
        st.metric("Macro F1", f"{scores.get('macro_f1', 0):.2f}", width="content")
        st.metric("Measured on", f"{scores.get('tested', 0):,}", width="content")
    low, high = scores.get("low", 0), scores.get("high", 1)
    st.caption(
        f"Accuracy {scores.get('accuracy', 0):.2f}, with 95 % certainty between {low:.2f} and "
        f"{high:.2f}, on examples that it has not learned from. Kept: {card.way}. "
        "The license of the data is not known: it is yours to look after."
    )
    for note in results.get("notes", []):
        st.caption(f":material/info: {plain(note[:1].upper() + note[1:])}.")
    st.dataframe(table(results.get("rows", [])), hide_index=True, width="stretch")
    _again(lesson, results.get("suspicious", []))
    for title, name in (
        ("What is taken for what", "confusion.png"),
        ("The surest mistakes", "mistakes.png"),
        ("Accuracy by number of labels", "curve.png"),
        ("How far its confidence can be believed", "calibration.png"),
    ):
        if (folder / name).is_file():
            with st.expander(title, expanded=name == "confusion.png"):
                st.image((folder / name).read_bytes(), width=620, alt=title)


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ways side by side, as people read it."""
    return [
        {
            "Way": row["way"],
            "Labels a class": f"{row['per_class']:g}" + ("" if row["shots"] else " (all)"),
            "Accuracy": f"{row['accuracy']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
            "Macro F1": f"{row['macro_f1']:.2f}",
            "Trained weights": f"{row['trained_weights']:,}",
            "Time": time_name(row["seconds"]),
            "Memory": size_name(row["peak_bytes"]),
            "On disk": size_name(row["bytes"]) if row["bytes"] else "",
        }
        for row in rows
    ]


def doubtful(
    lesson: Lesson, found: list[dict[str, Any]], right: set[tuple[str, int]]
) -> list[dict[str, Any]]:
    """Labels that look wrong, still stand as they were trained on, and were not found `right`."""
    given = {
        one.item_id: one.label
        for one in library().labels.given(lesson.name, collection=lesson.collection)
        if one.kind == lesson.kind
    }
    return [
        one for one in found
        if given.get(one["item"]) == one["label"] and (lesson.name, one["item"]) not in right
    ]  # fmt: skip


def _again(lesson: Lesson, found: list[dict[str, Any]]) -> None:
    """A card for each doubtful label: change it, or say that it is right."""
    right = st.session_state.setdefault(_DROPPED, set())
    left = doubtful(lesson, found, right)
    if not left:
        return
    st.subheader(f"Labels to look at again ({len(left)})", anchor=False)
    shown = left[:_SHOWN]
    thumbnails = (
        library().images.thumbnails([one["item"] for one in shown])
        if lesson.kind == "image"
        else {}
    )
    grid = st.grid(min_column_width=170, gap="small")
    for one in shown:
        with grid.cell(), st.container(key=f"pic-again-{one['item']}"):
            if one["item"] in thumbnails:
                st.image(
                    thumbnails[one["item"]],
                    width="stretch",
                    alt=f"Labelled {one['label']}, perhaps {one['proposed']}",
                )
            else:
                st.caption(plain(shorten(one["text"], 160)))
            st.caption(f"labelled **{plain(one['label'])}**, {one['probability']:.0%} sure it is")
            st.button(
                plain(one["proposed"]), key=f"again-{one['item']}", icon=":material/swap_horiz:",
                width="stretch", on_click=teach_label.give,
                args=(lesson, [one["item"]], one["proposed"]),
            )  # fmt: skip
            st.button(
                "The label is right", key=f"right-{one['item']}", width="stretch",
                on_click=right.add, args=((lesson.name, one["item"]),),
            )  # fmt: skip
