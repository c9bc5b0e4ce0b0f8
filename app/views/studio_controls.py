"""Studio: the images that are followed: from a file, from a collection, or drawn here."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import streamlit as st

from ragcore.errors import RagcoreError, UsageError
from ragcore.library import CONDITIONS, ControlRequest

from ..components import collections, upload
from ..components.chips import Chip, set_state
from ..components.sketch import drawn, sketch
from ..components.text import plain, shorten
from ..state import errors_as_sentences, library, set_later

PLACES = 3  # for controls on the page
_FILE, _COLLECTION, _DRAW, _GIVEN = "A file", "The collection", "Draw it", "From the recipe"
_NEWEST = 60  # images of a collection that are offered
# Pixels that a line is wide at first, on an image 64 pixels wide.
_PENS = {"scribble": 3, "canny": 1, "hough": 1, "lineart": 1, "pose": 2}


def show() -> None:
    """Draw the places for controls: those in use and one more."""
    kinds = library().diffusion.model.control_kinds
    for number in range(_shown()):
        with st.container(border=number > 0), errors_as_sentences():
            _place(number, kinds)
    st.checkbox("Without words (guess)", key="studio-guess", persist_state="session")
    _where_conditions_come_from(kinds)


def requests() -> list[ControlRequest]:
    """What the places say. Raises UsageError where an image is missing."""
    found = []
    for number in range(PLACES):
        kind = _kind(number)
        if kind == "none":
            continue
        image, ready = _image(number)
        if image is None:
            raise UsageError(f"give the image for {_title(kind).lower()}")
        start, end = st.session_state[f"studio-span-{number}"]
        weight = st.session_state[f"studio-weight-{number}"]
        found.append(ControlRequest(kind, image, weight, start, end, ready))
    return found


def restore(controls: Sequence[ControlRequest]) -> list[str]:
    """Put a recipe's controls into the places at the next run; what has none is returned."""
    kinds = library().diffusion.model.control_kinds
    missing = [control for control in controls if control.kind not in kinds]
    controls = [control for control in controls if control.kind in kinds]
    missing += controls[PLACES:]
    for number in range(PLACES):
        control = controls[number] if number < len(controls) else None
        set_later(**{f"studio-control-{number}": control.kind if control else "none"})
        if control is None:
            continue
        assert isinstance(control.image, bytes)  # a recipe has its conditions in it
        st.session_state[_given_key(number)] = control.image
        set_later(
            **{
                f"studio-source-{number}": _GIVEN,
                f"studio-weight-{number}": control.weight,
                f"studio-span-{number}": (control.start, control.end),
            }
        )
    return [f"a control by {_title(control.kind).lower()}" for control in missing]


def follow_image(image_id: int) -> None:
    """At the next run, have the first free place follow an image of a collection.

    The other settings stay as they are. Raises UsageError if the model follows no images.
    """
    _follow({"studio-source-{}": _COLLECTION, "studio-like-{}": image_id})


def follow_image_file(name: str, image: bytes) -> None:
    """The same for any image, as if its file had been dropped."""
    number = _follow({"studio-source-{}": _FILE})
    upload.put(f"studio-image-{number}", name, image)


def _follow(values: dict[str, Any]) -> int:
    kinds = library().diffusion.model.control_kinds
    if not kinds:
        raise UsageError("this model has no ControlNet, and follows no images")
    free = [number for number in range(PLACES) if _kind(number) == "none"]
    number = free[0] if free else PLACES - 1
    taken = {_kind(other) for other in range(PLACES) if other != number}
    kind = next((kind for kind in kinds if kind not in taken), kinds[0])
    set_later(**{"studio-view": "Make", f"studio-control-{number}": kind})
    set_later(**{f"studio-ready-{number}": False})
    set_later(**{name.format(number): value for name, value in values.items()})
    return number


def chips() -> Iterator[Chip]:
    """What is followed."""
    if not library().diffusion.model.control_kinds:
        return
    for number in range(PLACES):
        if _kind(number) != "none":
            weight = st.session_state.get(f"studio-weight-{number}", 1.0)
            label = f"Follows: {_title(_kind(number))} · {weight:g}"
            key = f"studio-control-{number}"
            yield Chip(key, label, set_state, (key, "none"))
    if st.session_state.get("studio-guess"):
        yield Chip("studio-guess", "Without words (guess)", set_state, ("studio-guess", False))


def in_use() -> bool:
    return any(_kind(number) != "none" for number in range(PLACES))


def _shown() -> int:
    used = [number for number in range(PLACES) if _kind(number) != "none"]
    return min(PLACES, max(used, default=-1) + 2)


def _kind(number: int) -> str:
    return str(st.session_state.get(f"studio-control-{number}") or "none")


def _title(kind: str) -> str:
    return CONDITIONS[kind].title if kind in CONDITIONS else kind


def _given_key(number: int) -> str:
    return f"_studio-given-{number}"


def _place(number: int, kinds: list[str]) -> None:
    """One control: its kind, its image, what is taken from it, when and how much it counts."""
    kind = st.selectbox(
        "And" if number else "Condition", ["none", *kinds], key=f"studio-control-{number}",
        format_func=lambda one: "none" if one == "none" else _title(one),
        persist_state="session",
    )  # fmt: skip
    if kind == "none":
        return
    sources = [_FILE, _COLLECTION, _DRAW]
    sources += [_GIVEN] if _given_key(number) in st.session_state else []
    key = f"studio-source-{number}"
    if st.session_state.get(key) not in sources:
        st.session_state[key] = _FILE
    source = st.segmented_control(
        "Image from", sources, key=key, required=True, persist_state="session"
    )
    if source == _FILE:
        upload.image("Image", f"studio-image-{number}", hidden=True)
        st.checkbox(
            "It is a condition already", key=f"studio-ready-{number}", persist_state="session"
        )
    elif source == _COLLECTION:
        _from_collection(number)
    elif source == _DRAW:
        sketch(_sketch_key(number), **_how(kind))
    _strength(number)
    image, ready = _image(number)
    if image is not None and source != _DRAW:
        shown = image if ready else library().diffusion.condition(kind, image)
        st.image(io.BytesIO(shown), width=160, caption="What is followed", alt="The condition")


def _strength(number: int) -> None:
    weight, span = f"studio-weight-{number}", f"studio-span-{number}"
    st.session_state.setdefault(weight, 1.0)
    st.session_state.setdefault(span, (0.0, 1.0))
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    left.number_input("Weight", 0.0, 10.0, step=0.1, key=weight, persist_state="session")
    right.slider(
        "From and until (part of the steps)", 0.0, 1.0, step=0.05, key=span,
        persist_state="session",
    )  # fmt: skip


def _how(kind: str) -> dict[str, Any]:
    """How a condition of this kind is drawn."""
    model = library().diffusion.model
    side = int(st.session_state.get("studio-size") or model.size)
    pen = 8 if kind == "segmentation" else _PENS.get(kind, 3)
    return {
        "side": side,
        "regions": kind in ("segmentation", "depth", "normals"),
        "pen": max(1, round(pen * side / 64)),
    }


def _sketch_key(number: int) -> str:
    regions = _how(_kind(number))["regions"]
    return f"studio-sketch-{number}-{'regions' if regions else 'lines'}"


def _from_collection(number: int) -> None:
    """Choose among the newest images of the collection at hand, and one that was sent here."""
    known, name = collections.names(), st.session_state.get(collections.KEY)
    if not known:
        st.caption("There is no collection yet.")
        return
    chosen = name if name in known else known[0]
    images = {info.id: info.document for info in library().images.list(chosen, limit=_NEWEST)}
    key = f"studio-like-{number}"
    sent = st.session_state.get(key)
    if sent and sent not in images:
        try:
            images = {sent: library().images.get(sent).document, **images}
        except RagcoreError:  # it was deleted
            st.session_state[key] = 0
    st.selectbox(
        f"Image of {chosen}", [0, *images], key=key, persist_state="session",
        format_func=lambda id_: shorten(images.get(id_, "none"), 60),
        help="Or search, and choose *Use as control* under an image.",
    )  # fmt: skip
    if like := st.session_state.get(key):
        st.image(
            library().images.thumbnail(like),
            width=96,
            caption=plain(images.get(like, "")),
            alt="The image that is followed",
        )


def _image(number: int) -> tuple[bytes | None, bool]:
    """(what a place has, whether it is a condition already)."""
    source = st.session_state.get(f"studio-source-{number}", _FILE)
    if source == _DRAW:
        return drawn(_sketch_key(number)), True
    if source == _GIVEN:
        return st.session_state.get(_given_key(number)), True
    if source == _COLLECTION:
        like = st.session_state.get(f"studio-like-{number}")
        return (library().images.read(like) if like else None), False
    ready = bool(st.session_state.get(f"studio-ready-{number}"))
    return upload.sent_file(f"studio-image-{number}"), ready


def _where_conditions_come_from(kinds: list[str]) -> None:
    makers = library().diffusion.model.condition_models
    words = {
        "here": "made here from an image, or drawn",
        "hub": "a model that the profile names, drawn, or your own file",
    }
    rows = [
        {
            "Condition": about.title,
            "From": f"made by {makers[kind]}" if kind in makers else words[about.source],
            "In this model": "yes" if kind in kinds else "no",
        }
        for kind, about in CONDITIONS.items()
    ]
    with st.popover("Where conditions come from"):
        st.dataframe(rows, hide_index=True)
