"""The page Studio: images from words, guidance and conditions; what was made, and kept."""

from __future__ import annotations

import base64
import io
import secrets
from typing import Any

import streamlit as st

from ragcore.library import DEFAULT_COLLECTION, GeneratedImage, ImagineRequest, as_png

from ..components import actions, collections
from ..components.compare import compare
from ..components.live import live
from ..components.text import plain
from ..state import end_with_login, errors_as_sentences, library, owner, say_later, set_later
from . import studio_controls, studio_form, studio_grid, studio_latents, studio_lessons
from .studio_work import Making

_WORK, _HISTORY, _GRID = "_studio_work", "_studio_history", "_studio_grid"
_KEPT = 60  # images of the history
_EVERY = 0.4  # seconds between two looks at what is being made


def show() -> None:
    collections.choose()
    with errors_as_sentences():
        _take_sent()
    with errors_as_sentences():
        model = library().diffusion.model
        st.caption(f"Images by {plain(model.name)}, {model.size} pixels a side.")
        st.session_state.setdefault("studio-view", "Make")
        view = st.segmented_control(
            "View", ["Make", "Latents", "How it works"], required=True, key="studio-view",
            label_visibility="collapsed",
        )  # fmt: skip
        if view == "How it works":
            studio_lessons.show()
            return
        if view == "Latents":
            studio_latents.show([image.png for image in _made()[:2]])
            return
        work: Making | None = st.session_state.get(_WORK)
        busy = work is not None and work.running  # one look, for the button and for the result
        left, right = st.columns([2, 3], gap="large")
        with left:
            start = studio_form.form()
            with start:
                _make(busy)
            with st.expander("A grid over two settings"):
                _make_grid()
        with right:
            if work is not None:
                _result(work, busy)
            _history()


def _take_sent() -> None:
    """An image that *Use as control* sent here from another page."""
    sent = st.session_state.pop(actions.FOLLOW, None)
    if sent is not None:
        studio_controls.follow_image(int(sent))
        say_later("The next image follows it: choose what of it, and say what to make.")
        st.rerun()


def _make(busy: bool) -> None:
    if st.button(
        "Make", type="primary", key="studio-go", icon=":material/brush:",
        disabled=busy,
    ):  # fmt: skip
        with errors_as_sentences():
            _start([studio_form.request(_seed())])


def _make_grid() -> None:
    studio_grid.form()
    if st.button("Make the grid", key="studio-grid-go"):
        with errors_as_sentences():
            requests, labels, across = studio_grid.requests(studio_form.request(_seed()))
            st.session_state[_GRID] = across
            _start(requests, tuple(labels))


def _seed() -> int:
    """The form's seed, or a new one that the form then shows."""
    if st.session_state.get("studio-lock"):
        return int(st.session_state["studio-seed"])
    seed = secrets.randbelow(2**31)
    set_later(**{"studio-seed": seed})
    return seed


def _start(requests: list[ImagineRequest], labels: tuple[str, ...] = ()) -> None:
    work = Making(library(), requests, list(labels))
    end_with_login(work)
    st.session_state[_WORK] = work
    work.start()
    st.rerun()


def _result(work: Making, busy: bool) -> None:
    if busy:
        live(_progress, work, every=_EVERY)
        return
    if not work.taken:
        work.taken = True
        _take(work)
    if work.error:
        st.error(plain(work.error[:1].upper() + work.error[1:]), icon=":material/error:")
    elif work.cancelled:
        st.caption("Cancelled.")
    for note in dict.fromkeys(note for made in work.results for note in made.notes):
        st.caption(plain(note.capitalize()) + ".")
    if work.labels and len(work.results) > 1:
        _grid(work)
    else:
        _newest(work)


def _progress(work: Making) -> bool:
    """What is being made so far, and whether it goes on."""
    st.progress(work.share, f"Step {work.number} of {work.total}")
    if work.preview is not None:
        _preview(work.preview)
    if st.button("Cancel", key="studio-cancel", icon=":material/stop:"):
        work.cancel()
    return work.running


def _preview(pixels: Any) -> None:
    """Images on their way, in the page itself: a file would be gone before it is fetched."""
    addresses = [base64.b64encode(as_png(one)).decode() for one in pixels]
    shown = "".join(
        f'<img alt="What is becoming of it" width="160" src="data:image/png;base64,{one}">'
        for one in addresses
    )
    st.html(f'<div class="rc-previews">{shown}</div>')


def _take(work: Making) -> None:
    """Put what was made in front of the history, and into this browser's gallery."""
    made = [image for result in work.results for image in result.images]
    st.session_state[_HISTORY] = [*reversed(made), *_made()][:_KEPT]
    library().diffusion.gallery(owner()).add(made)


def _made() -> list[GeneratedImage]:
    """The history, newest first: at first what this browser made before."""
    if _HISTORY not in st.session_state:
        st.session_state[_HISTORY] = library().diffusion.gallery(owner()).images()[:_KEPT]
    return list(st.session_state[_HISTORY])


def _grid(work: Making) -> None:
    columns = st.session_state.get(_GRID, 3)
    cells = list(zip(work.labels, work.results, strict=False))
    for start in range(0, len(cells), columns):
        for place, (label, made) in zip(
            st.columns(columns), cells[start : start + columns], strict=False
        ):
            place.image(io.BytesIO(made.images[0].png), caption=label, width="stretch", alt=label)


def _newest(work: Making) -> None:
    for result in work.results:
        for number, image in enumerate(result.images):
            st.image(io.BytesIO(image.png), width=256, alt=_alt(image))
            st.caption(f"Seed {image.seed} · {result.steps} steps · {result.seconds:.1f} s")
            _actions(image, f"new-{number}")
        if result.conditions:
            for png in result.conditions:
                st.image(io.BytesIO(png), width=96, alt="What was followed")


def _actions(image: GeneratedImage, key: str) -> None:
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Save", image.png, f"image-{image.seed}.png", "image/png",
            key=f"studio-save-{key}", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        if st.button("Keep in collection", key=f"studio-keep-{key}", icon=":material/library_add:"):
            with errors_as_sentences():
                keep(image)
        if st.button("Settings", key=f"studio-again-{key}", icon=":material/tune:"):
            with errors_as_sentences():
                studio_form.restored(*library().diffusion.recipe(image.png))
                st.rerun()
        if st.button("Use as control", key=f"studio-follow-{key}", icon=":material/draw:"):
            with errors_as_sentences():
                studio_controls.follow_image_file(f"image-{image.seed}.png", image.png)
                st.rerun()
        if st.button("Start from it", key=f"studio-start-{key}", icon=":material/start:"):
            studio_form.start_from(f"image-{image.seed}.png", image.png)
            st.rerun()


def keep(image: GeneratedImage) -> None:
    """Put an image into the collection at hand, where a search finds it at once."""
    name = st.session_state.get(collections.KEY) or DEFAULT_COLLECTION
    words = "".join(c if c.isalnum() else "-" for c in str(image.recipe["prompt"]))[:60].strip("-")
    file = (f"{words or 'image'}-{image.seed}.png", io.BytesIO(image.png))
    library().jobs.start_upload([file], collection=name)
    say_later(f"Kept in {plain(name)}.")
    st.rerun()


def _history() -> None:
    made = _made()
    if not made:
        st.caption("What you make stands here, for this browser alone.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Made so far", anchor=False)
        if st.button("Clear", key="studio-clear", icon=":material/delete:", type="tertiary"):
            library().diffusion.gallery(owner()).clear()
            st.session_state[_HISTORY] = []
            st.rerun()
    if len(made) > 1:
        with st.expander("Compare two"):
            _compare(made)
    grid = st.grid(min_column_width=96, gap="small")
    for number, image in enumerate(made):
        with grid.cell():
            st.image(io.BytesIO(image.png), width="stretch", alt=_alt(image))
            label = str(len(made) - number)
            if st.button(label, key=f"studio-open-{label}", type="tertiary", width="stretch"):
                st.session_state["_studio_opened"] = image
                _window()


@st.dialog("Image")
def _window() -> None:
    image: GeneratedImage = st.session_state["_studio_opened"]
    st.image(io.BytesIO(image.png), width=256, alt=_alt(image))
    _actions(image, "opened")
    st.json(_shown(image), expanded=True)


def _alt(image: GeneratedImage) -> str:
    """What it was made from, for those who do not see it."""
    return str(image.recipe["prompt"]) or f"Image of seed {image.seed}"


def _shown(image: GeneratedImage) -> dict[str, Any]:
    """The recipe without the images in it."""
    recipe = {k: v for k, v in image.recipe.items() if k != "start_image"}
    controls = [
        {k: v for k, v in control.items() if k != "condition"} for control in recipe["controls"]
    ]
    return {**recipe, "controls": controls}


def _compare(made: list[GeneratedImage]) -> None:
    numbers = list(range(len(made), 0, -1))
    one, two = st.columns(2)
    left = int(one.selectbox("Left", numbers, key="studio-left", index=min(1, len(made) - 1)))
    right = int(two.selectbox("Right", numbers, key="studio-right", index=0))
    images = [made[len(made) - number].png for number in (left, right)]
    compare("studio-compare", *images, (f"Image {left}", f"Image {right}"))
