"""The few rules of style that the theme cannot say."""

from __future__ import annotations

import streamlit as st

_CSS = """
<style>
mark { background: rgba(245, 190, 60, .38); color: inherit; border-radius: .2em; padding: 0 .1em; }
.rc-excerpt { line-height: 1.5; overflow-wrap: anywhere; margin: 0; }
.rc-about { opacity: .82; font-size: .85rem; margin: 0; overflow-wrap: anywhere; }
.rc-link { background: none; border: 0; padding: 0; font: inherit; color: inherit;
  text-decoration: underline; cursor: pointer; }
.rc-quote { border-left: 3px solid color-mix(in srgb, currentColor 30%, transparent);
  padding-left: .7rem; overflow-wrap: anywhere; white-space: pre-wrap; }
.rc-previews { display: flex; flex-wrap: wrap; gap: .5rem; }
.rc-text { overflow-wrap: anywhere; white-space: pre-wrap; line-height: 1.5; }
[class*="st-key-talk-"] button p { text-align: left; }
.rc-heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  margin: 0; padding: 0; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: .8; }
/* What is chosen has a border and a ground; its color alone would be too pale. */
button[data-selected="true"] *, [data-testid="stSliderThumbValue"] { color: inherit !important; }
[data-selected="true"] { color: inherit !important; }
#rc-away { position: fixed; inset: auto 0 0 0; z-index: 2000000; padding: .8rem 1rem;
  background: #7f1d1d; color: #fff; text-align: center; }
[data-testid="stChatMessage"] { background: transparent; padding-left: 0; padding-right: 0; }
[data-testid="stSidebar"] [class*="st-key-talk-"] button { justify-content: flex-start; }
[data-testid="stSidebar"] [class*="st-key-talk-"] button p {
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
/* Two dates side by side: a click into one opens its calendar, too. */
[data-testid="stSidebar"] [data-testid="stDateInputCalendarButton"] { display: none; }
[data-testid="stSidebar"] [data-testid="stDateInputField"] { font-size: .85rem; }
[data-testid="stLayoutWrapper"]:has(> .st-key-phone-pages) { display: none; }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding-left: .9rem; padding-right: .9rem; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-phone-pages) { display: flex; }
  /* Six pages in one row: their names are enough. */
  .st-key-phone-pages { gap: .1rem; justify-content: space-between; }
  .st-key-phone-pages a > :has([data-testid="stIconMaterial"]):not(:has(p)) { display: none; }
  .st-key-phone-pages a { padding-left: .4rem; padding-right: .4rem; }
  .st-key-view button { padding-left: .32rem; padding-right: .32rem; }
  .st-key-view button p { font-size: .78rem; }
  /* The box and the image beside it, as on a wide screen. */
  .st-key-question [data-testid="stHorizontalBlock"] { flex-wrap: nowrap; gap: .5rem; }
  .st-key-question [data-testid="stColumn"] { min-width: 0; flex: 1 1 auto; width: auto; }
  .st-key-question [data-testid="stColumn"]:last-child { flex: none; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
</style>
"""


def apply_style() -> None:
    st.html(_CSS)
