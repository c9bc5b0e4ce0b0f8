"""The page Search: words, an image, minus words; filters; results that say why."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ragcore.types import Hit, SearchQuery, SearchResult

from ..components import collections, filters, hits
from ..components.text import count_name, plain
from ..state import errors_as_sentences, library

_FIRST, _MORE, _MOST = 20, 40, 200
_KINDS = {"All": "all", "Passages": "passages", "Images": "images"}
_IMAGES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif"]
_ALIKE, _COPIES = "Alike", "Copies of it"
_AUTO = "auto"  # the slider's left end: the collection's own cut-off
_CUTS = [_AUTO, *(f"{cut / 20:.2f}" for cut in range(20))]


def show() -> None:
    collection = collections.choose()
    if collection is None:
        collections.empty_state()
        return
    text, image = _question()
    _filters(collection)
    query = _query(collection, text, image)
    if query is None:
        _welcome(collection)
        return
    with errors_as_sentences():
        with st.spinner("Searching …", show_time=False):
            result = library().search(query)
        _results(result, query)


def _question() -> tuple[str, bytes | None]:
    """The box, the image beside it, the minus words; what is searched for."""
    with st.container(key="question"):
        box, beside = st.columns([6, 1], vertical_alignment="bottom")
    text = box.text_input(
        "Search",
        key="q",
        bind="query-params",
        type="search",
        placeholder="What are you looking for?",
        label_visibility="collapsed",
        icon=":material/search:",
        max_chars=2000,
    )
    with beside.popover("Image", icon=":material/image:", width="stretch"):
        st.caption("Drop or choose an image, or paste one below.")
        uploaded = st.file_uploader(
            "Image to search by",
            type=_IMAGES,
            key=f"image-{st.session_state.get('_uploads', 0)}",  # a new key empties it
            label_visibility="collapsed",
        )
        pasted = st.chat_input(
            "Click here and paste an image",
            key="pasted",
            accept_file=True,
            file_type=_IMAGES,
        )
        if pasted and pasted.files:
            st.session_state["_pasted"] = pasted.files[0].getvalue()
        st.text_input(
            "But not",
            key="minus",
            bind="query-params",
            placeholder="words to stay away from",
            max_chars=500,
        )
        st.slider(
            "Image or words",
            0.0,
            1.0,
            0.5,
            key="mix",
            bind="query-params",
            help="How much the image counts against the words, where both are given.",
        )
    image = uploaded.getvalue() if uploaded else st.session_state.get("_pasted")
    return (text or "").strip(), _chosen_image(image)


def _chosen_image(image: bytes | None) -> bytes | None:
    """The library's own image that `like` in the address names, or one dropped or pasted."""
    address = st.query_params
    wanted = st.session_state.pop("_query", None)
    if wanted is not None:
        _set_address(wanted)
    like = address.get("like", "")
    if like.isdecimal():
        with errors_as_sentences():
            info = library().images.get(int(like))
            _image_note(library().images.thumbnail(info.id), f"Searching by {plain(info.document)}")
            return library().images.read(info.id)
        return None
    if image is not None:
        _image_note(image, "Searching by your image (it is not part of the link)")
    return image


def _set_address(wanted: dict[str, str]) -> None:
    for name in ("like", "same"):
        if name in wanted:
            st.query_params[name] = wanted[name]
        else:
            st.query_params.pop(name, None)


def _image_note(image: bytes, note: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.image(image, width=64, alt="The image that is searched by")
        st.caption(note, width="content")
        st.session_state["sameness"] = _COPIES if st.query_params.get("same") else _ALIKE
        st.segmented_control(
            "Find",
            [_ALIKE, _COPIES],
            required=True,
            key="sameness",
            label_visibility="collapsed",
            on_change=_set_sameness,
            help="What shows the same kind of thing, or copies of this very image: cut, turned, "
            "mirrored, re-colored, written over.",
        )
        st.button("Take away", key="no-image", icon=":material/close:", on_click=_no_image)


def _set_sameness() -> None:
    if st.session_state["sameness"] == _COPIES:
        st.query_params["same"] = "1"
    else:
        st.query_params.pop("same", None)


def _no_image() -> None:
    st.session_state["_query"] = {}
    st.session_state.pop("_pasted", None)
    st.session_state["_uploads"] = st.session_state.get("_uploads", 0) + 1


def _filters(collection: str) -> None:
    with st.sidebar:
        st.segmented_control(
            "Show", list(_KINDS), default="All", required=True, key="kind",
            bind="query-params",
        )  # fmt: skip
        filters.sidebar(collection)
        st.select_slider(
            "Relevance cut-off",
            _CUTS,
            key="cut",
            bind="query-params",
            help="Results with a lower score are put below a line. Far left: as the "
            "collection is set.",
        )
        st.button("Clear filters", key="clear", on_click=_clear, icon=":material/filter_alt_off:")


def _clear() -> None:
    filters.clear()
    st.session_state["cut"] = _AUTO
    st.session_state["kind"] = "All"


def _query(collection: str, text: str, image: bytes | None) -> SearchQuery | None:
    state = st.session_state
    minus = (state.get("minus") or "").strip()
    if not (text or image or minus):
        return None
    cut = state.get("cut", _AUTO)
    mix = state.get("mix", 0.5)
    signature = (text, minus, bool(image), collection)
    if state.get("_searched") != signature:  # another search begins at the first results
        state["_searched"], state["_k"] = signature, _FIRST
    return SearchQuery(
        text=text,
        image=image,
        minus=minus,
        text_weight=1.0 if not image else max(0.02, 2 * (1 - mix)),
        image_weight=max(0.02, 2 * mix),
        kind=_KINDS[state.get("kind") or "All"],  # type: ignore[arg-type]
        k=state.get("_k", _FIRST),
        where=filters.chosen(),
        collection=collection,
        cutoff=None if cut == _AUTO else float(cut),
        same_image=bool(image and st.query_params.get("same")),
    )


def _results(result: SearchResult, query: SearchQuery) -> None:
    found = len(result.hits)
    seconds = result.seconds.get("total", 0.0)
    shown = f"{count_name(found, 'result')} in {seconds:.2f} s"
    if result.cutoff > 0:
        shown += f" · cut-off {result.cutoff:.2f}"
    st.caption(shown)
    if not found:
        st.markdown("**Nothing here comes close enough to that.**")
        st.caption(
            "Try other words, take filters away, or move the cut-off. What came nearest stands "
            "below."
            if result.below
            else "Try other words, or take filters away."
        )
    _both(result.hits, place="hit")
    if found >= query.k and query.k < _MOST:
        st.button("Show more", key="more", on_click=_more, icon=":material/expand_more:")
    if result.below:
        with st.expander(
            f"{count_name(len(result.below), 'result')} below the cut-off", expanded=not found
        ):
            _both(result.below, place="below")


def _more() -> None:
    st.session_state["_k"] = min(st.session_state.get("_k", _FIRST) + _MORE, _MOST)


def _both(found: tuple[Hit, ...], *, place: str) -> None:
    """Passages and images side by side where there are both; one under the other on a phone."""
    passages = [hit for hit in found if hit.kind == "passage"]
    images = [hit for hit in found if hit.kind == "image"]
    if passages and images:
        left, right = st.columns([3, 2], gap="large")
        with left:
            st.subheader("Passages", anchor=False)
            hits.passages(passages, place=place)
        with right:
            st.subheader("Images", anchor=False)
            hits.images(images, place=place, width=130)
    elif passages:
        hits.passages(passages, place=place)
    elif images:
        hits.images(images, place=place)


def _welcome(collection: str) -> None:
    """Before the first search: what there is, and the newest images to begin from."""
    counts = library().documents.statistics(collection)
    if not counts.documents:
        collections.empty_state()
        return
    st.markdown(
        f"**{plain(collection)}** holds {count_name(counts.documents, 'document')}, "
        f"{count_name(counts.passages, 'passage')} and {count_name(counts.images, 'image')}. "
        "Type words above, or give an image, or both."
    )
    newest = library().images.list(collection, limit=12)
    if newest:
        st.subheader("Newest images", anchor=False)
        found = [_as_hit(info, collection) for info in newest]
        hits.images(found, place="new", scores=False)


def _as_hit(info: Any, collection: str) -> Hit:
    return Hit(
        id=info.id,
        kind="image",
        score=1.0,
        document_id=info.document_id,
        document=info.document,
        path=info.path,
        text=info.caption or info.text,
        page=info.page,
        collection=collection,
    )
