"""The page Studio: pictures from words, guides and conditions; what was made, and kept."""

from __future__ import annotations

import io
import itertools
import secrets
from typing import Any

import streamlit as st

from app.components import collections
from app.components.text import plain
from app.state import errors_as_sentences, library, say_later, set_later
from app.views import studio_codes, studio_form, studio_lessons
from app.views.studio_work import Making
from ragcore.catalog import DEFAULT_COLLECTION
from ragcore.diffusion import ImagineRequest, MadePicture
from ragcore.errors import UsageError

_WORK, _HISTORY, _GRID = "_studio_work", "_studio_history", "_studio_grid"
_KEPT = 60  # pictures of the history, of this browser and as long as the page is open
_EVERY = 0.4  # seconds between two looks at what is being made
_CELLS = 36
_AXES = {
    "steps": int,
    "scale": float,
    "seed": int,
    "sampler": str,
    "style": str,
    "strength": float,
    "prompt": str,
}


def show() -> None:
    collections.choose()
    with errors_as_sentences():
        model = library().imaginer.model
        st.caption(f"Pictures by {plain(model.card.name)}, {model.card.size} pixels a side.")
        view = st.segmented_control(
            "View", ["Make", "Codes", "How it works"], default="Make", required=True,
            key="studio-view", label_visibility="collapsed",
        )  # fmt: skip
        if view == "How it works":
            studio_lessons.show()
            return
        if view == "Codes":
            studio_codes.show([picture.png for picture in _made()[:2]])
            return
        left, right = st.columns([2, 3], gap="large")
        with left:
            studio_form.form()
            _buttons()
        with right:
            _result()


def _buttons() -> None:
    work: Making | None = st.session_state.get(_WORK)
    if st.button(
        "Make", type="primary", key="studio-go", icon=":material/brush:",
        disabled=work is not None and work.running,
    ):  # fmt: skip
        with errors_as_sentences():
            _start([studio_form.request(_seed())])
    with st.expander("A grid over two settings"):
        one, two = st.columns(2)
        one.selectbox("Across", list(_AXES), key="studio-x", index=0)
        one.text_input("Values", "5, 10, 25", key="studio-x-values")
        two.selectbox("Down", ["nothing", *_AXES], key="studio-y", index=2)
        two.text_input("Values", "1, 3, 8", key="studio-y-values")
        if st.button("Make the grid", key="studio-grid-go"):
            with errors_as_sentences():
                _start_grid()


def _seed() -> int:
    """The form's seed, or a new one that the form then shows."""
    if st.session_state.get("studio-lock"):
        return int(st.session_state["studio-seed"])
    seed = secrets.randbelow(2**31)
    set_later(**{"studio-seed": seed})
    return seed


def _start(requests: list[ImagineRequest], labels: tuple[str, ...] = ()) -> None:
    work = Making(library(), requests, list(labels))
    st.session_state[_WORK] = work
    work.start()
    st.rerun()


def _start_grid() -> None:
    across, down = _axis("x"), _axis("y")
    if len(across[1]) * len(down[1]) > _CELLS:
        raise UsageError(f"a grid has at most {_CELLS} pictures: give fewer values")
    seed, requests, labels = _seed(), [], []
    for y, x in itertools.product(down[1], across[1]):
        changes: dict[str, Any] = {across[0]: x} | ({down[0]: y} if down[0] != "nothing" else {})
        requests.append(studio_form.request(seed, **{"count": 1, **changes}))
        labels.append(", ".join(f"{name} {value}" for name, value in changes.items()))
    st.session_state[_GRID] = len(across[1])
    _start(requests, tuple(labels))


def _axis(letter: str) -> tuple[str, list[Any]]:
    name = st.session_state[f"studio-{letter}"]
    if name == "nothing":
        return name, [None]
    texts = [text.strip() for text in st.session_state[f"studio-{letter}-values"].split(",")]
    try:
        values = [_AXES[name](text) for text in texts if text]
    except ValueError:
        raise UsageError(f"the values of {name} must be numbers, with commas between") from None
    if not values:
        raise UsageError(f"give the values of {name}, with commas between")
    return name, values


def _result() -> None:
    work: Making | None = st.session_state.get(_WORK)
    if work is not None:
        st.fragment(_progress, run_every=_EVERY if work.running else None)()
    _history()


def _progress() -> None:
    """What is being made, looked at again and again; at its end the page is drawn anew."""
    work: Making | None = st.session_state.get(_WORK)
    if work is None:
        return
    if work.running:
        st.progress(work.share, f"Step {work.number} of {work.total}")
        if work.preview is not None:
            st.image(list(work.preview), width=192, caption=None)
        if st.button("Cancel", key="studio-cancel", icon=":material/stop:"):
            work.cancel()
        return
    if not work.taken:
        work.taken = True
        _take(work)
        st.rerun()
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


def _take(work: Making) -> None:
    """Put what was made in front of the history."""
    made = [picture for result in work.results for picture in result.pictures]
    st.session_state[_HISTORY] = [*reversed(made), *_made()][:_KEPT]


def _made() -> list[MadePicture]:
    return list(st.session_state.get(_HISTORY, []))


def _grid(work: Making) -> None:
    columns = st.session_state.get(_GRID, 3)
    cells = list(zip(work.labels, work.results, strict=False))
    for start in range(0, len(cells), columns):
        for place, (label, made) in zip(
            st.columns(columns), cells[start : start + columns], strict=False
        ):
            place.image(io.BytesIO(made.pictures[0].png), caption=label, width="stretch")


def _newest(work: Making) -> None:
    for result in work.results:
        for number, picture in enumerate(result.pictures):
            st.image(io.BytesIO(picture.png), width=256)
            st.caption(f"Seed {picture.seed} · {result.steps} steps · {result.seconds:.1f} s")
            _actions(picture, f"new-{number}")
        if result.conditions:
            st.image([io.BytesIO(png) for png in result.conditions], width=96)


def _actions(picture: MadePicture, key: str) -> None:
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Save", picture.png, f"picture-{picture.seed}.png", "image/png",
            key=f"studio-save-{key}", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        if st.button("Keep in collection", key=f"studio-keep-{key}", icon=":material/library_add:"):
            with errors_as_sentences():
                keep(picture)
        if st.button("Settings", key=f"studio-again-{key}", icon=":material/tune:"):
            studio_form.restore(library().recipe_of(picture.png)[0])
            st.rerun()


def keep(picture: MadePicture) -> None:
    """Put a picture into the collection at hand, where a search finds it at once."""
    name = st.session_state.get(collections.KEY) or DEFAULT_COLLECTION
    words = "".join(c if c.isalnum() else "-" for c in str(picture.recipe["prompt"]))[:60].strip(
        "-"
    )
    file = (f"{words or 'picture'}-{picture.seed}.png", io.BytesIO(picture.png))
    paths = library().uploads.save(name, [file])
    library().create_collection(name, exist_ok=True)
    library().start_ingest([str(path) for path in paths], collection=name)
    say_later(f"Kept in {plain(name)}.")
    st.rerun()


def _history() -> None:
    made = _made()
    if not made:
        st.caption("What you make stands here for as long as the page is open.")
        return
    st.subheader("Made so far", anchor=False)
    if len(made) > 1:
        with st.expander("Compare two"):
            _compare(made)
    for start in range(0, len(made), 6):
        for place, number in zip(
            st.columns(6), range(start, min(start + 6, len(made))), strict=False
        ):
            picture = made[number]
            place.image(io.BytesIO(picture.png), width="stretch")
            with place.popover(str(len(made) - number), width="stretch"):
                st.json(_shown(picture), expanded=True)
                _actions(picture, f"old-{len(made) - number}")


def _shown(picture: MadePicture) -> dict[str, Any]:
    """The recipe without the pictures in it."""
    recipe = {k: v for k, v in picture.recipe.items() if k != "start_picture"}
    controls = [
        {k: v for k, v in control.items() if k != "condition"} for control in recipe["controls"]
    ]
    return {**recipe, "controls": controls}


def _compare(made: list[MadePicture]) -> None:
    """Two pictures in one place, with a border that can be moved."""
    from PIL import Image

    numbers = list(range(len(made), 0, -1))
    one, two = st.columns(2)
    left = one.selectbox("Left", numbers, key="studio-left", index=min(1, len(made) - 1))
    right = two.selectbox("Right", numbers, key="studio-right", index=0)
    border = st.slider("Border", 0, 100, 50, key="studio-border", label_visibility="collapsed")
    opened = [
        Image.open(io.BytesIO(made[len(made) - int(number)].png)).convert("RGB")
        for number in (left, right)
    ]
    side = max(picture.width for picture in opened)
    first, second = (picture.resize((side, side)) for picture in opened)
    cut = round(side * border / 100)
    second.paste(first.crop((0, 0, cut, side)), (0, 0))
    st.image(second, width=320)
