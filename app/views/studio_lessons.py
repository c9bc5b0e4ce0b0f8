"""Studio, "How it works": edges taken apart, and ways to make a class that do not work."""

from __future__ import annotations

import io

import streamlit as st

from ..components import collections
from ..components.text import plain
from ..state import errors_as_sentences, library

_IMAGES = ["png", "jpg", "jpeg", "webp", "gif", "bmp"]
_WAYS = {
    "pixels": (
        "Descend on the pixels",
        "Change the pixels themselves, step by step, so that a classifier is surer of the class. "
        "It becomes quite sure, and the image is noise: the classifier was never asked what "
        "images look like.",
    ),
    "latent": (
        "Descend on a latent",
        "The same in the space of an autoencoder. What comes out is made of image-like "
        "pieces, and still shows nothing.",
    ),
    "interleaved": (
        "Descend between denoising steps",
        "Denoising keeps the image an image; the gradient pushes it towards the class. But "
        "this classifier has never seen noise, and early on its gradient means little.",
    ),
}


def show() -> None:
    with errors_as_sentences():
        _canny()
    with errors_as_sentences():
        _negative_examples()


def _canny() -> None:
    st.subheader("Canny edges in five stages", anchor=False)
    uploaded = st.file_uploader("An image", type=_IMAGES, key="lesson-image")
    image = uploaded.getvalue() if uploaded else _newest()
    if image is None:
        st.caption("Drop an image here to see its edges being found.")
        return
    stages = library().diffusion.canny_stages(image)
    for place, stage in zip(st.columns(len(stages)), stages, strict=True):
        place.image(stage.image, width="stretch", alt=stage.title)
        place.markdown(f"**{stage.title}**")
        place.caption(stage.about)


def _newest() -> bytes | None:
    """The newest image of the collection at hand."""
    name = st.session_state.get(collections.KEY)
    if name not in collections.names():
        return None
    newest = library().images.list(str(name), limit=1)
    return library().images.read(newest[0].id) if newest else None


def _negative_examples() -> None:
    st.subheader("Three ways that lead nowhere", anchor=False)
    st.markdown(
        "A classifier of photographs knows *chocolate syrup*. Can one simply ask it for a "
        "image? The way out is a classifier that has learned on noise (*Guidance*, on the page "
        "*Make*)."
    )
    name = st.text_input("A class of ImageNet", "chocolate syrup", key="lesson-class")
    for place, (way, (title, about)) in zip(st.columns(3), _WAYS.items(), strict=True):
        place.markdown(f"**{title}**")
        place.caption(about)
        with place, errors_as_sentences():
            if st.button("Try it", key=f"lesson-{way}"):
                with st.spinner("Descending …"):
                    made = library().diffusion.negative_example(way, name)  # type: ignore[arg-type]
                st.session_state[f"_lesson-{way}"] = (name, made)
            shown = st.session_state.get(f"_lesson-{way}")
            if shown:
                wanted, made = shown
                st.image(io.BytesIO(enlarged(made.image)), width="stretch", alt=title)
                st.caption(f"How sure the classifier is of {plain(wanted)}, step by step:")
                st.line_chart(list(made.probabilities), height=140)


def enlarged(image: object) -> bytes:
    """PNG of a small image (pixels, or an encoded one), each pixel a square."""
    from PIL import Image

    encoded = isinstance(image, bytes)
    opened = Image.open(io.BytesIO(image)) if encoded else Image.fromarray(image)  # type: ignore[arg-type]
    file = io.BytesIO()
    opened.resize((256, 256), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()
