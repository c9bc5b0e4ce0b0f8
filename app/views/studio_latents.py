"""Studio, "Latents": attributes predicted from an image's latent and edited; interpolation."""

from __future__ import annotations

import io

import streamlit as st

from ..components import collections
from ..components.text import plain
from ..state import errors_as_sentences, library
from .studio_lessons import enlarged

_IMAGES = ["png", "jpg", "jpeg", "webp", "gif", "bmp"]
_REACH = 3.0  # standard deviations that a slider goes to either side
_SHOWN = {
    "x": "Place, left to right",
    "y": "Place, top to bottom",
    "size": "Size",
    "lightness": "Lightness",
    "red": "Green to red",
    "yellow": "Blue to yellow",
    "symmetry": "Mirror symmetry",
}


def show(made: list[bytes]) -> None:
    """`made` are images of this page, newest first, offered where none is dropped."""
    with errors_as_sentences():
        _edit(made)
    with errors_as_sentences():
        _mix(made)


def _edit(made: list[bytes]) -> None:
    st.subheader("Move a latent along a probe", anchor=False)
    st.markdown(
        "The autoencoder turns an image into a latent of a twelfth as many numbers. A *probe* is a "
        "linear function that predicts an attribute from it; moving the latent along its direction "
        "changes the image. *R²* says how much of the attribute the probe reads on images "
        "it was not fitted on: near 1, the attribute is linear in the latent."
    )
    probes = library().diffusion.probes
    if not probes:
        st.caption(
            "This model has no probes: `python -m recipes.icon_probes DIR --save FOLDER`, in a "
            "clone of the repository, makes them, FOLDER being the model's."
        )
        return
    image = _image("An image", "latents-image", made, 0)
    if image is None:
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        changes = {
            name: st.slider(
                f"{_SHOWN.get(name, name)} (R² {probe.r2:.2f})",
                -_REACH, _REACH, 0.0, 0.25, key=f"latents-{name}",
                help="In standard deviations.",
            )
            for name, probe in probes.items()
        }  # fmt: skip
    with right:
        same, read = library().diffusion.edit_latents(image, {})
        edited, _ = library().diffusion.edit_latents(image, changes)
        before, after = st.columns(2)
        for place, image_now, words in (
            (before, same, "Decoded as it is"),
            (after, edited, "Decoded after moving"),
        ):
            place.image(io.BytesIO(enlarged(image_now)), caption=words, width="stretch", alt=words)
        st.caption(
            "Predicted from the latent: "
            + " · ".join(f"{_SHOWN.get(n, n).lower()} {value:.2f}" for n, value in read.items())
        )


def _mix(made: list[bytes]) -> None:
    st.subheader("Between two latents", anchor=False)
    left, right = st.columns(2)
    with left:
        first = _image("First image", "latents-first", made, 0)
    with right:
        second = _image("Second image", "latents-second", made, 1)
    if first is None or second is None:
        return
    steps = library().diffusion.interpolate_latents(first, second, steps=8)
    for number, (place, step) in enumerate(zip(st.columns(len(steps)), steps, strict=True), 1):
        place.image(
            io.BytesIO(enlarged(step)), width="stretch", alt=f"Step {number} of {len(steps)}"
        )
    st.caption("Latents in between are decoded; an image made of halves is no image of a half.")


def _image(label: str, key: str, made: list[bytes], number: int) -> bytes | None:
    """What was dropped; else one that was made here, else one of the collection at hand."""
    dropped = st.file_uploader(label, type=_IMAGES, key=key)
    if dropped is not None:
        return dropped.getvalue()
    if len(made) > number:
        return made[number]
    name = st.session_state.get(collections.KEY)
    if name in collections.names():
        images = library().images.list(str(name), limit=number + 1)
        if len(images) > number:
            st.caption(f"{plain(images[number].document)}, from the collection.")
            return library().images.read(images[number].id)
    st.caption("Drop an image here, or make one first.")
    return None
