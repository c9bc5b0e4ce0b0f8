"""The left side of the page Studio: everything that a picture is asked by."""

from __future__ import annotations

import io
from typing import Any

import streamlit as st

from app.components import collections
from app.components.text import plain
from app.state import errors_as_sentences, library, say_later, set_later
from ragcore.diffusion import CONDITIONS, ControlRequest, GuideRequest, ImagineRequest
from ragcore.diffusion.request import SAMPLERS
from ragcore.errors import UsageError

_PICTURES = ["png", "jpg", "jpeg", "webp", "gif", "bmp"]
_GIVEN = "_studio_given"  # controls and start picture of a recipe that was dropped
_CONTROLS = 2  # places for controls on the page


def form() -> None:
    """Draw all widgets; `request` reads them."""
    with errors_as_sentences():
        _recipe()
    st.text_area(
        "What to make", key="studio-prompt", max_chars=2000, height=80,
        placeholder="red apple",
    )  # fmt: skip
    styles = [style.removesuffix(" style") for style in library().imaginer.styles]
    if styles:
        st.selectbox("Style", ["any", *styles], key="studio-style")
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.number_input("Seed", 0, 2**31 - 1, 0, key="studio-seed", help="The same seed makes "
                      "the same picture.")  # fmt: skip
    right.checkbox("Keep the seed", key="studio-lock", help="Otherwise a new one is drawn.")
    with st.expander("Steps, size, weight of the words"):
        _details()
    with st.expander("Guides"):
        _guides()
    kinds = library().imaginer.model.control_kinds
    if kinds:
        with st.expander("Follow a picture (ControlNet)"):
            for number in range(_CONTROLS):
                with errors_as_sentences():
                    _control(number, kinds)
            st.checkbox("Without words (guess)", key="studio-guess")
            _where_conditions_come_from(kinds)
    with st.expander("Start from a picture"):
        st.file_uploader("Picture", type=_PICTURES, key="studio-start")
        st.slider("How much is made anew", 0.0, 1.0, 0.6, 0.05, key="studio-strength")


def request(seed: int, **changes: Any) -> ImagineRequest:
    """What the widgets say. Raises UsageError for what cannot be."""
    state = st.session_state
    given: dict[str, Any] = st.session_state.get(_GIVEN, {})
    style = str(state.get("studio-style", "any"))
    start = state.get("studio-start")
    values: dict[str, Any] = {
        "prompt": (state.get("studio-prompt") or "").strip(),
        "negative": (state.get("studio-negative") or "").strip(),
        "style": "" if style == "any" else style,
        "seed": seed,
        "steps": state.get("studio-steps", 25),
        "size": state.get("studio-size", 0),
        "count": state.get("studio-count", 1),
        "scale": state.get("studio-scale", 3.0),
        "sampler": state.get("studio-sampler", "dpm++"),
        "start_picture": start.getvalue() if start else given.get("start_picture"),
        "strength": state.get("studio-strength", 0.6),
        "guides": _guide_requests(),
        "controls": [*_control_requests(), *given.get("controls", ())],
        "guess": bool(state.get("studio-guess")),
    }
    return ImagineRequest(**{**values, **changes})


def _recipe() -> None:
    """Drop a PNG of ours: its recipe fills the form."""
    round_ = st.session_state.get("_studio_drops", 0)
    dropped = st.file_uploader(
        "Drop a picture made here to get its settings back", type=["png"],
        key=f"studio-drop-{round_}",
    )  # fmt: skip
    if dropped is not None:
        st.session_state["_studio_drops"] = round_ + 1  # a new key empties it
        found, model = library().recipe_of(dropped.getvalue())
        restore(found)
        say_later(f"Settings restored; the picture was made with {plain(model)}.")
        st.rerun()
    given = st.session_state.get(_GIVEN)
    if given and (given.get("controls") or given.get("start_picture")):
        names = [CONDITIONS[control.kind].title for control in given["controls"]]
        names += ["a start picture"] if given.get("start_picture") else []
        st.caption(f"From the dropped picture: {', '.join(names)}.")
        if st.button("Forget these", key="studio-forget"):
            del st.session_state[_GIVEN]
            st.rerun()


def restore(found: ImagineRequest) -> None:
    """Put a request into the widgets at the next run."""
    guides = {guide.kind: guide for guide in found.guides}
    known = [style.removesuffix(" style") for style in library().imaginer.styles]
    style = found.style.removesuffix(" style")
    values: dict[str, Any] = {
        "studio-prompt": found.prompt,
        "studio-negative": found.negative,
        "studio-style": style if style in known else "any",
        "studio-seed": min(found.seed or 0, 2**31 - 1),
        "studio-lock": True,
        "studio-steps": found.steps,
        "studio-size": found.size,
        "studio-count": 1,
        "studio-scale": min(found.scale, 30.0),
        "studio-sampler": found.sampler,
        "studio-strength": found.strength,
        "studio-guess": found.guess,
    }
    if "class" in guides:
        values |= {"studio-class": guides["class"].name}
        values |= {"studio-class-scale": guides["class"].scale}
    if "text" in guides:
        values |= {"studio-words": guides["text"].name, "studio-words-scale": guides["text"].scale}
    set_later(**values)
    st.session_state[_GIVEN] = {
        "controls": tuple(found.controls),
        "start_picture": found.start_picture,
    }


def _details() -> None:
    model = library().imaginer.model
    st.text_input("But not", key="studio-negative", max_chars=2000)
    st.slider("Steps", 1, 100, 25, key="studio-steps")
    st.slider(
        "Weight of the words", 0.0, 15.0, 3.0, 0.5, key="studio-scale",
        help="0 ignores them, 1 takes them as they are; more is closer, and less varied.",
    )  # fmt: skip
    sizes = [model.card.size * times // 2 for times in (1, 2, 3, 4)]
    sizes = [size for size in sizes if size % model.size_step == 0]
    st.selectbox(
        "Size", [0, *sizes], key="studio-size",
        format_func=lambda size: f"{size} x {size}" if size else "the model's own",
    )  # fmt: skip
    st.selectbox("Sampler", list(SAMPLERS), key="studio-sampler")
    st.number_input("Pictures", 1, 16, 1, key="studio-count")


def _guides() -> None:
    names = ["none", *library().imaginer.class_names]
    st.selectbox(
        "Towards a class", names, key="studio-class",
        help="A classifier that can read noise pushes every step towards the class.",
    )  # fmt: skip
    st.slider("How strongly", 0.0, 20.0, 3.0, 0.5, key="studio-class-scale")
    st.text_input(
        "Towards words", key="studio-words", max_chars=500,
        help="An image-text model looks at what is becoming of the picture at every step. Slow.",
    )  # fmt: skip
    st.slider("How strongly", 0.0, 20.0, 3.0, 0.5, key="studio-words-scale")


def _guide_requests() -> list[GuideRequest]:
    state = st.session_state
    guides = []
    if state.get("studio-class", "none") != "none":
        guides.append(GuideRequest("class", state["studio-class"], state["studio-class-scale"]))
    if (state.get("studio-words") or "").strip():
        words = state["studio-words"].strip()
        guides.append(GuideRequest("text", words, state["studio-words-scale"]))
    return guides


def _control(number: int, kinds: list[str]) -> None:
    """One place for a control: its kind, its picture, what is taken from it."""
    st.selectbox(
        "Condition" if not number else "And", ["none", *kinds], key=f"studio-control-{number}",
        format_func=lambda kind: CONDITIONS[kind].title if kind in CONDITIONS else kind,
    )  # fmt: skip
    if st.session_state[f"studio-control-{number}"] == "none":
        return
    st.file_uploader("Picture", type=_PICTURES, key=f"studio-picture-{number}")
    _from_collection(number)
    st.checkbox("It is a condition already", key=f"studio-ready-{number}")
    st.slider("Weight", 0.0, 2.0, 1.0, 0.05, key=f"studio-weight-{number}")
    st.slider("From and until (part of the steps)", 0.0, 1.0, (0.0, 1.0), 0.05,
              key=f"studio-span-{number}")  # fmt: skip
    picture = _control_picture(number)
    if picture is not None:
        kind = st.session_state[f"studio-control-{number}"]
        ready = st.session_state[f"studio-ready-{number}"]
        shown = picture if ready else library().condition(kind, picture)
        st.image(io.BytesIO(shown), width=128, caption="What is followed")


def _from_collection(number: int) -> None:
    """Choose among the newest pictures of the collection at hand."""
    known = collections.names()
    name = st.session_state.get(collections.KEY)
    if not known:
        return
    chosen = name if name in known else known[0]
    pictures = {info.id: info.document for info in library().images(chosen, limit=50)}
    st.selectbox(
        f"Or from {chosen}", [0, *pictures], key=f"studio-like-{number}",
        format_func=lambda id_: pictures.get(id_, "none"),
    )  # fmt: skip


def _control_picture(number: int) -> bytes | None:
    uploaded = st.session_state.get(f"studio-picture-{number}")
    if uploaded is not None:
        return bytes(uploaded.getvalue())
    if like := st.session_state.get(f"studio-like-{number}"):
        return library().image_bytes(like)
    return None


def _control_requests() -> list[ControlRequest]:
    requests = []
    for number in range(_CONTROLS):
        kind = st.session_state.get(f"studio-control-{number}", "none")
        if kind == "none":
            continue
        picture = _control_picture(number)
        if picture is None:
            raise UsageError(f"give the picture for {CONDITIONS[kind].title.lower()}")
        start, end = st.session_state[f"studio-span-{number}"]
        weight = st.session_state[f"studio-weight-{number}"]
        ready = st.session_state[f"studio-ready-{number}"]
        requests.append(ControlRequest(kind, picture, weight, start, end, ready))
    return requests


def _where_conditions_come_from(kinds: list[str]) -> None:
    words = {
        "here": "made here from a picture",
        "hub": "made by a model of the hub, or your own file",
        "given": "your own file",
    }
    rows = [
        {
            "Condition": about.title,
            "From": words[about.source],
            "In this model": "yes" if kind in kinds else "no",
        }
        for kind, about in CONDITIONS.items()
    ]
    st.dataframe(rows, hide_index=True)
