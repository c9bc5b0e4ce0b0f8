"""A question about an image that need not be in any collection."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from ragcore.library import ImageAnswer

from ..state import errors_as_sentences, library
from .text import plain, time_name

_IMAGES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif"]
_SAID = "image-said"  # (question, answer) of the image at hand


def show() -> None:
    """An uploader, the question and the answer; what is uploaded is not kept."""
    with st.expander("Ask about an image", icon=":material/image:", key="image-question"):
        dropped = st.file_uploader("An image", type=_IMAGES, key="asked-image", on_change=_forget)
        if dropped is None:
            return
        data = dropped.getvalue()
        with errors_as_sentences():
            st.image(data, width=280, caption=plain(dropped.name), alt="The image asked about")
        with st.form("image-form", border=False):
            question = st.text_input(
                "Your question", value="What is in the picture?", max_chars=2000, key="image-text"
            )
            asked = st.form_submit_button("Ask", icon=":material/send:", key="image-ask")
        if asked:
            _forget()
            with errors_as_sentences():
                _answer(data, question)
        _said()


def _answer(image: bytes, question: str) -> None:
    """Write the answer as it comes; Stop (or leaving the page) ends it at the next word."""
    place = st.empty()
    with place.container():
        st.button("Stop", key="image-stop", icon=":material/stop_circle:")
        earlier: list[ImageAnswer] = []

        def pieces() -> Iterator[str]:
            for piece in library().images.ask_stream(image, question):
                if isinstance(piece, str):
                    yield plain(piece)
                else:
                    earlier.append(piece)

        with st.spinner("Looking …", show_time=False):
            st.write_stream(pieces)
    place.empty()
    st.session_state[_SAID] = (question, earlier[0])


def _said() -> None:
    if _SAID not in st.session_state:
        return
    question, answer = st.session_state[_SAID]
    with st.chat_message("assistant", avatar=":material/image:"):
        st.caption(plain(question))
        st.markdown(plain(answer.text) or "_nothing_")
        st.caption(
            f"by {plain(answer.model)}, from the image alone, in {time_name(answer.seconds)}; "
            "a small model is often wrong"
        )


def _forget() -> None:
    st.session_state.pop(_SAID, None)
