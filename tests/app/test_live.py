"""Parts that are drawn again and again leave alone what the page's own turn answers."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

PAGE = """
import streamlit as st
from ragcore_app.components.live import live

def draw(number):
    st.caption(f"{number} is over")
    return False

if st.button("Go", key="go"):
    st.error("Give a number.")
live(draw, 7, every=0.5)
"""


def test_what_a_button_answers_stays_though_something_ends_meanwhile() -> None:
    test = AppTest.from_string(PAGE, default_timeout=60).run()
    test.button(key="go").click().run()
    assert [one.value for one in test.error] == ["Give a number."]
    assert [one.value for one in test.caption] == ["7 is over"]
