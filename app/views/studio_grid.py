"""Studio: a grid of images over any two settings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from ragcore.errors import UsageError
from ragcore.library import GuidanceRequest, ImagineRequest

CELLS = 36
Change = Callable[[ImagineRequest, str], ImagineRequest]
_NOTHING = "nothing"


def _field(name: str, kind: Callable[[str], Any]) -> Change:
    return lambda request, text: replace(request, **{name: kind(text)})


def _guide(kind: str, scale: bool) -> Change:
    """Another scale, or another class or words, of the guidance of that kind."""

    def change(request: ImagineRequest, text: str) -> ImagineRequest:
        others = [one for one in request.guidance if one.kind != kind]
        old = next((one for one in request.guidance if one.kind == kind), None)
        if scale and old is None:
            raise UsageError(f"choose guidance towards {_WHAT[kind]} first: the grid varies it")
        if scale:
            assert old is not None
            new = replace(old, scale=float(text))
        else:
            new = GuidanceRequest(kind, text, old.scale if old else 3.0)
        return replace(request, guidance=[*others, new])

    return change


def _control(number: int, name: str) -> Change:
    def change(request: ImagineRequest, text: str) -> ImagineRequest:
        controls = list(request.controls)
        if number >= len(controls):
            raise UsageError(f"give the image of control {number + 1} first: the grid varies it")
        controls[number] = replace(controls[number], **{name: float(text)})
        return replace(request, controls=controls)

    return change


def _lora(request: ImagineRequest, text: str) -> ImagineRequest:
    if not request.loras:
        raise UsageError("put a LoRA on first: the grid varies its weight")
    first, *others = request.loras
    return replace(request, loras=[replace(first, weight=float(text)), *others])


def _yes(text: str) -> bool:
    known = {"yes": True, "no": False, "1": True, "0": False}
    if text.lower() not in known:
        raise UsageError(f"write yes or no, not {text!r}")
    return known[text.lower()]


_WHAT = {"class": "a class", "text": "words"}
AXES: Mapping[str, Change] = {
    "steps": _field("steps", int),
    "weight of the words": _field("scale", float),
    "seed": _field("seed", int),
    "sampler": _field("sampler", str),
    "style": _field("style", lambda text: "" if text == "any" else text),
    "size": _field("size", int),
    "words": _field("prompt", str),
    "but not": _field("negative", str),
    "strength": _field("strength", float),
    "class": _guide("class", scale=False),
    "strength of the class": _guide("class", scale=True),
    "guiding words": _guide("text", scale=False),
    "strength of the guiding words": _guide("text", scale=True),
    "weight of control 1": _control(0, "weight"),
    "weight of control 2": _control(1, "weight"),
    "start of control 1": _control(0, "start"),
    "end of control 1": _control(0, "end"),
    "without words": _field("guess", _yes),
    "weight of the LoRA": _lora,
}


def form() -> None:
    """The widgets: which setting goes across, which down, and their values."""
    one, two = st.columns(2)
    for key, value in {
        "studio-x": "steps", "studio-x-values": "5, 10, 25",
        "studio-y": "weight of the words", "studio-y-values": "1, 3, 8",
    }.items():  # fmt: skip
        st.session_state.setdefault(key, value)
    how = {"persist_state": "session"}
    note = "With commas between; with semicolons where a value has a comma in it."
    one.selectbox("Across", list(AXES), key="studio-x", **how)
    one.text_input("Values", key="studio-x-values", help=note, **how)
    two.selectbox("Down", [_NOTHING, *AXES], key="studio-y", **how)
    two.text_input("Values", key="studio-y-values", help=note, **how)


def requests(base: ImagineRequest) -> tuple[list[ImagineRequest], list[str], int]:
    """(what to make, row by row; a label for each; how many are in a row).

    Raises UsageError for values that cannot be, or too many.
    """
    across, down = _values("x"), _values("y")
    if len(across) * len(down) > CELLS:
        raise UsageError(f"a grid has at most {CELLS} images: give fewer values")
    base = replace(base, count=1)
    found, labels = [], []
    for y, x in itertools.product(down, across):
        request = base
        for name, text in (x, y):
            request = _changed(request, name, text)
        found.append(request)
        labels.append(", ".join(f"{name} {text}" for name, text in (x, y) if name != _NOTHING))
    return found, labels, len(across)


def _changed(request: ImagineRequest, name: str, text: str) -> ImagineRequest:
    if name == _NOTHING:
        return request
    try:
        return AXES[name](request, text)
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the values of {name} must be numbers, not {text!r}") from None


def _values(letter: str) -> list[tuple[str, str]]:
    name = str(st.session_state[f"studio-{letter}"])
    if name == _NOTHING:
        return [(name, "")]
    text = str(st.session_state[f"studio-{letter}-values"])
    values = [one.strip() for one in text.split(";" if ";" in text else ",")]
    if not any(values):
        raise UsageError(f"give the values of {name}, with commas between")
    return [(name, value) for value in values if value]
