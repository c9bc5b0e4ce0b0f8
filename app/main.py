"""The script that Streamlit runs for every page: frame, navigation, what is shared."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st
from ragcore_app.components import address, collections, frame, jobs, style, viewer
from ragcore_app.state import (
    apply_pending,
    errors_as_sentences,
    library,
    may,
    may_everywhere,
    person,
    set_later,
    show_notices,
    with_login,
)
from ragcore_app.views import ask, images, models, search, sources, studio, teach
from ragcore_app.views import library as library_page

ASSETS = Path(__file__).parent / "assets"


def main() -> None:
    st.set_page_config(page_title="ragcore", page_icon=str(ASSETS / "icon.png"), layout="wide")
    viewer.begin_run()
    apply_pending()
    style.apply_style()
    pages = {
        "search": st.Page(search.show, title="Search", icon=":material/search:", default=True),
        "images": st.Page(
            images.show, title="Images", icon=":material/photo_library:", url_path="images"
        ),
        "ask": st.Page(ask.show, title="Ask", icon=":material/chat:", url_path="ask"),
        "library": st.Page(
            library_page.show, title="Library", icon=":material/folder:", url_path="library"
        ),
        "sources": st.Page(
            sources.show, title="Sources", icon=":material/sync:", url_path="sources"
        ),
        "teach": st.Page(
            teach.show, title="Classifiers", icon=":material/school:", url_path="teach"
        ),
        "studio": st.Page(studio.show, title="Studio", icon=":material/brush:", url_path="studio"),
        "models": st.Page(models.show, title="Models", icon=":material/memory:", url_path="models"),
    }
    logged_in = False
    with errors_as_sentences():
        logged_in = bool(person())
    if not logged_in:
        return
    if not may("write"):
        del pages["teach"]
    if not may_everywhere("admin"):
        del pages["sources"]
    chosen = st.navigation(list(pages.values()), position="top")
    frame.name_page(chosen.title)
    st.logo(str(ASSETS / "icon.png"), size="medium")
    wanted = st.session_state.pop("_go", None)
    if wanted and pages[wanted] != chosen:
        set_later(**{collections.KEY: st.session_state.get(collections.KEY)})
        st.switch_page(pages[wanted], query_params={})  # as bare, it stumbles over bound ones
    elif wanted and wanted != "search":  # which changes the rest of the address first
        address.close()
    show_notices()
    with st.container(key="phone-pages", horizontal=True, gap="small"):
        for page in pages.values():  # on a phone the row above is behind the arrows
            st.page_link(page)
    with errors_as_sentences():
        library()
        frame.heading(chosen.title)
        chosen.run()
        jobs.sidebar_note()
        viewer.show_opened()
        if with_login():
            _who()


def _who() -> None:
    """Who has logged in, and the way out."""
    who = person()
    with st.sidebar:
        name = who.name.rpartition(" (")[0]
        st.html(
            '<form class="rc-about" id="who" method="post" action="logout">'
            f"{escape(name)} · {who.scope} · "
            '<button type="submit" class="rc-link">Log out</button></form>'
        )


main()
