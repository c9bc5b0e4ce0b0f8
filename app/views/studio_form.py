"""The left side of the page Studio: everything that an image is asked by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import streamlit as st

from ragcore.errors import UsageError
from ragcore.library import (
    MOST_COUNT,
    MOST_GUIDANCE,
    MOST_SCALE,
    MOST_STEPS,
    SAMPLERS,
    GuidanceRequest,
    ImagineRequest,
)

from ..components import chips, upload
from ..components.chips import Chip
from ..components.text import plain, shorten
from ..state import errors_as_sentences, library, say_later, set_later
from . import studio_controls, studio_loras

_START = "studio-start"
_MOST_SEED = 2**53 - 1  # what a browser's numbers hold
_DEFAULTS: dict[str, Any] = {
    "studio-prompt": "",
    "studio-negative": "",
    "studio-style": "any",
    "studio-seed": 0,
    "studio-lock": False,
    "studio-steps": 25,
    "studio-size": 0,
    "studio-count": 1,
    "studio-scale": 3.0,
    "studio-sampler": SAMPLERS[0],
    "studio-strength": 0.6,
    "studio-guess": False,
    "studio-class": "none",
    "studio-class-scale": 3.0,
    "studio-words": "",
    "studio-words-scale": 3.0,
}
_DETAILS = {  # of "Steps, size, weight of the words"
    "studio-steps": "Steps",
    "studio-count": "Images",
    "studio-scale": "Weight of the words",
    "studio-size": "Size",
    "studio-sampler": "Sampler",
}
_KEPT = {"persist_state": "session"}  # while another page is looked at


def form() -> Any:
    """Draw all widgets, which `request` reads; return the container for what starts it."""
    for key, value in _DEFAULTS.items():
        st.session_state.setdefault(key, value)
    st.text_area(
        "What to make", key="studio-prompt", max_chars=2000, height=80, placeholder="red apple",
        **_KEPT,
    )  # fmt: skip
    styles = _styles()
    if styles:
        st.selectbox("Style", ["any", *styles], key="studio-style", **_KEPT)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.number_input(
        "Seed", 0, _MOST_SEED, key="studio-seed", help="The same seed makes the same image.",
        **_KEPT,
    )  # fmt: skip
    right.checkbox("Keep it", key="studio-lock", help="Otherwise a new one is drawn.", **_KEPT)
    chips.show([*_chips(), *studio_controls.chips(), *studio_loras.chips()], key="studio-chips")
    start = st.container()
    with st.expander("Steps, size, weight of the words"):
        _details()
    with st.expander("Guidance"):
        _guidance()
    if library().diffusion.model.control_kinds:
        with st.expander("Follow an image (ControlNet)", expanded=studio_controls.in_use()):
            studio_controls.show()
    studio_loras.show()
    with st.expander("Start from an image"):
        upload.image("Image", _START)
        st.slider(
            "Strength", 0.0, 1.0, step=0.05, key="studio-strength", **_KEPT
        )  # fmt: skip
    with st.expander("Settings of an image made here"), errors_as_sentences():
        _recipe()
    return start


def _chips() -> Iterator[Chip]:
    """What is in force in the folded sections, besides what is followed and put on."""
    state = st.session_state
    if negative := (state["studio-negative"] or "").strip():
        yield _chip(f"Exclude: {negative}", "studio-negative")
    for name, label in _DETAILS.items():
        if state[name] not in (_DEFAULTS[name], None):
            yield _chip(f"{label} {state[name]}", name)
    if state["studio-class"] != "none" and _classes():
        strength = state["studio-class-scale"]
        yield _chip(f"Towards {state['studio-class']} · {strength:g}", "studio-class")
    if words := (state["studio-words"] or "").strip():
        strength = state["studio-words-scale"]
        yield _chip(f"Towards “{shorten(words, 30)}” · {strength:g}", "studio-words")
    if file := upload.name_of(_START):
        label = f"Starts from {shorten(file, 30)} · {state['studio-strength']:g}"
        yield Chip(_START, label, upload.forget, (_START,))


def _chip(label: str, key: str) -> Chip:
    """A chip whose removal gives the widget `key` its default."""
    return Chip(key, label, chips.set_state, (key, _DEFAULTS[key]))


def request(seed: int, **changes: Any) -> ImagineRequest:
    """What the widgets say. Raises UsageError for what cannot be."""
    state = st.session_state
    style = str(state.get("studio-style", "any"))
    values: dict[str, Any] = {
        "prompt": (state.get("studio-prompt") or "").strip(),
        "negative": (state.get("studio-negative") or "").strip(),
        "style": "" if style == "any" else style,
        "seed": seed,
        "start_image": upload.sent_file(_START),
        "guidance": _guidance_requests(),
        "controls": studio_controls.requests(),
        "loras": studio_loras.requests(),
    }
    for name in ("steps", "size", "count", "scale", "sampler", "strength", "guess"):
        values[name] = state[f"studio-{name}"]
    return ImagineRequest(**{**values, **changes})


def restore(found: ImagineRequest) -> list[str]:
    """Put a request into the widgets at the next run; what has no place in them is returned."""
    left_out = [one.kind for one in found.guidance]
    for kind in {one.kind for one in found.guidance}:
        left_out.remove(kind)  # one guidance of each kind has a place
    missing = [
        f"a second guidance towards {'a class' if k == 'class' else 'words'}" for k in left_out
    ]
    guidance = {one.kind: one for one in reversed(found.guidance)}
    values = dict(_DEFAULTS)
    for name in ("prompt", "negative", "steps", "size", "scale", "sampler", "strength", "guess"):
        values[f"studio-{name}"] = getattr(found, name)
    style = found.style.removesuffix(" style")
    values |= {"studio-style": style or "any", "studio-lock": True}
    values["studio-seed"] = min(found.seed or 0, _MOST_SEED)
    if found.seed is not None and found.seed > _MOST_SEED:
        missing.append("so large a seed")
    if style and style not in _styles():
        values["studio-style"] = "any"
        missing.append(f"the style {style}")
    if one := guidance.get("class"):
        name = _class_name(one.name)
        values |= {"studio-class": name, "studio-class-scale": min(one.scale, MOST_GUIDANCE)}
        if name == "none":
            missing.append(f"the class {one.name}")
    if one := guidance.get("text"):
        values |= {"studio-words": one.name}
        values["studio-words-scale"] = min(one.scale, MOST_GUIDANCE)
    values["studio-scale"] = min(found.scale, MOST_SCALE)
    upload.forget(_START)
    if isinstance(found.start_image, bytes):
        upload.put(_START, "the start image of the recipe", found.start_image)
    missing += studio_controls.restore(found.controls)
    missing += studio_loras.restore(found.loras)
    set_later(**values)
    return missing


def start_from(name: str, image: bytes) -> None:
    """Have the next image start from this one."""
    upload.put(_START, name, image)
    say_later("The next image starts from it: see Start from an image.")


def _recipe() -> None:
    """Drop a PNG of ours: its recipe fills the form."""
    round_ = st.session_state.get("_studio_drops", 0)
    dropped = st.file_uploader(
        "Drop it here to get its settings back", type=["png"], key=f"studio-drop-{round_}"
    )
    if dropped is not None:
        try:
            found, model = library().diffusion.recipe(dropped.getvalue())
        finally:
            st.session_state["_studio_drops"] = round_ + 1  # a new key empties it
        restored(found, model)
        st.rerun()


def restored(found: ImagineRequest, model: str) -> None:
    """`restore`, and say what came of it."""
    missing = restore(found)
    say_later(f"Settings restored; the image was made with {plain(model)}.")
    if missing:
        said = plain(", ".join(missing))
        say_later(f"Without what has no place here: {said}.", ":material/info:")


def _styles() -> list[str]:
    return [style.removesuffix(" style") for style in library().diffusion.model.styles]


def _classes() -> list[str]:
    """Names for class guidance; none where the model has no noise-aware classifier."""
    try:
        return library().diffusion.class_names()
    except UsageError:
        return []


def _class_name(wanted: str) -> str:
    """The name as the box has it, "none" if it has none."""
    names = {name.casefold(): name for name in _classes()}
    return names.get(wanted.casefold(), "none")


def _details() -> None:
    model = library().diffusion.model
    st.text_input("Exclude", key="studio-negative", max_chars=2000, **_KEPT)
    left, right = st.columns(2)
    left.number_input("Steps", 1, MOST_STEPS, key="studio-steps", **_KEPT)
    right.number_input("Images", 1, MOST_COUNT, key="studio-count", **_KEPT)
    st.slider(
        "Weight of the words", 0.0, MOST_SCALE, step=0.5, key="studio-scale",
        help="0 ignores them, 1 takes them as they are; more is closer, and less varied.",
        **_KEPT,
    )  # fmt: skip
    sizes = {model.size * times // 2 for times in (1, 2, 3, 4)}
    sizes = {size for size in sizes if size % model.size_step == 0}
    sizes |= {int(st.session_state["studio-size"])} - {0}  # of a recipe
    st.selectbox(
        "Size", [0, *sorted(sizes)], key="studio-size",
        format_func=lambda size: f"{size} x {size}" if size else "the model's own", **_KEPT,
    )  # fmt: skip
    st.selectbox("Sampler", list(SAMPLERS), key="studio-sampler", **_KEPT)


def _guidance() -> None:
    names = _classes()
    if names:
        st.selectbox(
            "Towards a class", ["none", *names], key="studio-class",
            help="A classifier that can read noise pushes every step towards the class.", **_KEPT,
        )  # fmt: skip
        st.number_input(
            "How strongly", 0.0, MOST_GUIDANCE, step=0.5, key="studio-class-scale", **_KEPT
        )
    else:
        st.caption("This model has no noise-aware classifier, so no class guidance.")
    st.text_input(
        "Towards words", key="studio-words", max_chars=500,
        help="An image-text model looks at what is becoming of the image at every step. Slow.",
        **_KEPT,
    )  # fmt: skip
    st.number_input("How strongly", 0.0, MOST_GUIDANCE, step=0.5, key="studio-words-scale", **_KEPT)


def _guidance_requests() -> list[GuidanceRequest]:
    state = st.session_state
    guidance = []
    if state.get("studio-class", "none") != "none" and _classes():
        guidance.append(
            GuidanceRequest("class", state["studio-class"], state["studio-class-scale"])
        )
    if (state.get("studio-words") or "").strip():
        words = state["studio-words"].strip()
        guidance.append(GuidanceRequest("text", words, state["studio-words-scale"]))
    return guidance
