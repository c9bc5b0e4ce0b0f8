"""How a collection's answers are worded: instruction, tone, language, length."""

from __future__ import annotations

import streamlit as st

from ragcore.types import AnswerStyle

from ..state import errors_as_sentences, library, may, say_later


def show(collection: str) -> None:
    """The collection's style, to be changed by those who may administer it."""
    if not may("admin"):
        return
    style = library().find_collection(collection).style
    name = "Answer style (set)" if style.version else "Answer style"
    with (
        st.popover(name, icon=":material/tune:", type="tertiary"),
        st.form(f"style-{collection}", border=False),
    ):
        st.caption(
            "For everybody who asks this collection. Answers that are composed of quotes keep the "
            "documents' own words; a small language model follows a style only in part."
        )
        instruction = st.text_area("Instruction", style.instruction, max_chars=500)
        tone = st.text_input("Tone", style.tone, max_chars=60, placeholder="formal")
        language = st.text_input("Language", style.language, max_chars=60, placeholder="German")
        length = st.number_input(
            "Length in words", 0, 2000, style.length, 10, help="0: one short sentence."
        )
        if st.form_submit_button("Save", icon=":material/check:"):
            with errors_as_sentences():
                changed = AnswerStyle(
                    instruction=instruction.strip(), tone=tone.strip(),
                    language=language.strip(), length=int(length),
                )  # fmt: skip
                library().admin.set_style(collection, changed)
                say_later("Answers are worded in this style from now on.")
                st.rerun()
