"""A look at one page of a document, or one image, over whatever page one is on."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from ragcore.library import ImageInfo
from ragcore.text import visible_name
from ragcore.types import Hit

from ..image_routes import IMAGES
from ..state import errors_as_sentences, library, may, show_notices
from ..thumbnails import THUMBNAILS
from . import actions, address
from .assets import asset
from .text import count_name, day_name, plain, size_name, type_name

_OPEN, _FRESH, _SHOWN, _ROUND = "_open", "_opened_now", "_window_drawn", "_openings"
_viewer = st.components.v2.component(
    "ragcore_viewer",
    html='<div class="viewed"></div>',
    css=asset("viewer.css"),
    js=asset("viewer.js", "opened.js"),
)


def open_page(
    document_id: int,
    page: int | None = None,
    span: tuple[int, int] | None = None,
    quote: str = "",
    hit: Hit | None = None,
    last: int | None = None,
) -> None:
    """Show a document's page at the end of this run, the characters of `span` marked.

    The pages up to `last` stand below it. The address names it from then on.
    """
    address.open_document(document_id, page or 1)
    st.session_state[_FRESH] = True
    st.session_state[_OPEN] = {
        "document": document_id,
        "page": page or 1,
        "first": page or 1,
        "last": max(page or 1, last or 1),
        "span": span,
        "quote": quote,
        "hit": hit,
    }


def open_image(image_id: int, among: Sequence[Hit] = ()) -> None:
    """Show an image at the end of this run.

    The images `among` which it was found are the next and previous ones. The address names it from
    then on.
    """
    address.open_image(image_id)
    st.session_state[_FRESH] = True
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.session_state[_OPEN] = {"image": image_id, "among": among}


def hit_of(info: ImageInfo, collection: str) -> Hit:
    """An image as if it had been found."""
    return Hit(
        id=info.id, kind="image", score=1.0, document_id=info.document_id, document=info.document,
        path=info.path, text=info.caption or info.text, page=info.page, second=info.second,
        collection=collection, caption_by=info.caption_by,
    )  # fmt: skip


def open_hit(hit: Hit, among: Sequence[Hit] = ()) -> None:
    """Open a passage's page, a document, or an image `among` others."""
    if hit.kind == "image":
        open_image(hit.id, [other for other in among if other.kind == "image"])
    elif not hit.text:
        open_page(hit.document_id)
    else:
        open_page(hit.document_id, hit.page, hit.span, hit=hit, last=hit.page_end)


def show_opened() -> None:
    """Draw the window of what the address says is open, if anything, and if it is not drawn yet.

    Called once, by the main script.
    """
    st.session_state.pop(_FRESH, None)
    drawn = st.session_state.pop(_SHOWN, False)
    if not drawn and address.opened() is not None:
        _window()


def after_choice() -> None:
    """At the end of a fragment: do what was chosen in it, without drawing the page again."""
    if "_go" in st.session_state:
        st.rerun()
    show_notices()
    if st.session_state.pop(_FRESH, False):
        st.session_state[_SHOWN] = True
        _window()


def begin_run() -> None:
    """At the start of the main script: no window is drawn yet."""
    st.session_state.pop(_SHOWN, None)


def shown_elsewhere() -> None:
    """What the address says is open is drawn by the page itself."""
    st.session_state[_SHOWN] = True


def _window() -> None:
    opened = address.opened()
    if opened is None:
        return
    kind, number = opened
    if kind == "image":
        with errors_as_sentences():
            _image_viewer(number)
        return
    if st.session_state.get(_OPEN, {}).get(kind) != number:  # by its address alone
        page = address.page()
        st.session_state[_OPEN] = {
            "document": number, "page": page, "first": page, "last": page, "span": None,
            "quote": "", "hit": None,
        }  # fmt: skip
    _page_window()


@st.dialog("Page", width="large", on_dismiss=address.close)
def _page_window() -> None:
    with errors_as_sentences():
        _page(st.session_state[_OPEN])


def _page(wanted: dict[str, object]) -> None:
    lib = library()
    document = lib.documents.get(int(str(wanted["document"])))
    page = int(str(wanted["page"]))
    st.markdown(f"**{plain(document.title or document.name)}**")
    hit = wanted["hit"]
    if isinstance(hit, Hit):
        actions.for_hit(hit, place="window")
    image, text = st.columns([3, 2], gap="medium")
    with image:
        _page_turner(wanted, document.pages)
        span = wanted["span"]
        marked = span if isinstance(span, tuple) and document.pages else None
        last = int(str(wanted["last"])) if page == wanted["first"] else page
        for shown in range(page, last + 1):
            if shown > page:
                st.caption(f"It goes on on page {shown}")
            st.image(
                lib.documents.page_image(document.id, shown, span=marked),
                width="stretch",
                alt=f"Page {shown} of {document.name}",
            )
    with text:
        quote = str(wanted["quote"]) or (hit.text if isinstance(hit, Hit) else "")
        if quote:
            st.caption("The passage" if not wanted["quote"] else "Quoted")
            st.html(f'<div class="rc-quote">{escape(quote)}</div>')
        if isinstance(hit, Hit):
            for line in _why(hit):
                st.caption(plain(line))
        st.caption("About the document")
        facts = [
            type_name(document.media_type),
            size_name(document.size),
            count_name(document.pages, "page"),
            f"changed {day_name(document.modified_at)}",
        ]
        lines = [*map(escape, facts), place_html(document.path)]
        st.html(f'<p class="rc-about">{"<br>".join(lines)}</p>')
        if document.pages:
            with st.expander("Text of this page"):
                words = lib.documents.page(document.id, page).text
                st.html(f'<div class="rc-text">{escape(words) or "This page has no text."}</div>')


def place_html(path: str) -> str:
    """Where a document is: of a web page, a link to it."""
    shown = escape(path)
    if not path.startswith(("http://", "https://")):
        return shown
    return f'<a href="{shown}" target="_blank" rel="noopener noreferrer">{shown}</a>'


def _page_turner(wanted: dict[str, object], pages: int) -> None:
    if pages < 2:
        return
    page = int(str(wanted["page"]))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Back", key="viewer-back", icon=":material/chevron_left:", disabled=page <= 1):
            wanted["page"] = page - 1
            address.open_document(int(str(wanted["document"])), int(str(wanted["page"])))
            st.rerun(scope="fragment")
        st.caption(f"Page {page} of {pages}", width="content")
        if st.button(
            "Next", key="viewer-next", icon=":material/chevron_right:", disabled=page >= pages
        ):
            wanted["page"] = page + 1
            address.open_document(int(str(wanted["document"])), int(str(wanted["page"])))
            st.rerun(scope="fragment")
        if page != wanted["first"] and st.button("To the passage", key="viewer-first"):
            wanted["page"] = wanted["first"]
            address.open_document(int(str(wanted["document"])), int(str(wanted["page"])))
            st.rerun(scope="fragment")


def _image_viewer(image_id: int) -> None:
    """The viewer in the browser, with the images beside which this one was found."""
    wanted = st.session_state.get(_OPEN, {})
    among: Sequence[Hit] = wanted.get("among", ())
    if all(hit.id != image_id for hit in among):
        info = library().images.get(image_id)
        among, names = (), [info.document or info.path.rsplit("/", 1)[-1]]
    else:
        names = [hit.document or hit.path.rsplit("/", 1)[-1] for hit in among]
    ids = [hit.id for hit in among] or [image_id]
    _viewer(
        key="viewer",
        data={
            "ids": ids,
            "names": [visible_name(name) for name in names],
            "at": ids.index(image_id),
            "why": {str(hit.id): _why(hit) for hit in among if hit.why.dense is not None},
            "can": {"write": may("write"), "studio": actions.makes_images()},
            "images": IMAGES,
            "thumbnails": THUMBNAILS,
            "round": st.session_state.get(_ROUND, 0),
        },
        on_closed_change=address.close,
        on_go_change=lambda: actions.leave_with(st.session_state["viewer"].get("go")),
    )


def _why(hit: Hit) -> list[str]:
    """Why it was found, in lines."""
    parts = [f"score {hit.score:.2f}"]
    if hit.why.dense is not None:
        parts.append(f"meaning {hit.why.dense:.2f}")
    if hit.why.lexical:
        parts.append(f"words {hit.why.lexical:.1f}")
    if hit.why.rerank is not None:
        parts.append(f"re-ranked {hit.why.rerank:.2f}")
    lines = [f"Found by: {' · '.join(parts)}"]
    if hit.why.matched:
        lines.append(f"Words found: {', '.join(hit.why.matched)}")
    return lines
