"""The page Search: words, an image, minus words; filters; results that say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import streamlit as st

from ragcore.library import Filter
from ragcore.types import DocumentInfo, Hit, HitKind, SearchQuery, SearchResult

from ..components import address, chips, collections, filters, frame, results, viewer
from ..components.chips import Chip
from ..components.text import count_name, day_name, plain, shorten, size_name
from ..state import errors_as_sentences, library

_FIRST, _MORE, _MOST = 20, 40, 200
_KINDS = {"All": "all", "Passages": "passages", "Images": "images"}
_IMAGES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif"]
_ALIKE, _COPIES = "Alike", "Copies of it"
_AUTO = "auto"  # the slider's left end: the collection's own cut-off
_CUTS = [_AUTO, *(f"{cut / 20:.2f}" for cut in range(20))]
_SHORT = 120  # characters of a query in the page's title
_DENSITIES: dict[str, results.Density] = {"Comfortable": "comfortable", "Compact": "compact"}


def show() -> None:
    names = collections.choose_some()
    if not names:
        collections.empty_state()
        return
    text, dropped = _question()
    if text:
        frame.name_page(shorten(text, _SHORT), "Search")
    _filters(names)
    chips.show([*_chips(text, dropped is not None), *filters.chips()])
    with errors_as_sentences():
        image = _chosen_image(dropped)
        query = _query(names, text, image)
        chosen = filters.chosen()
        if query is not None:
            with st.spinner("Searching …", show_time=False):
                result = library().search(query)
            _results(result, query)
        elif chosen or _kind() != "all":
            _browse(names, chosen)
        else:
            _welcome(names)


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
            "Exclude",
            key="minus",
            bind="query-params",
            placeholder="words that results should not be about",
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
    return (text or "").strip(), image


def _chosen_image(dropped: bytes | None) -> bytes | None:
    """The library's own image that `like` in the address names, or one dropped or pasted."""
    wanted = st.session_state.pop("_query", None)
    if wanted is not None:
        _set_address(wanted)
    like = st.query_params.get("like", "")
    if like.isdecimal():
        info = library().images.get(int(like))
        _image_note(library().images.thumbnail(info.id), f"Searching by {plain(info.document)}")
        return library().images.read(info.id)
    if dropped is not None:
        shown = library().images.preview(dropped)
        _image_note(shown, "Searching by your image (it is not part of the link)")
    return dropped


def _set_address(wanted: dict[str, str]) -> None:
    """Another search, in place of what was open: what was before is one step back."""
    for name in ("like", "same"):
        if name in wanted:
            st.query_params[name] = wanted[name]
        else:
            st.query_params.pop(name, None)
    address.close()


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
        st.button("Remove", key="no-image", icon=":material/close:", on_click=_no_image)


def _set_sameness() -> None:
    if st.session_state["sameness"] == _COPIES:
        st.query_params["same"] = "1"
    else:
        st.query_params.pop("same", None)


def _no_image() -> None:
    st.session_state["_query"] = {}
    st.session_state.pop("_pasted", None)
    st.session_state["_uploads"] = st.session_state.get("_uploads", 0) + 1


def _filters(names: Sequence[str]) -> None:
    with st.sidebar:
        st.segmented_control(
            "Show", list(_KINDS), default="All", required=True, key="kind",
            bind="query-params",
        )  # fmt: skip
        filters.sidebar(*names)
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


def _chips(text: str, dropped: bool) -> Iterator[Chip]:
    """What is in force besides the filters of the library's table."""
    state = st.session_state
    if minus := (state.get("minus") or "").strip():
        yield Chip("minus", f"Exclude: {minus}", chips.set_state, ("minus", ""))
    if dropped or st.query_params.get("like", "").isdecimal():
        copies = " (copies of it)" if st.query_params.get("same") else ""
        yield Chip("image", f"Image{copies}", _no_image)
        if text and state.get("mix", 0.5) != 0.5:
            yield Chip("mix", f"Image counts {state['mix']:.2f}", chips.set_state, ("mix", 0.5))
    if _kind() != "all":
        yield Chip("kind", f"Only {_kind()}", chips.set_state, ("kind", "All"))
    cut = state.get("cut", _AUTO)
    if cut not in (_AUTO, None):
        yield Chip("cut", f"Cut-off {cut}", chips.set_state, ("cut", _AUTO))


def _kind() -> str:
    return _KINDS[st.session_state.get("kind") or "All"]


def _query(names: Sequence[str], text: str, image: bytes | None) -> SearchQuery | None:
    state = st.session_state
    minus = (state.get("minus") or "").strip()
    if not (text or image or minus):
        return None
    cut = state.get("cut") or _AUTO
    mix = state.get("mix", 0.5)
    signature = (text, minus, bool(image), *names)
    if state.get("_searched") != signature:  # another search begins at the first results
        state["_searched"], state["_k"] = signature, _FIRST
    return SearchQuery(
        text=text,
        image=image,
        minus=minus,
        text_weight=1.0 if not image else max(0.02, 2 * (1 - mix)),
        image_weight=max(0.02, 2 * mix),
        kind=_kind(),  # type: ignore[arg-type]
        k=state.get("_k", _FIRST),
        where=filters.chosen(),
        collections=tuple(names),
        cutoff=None if cut == _AUTO else float(cut),
        same_image=bool(image and st.query_params.get("same")),
    )


@st.fragment
def _results(result: SearchResult, query: SearchQuery) -> None:
    """What was found. A fragment: what is opened here does not search again."""
    found = len(result.hits)
    shown = f"{count_name(found, 'result')} in {result.seconds.get('total', 0.0):.2f} s"
    if result.cutoff > 0:
        shown += f" · cut-off {result.cutoff:.2f}"
    if query.same_image and query.text:
        shown += " · copies are compared by the image alone; the words are not used"
    density = _head(shown)
    if not found:
        st.markdown("**Nothing here comes close enough to that.**")
        st.caption(
            "Try other words, remove filters, or move the cut-off. What came nearest stands below."
            if result.below
            else "Try other words, or remove filters."
        )
    sections = [results.Section(result.hits)]
    if result.below:
        title = f"{count_name(len(result.below), 'result')} below the cut-off"
        sections.append(results.Section(result.below, title=title, open=not found))
    results.show("hits", sections, density=density, collections=len(query.collections) > 1)
    if (
        found >= query.k
        and query.k < _MOST
        and st.button("Show more", key="more", icon=":material/expand_more:")
    ):
        st.session_state["_k"] = min(st.session_state.get("_k", _FIRST) + _MORE, _MOST)
        st.rerun()
    viewer.after_choice()


def _head(shown: str) -> results.Density:
    """How many there are, and how close together they are drawn."""
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.caption(shown, width="content")
        density = st.segmented_control(
            "Density", list(_DENSITIES), default="Comfortable", required=True, key="density",
            bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
    return _DENSITIES[density or "Comfortable"]


@st.fragment
def _browse(names: Sequence[str], chosen: Filter) -> None:
    """Without words: everything that the filters leave."""
    kind, limit = _kind(), st.session_state.get("_browsed", _FIRST)
    hits: list[Hit] = []
    notes: dict[tuple[HitKind, int], str] = {}
    total = 0
    for name in names:
        if kind != "images":
            rows, count = library().documents.list(name, where=chosen, limit=limit)
            total += count
            hits += [_of_document(row, name) for row in rows]
            notes |= {("passage", row.id): _facts(row) for row in rows}
        if kind != "passages":
            images = library().images.list(name, where=chosen, limit=limit)
            hits += [viewer.hit_of(info, name) for info in images]
    drawn = sum(hit.kind == "image" for hit in hits)
    parts = [count_name(total, "document")] if kind != "images" else []
    if kind != "passages":
        parts.append(f"{count_name(drawn, 'image')} shown")
    density = _head(" · ".join(parts) + ", without words")
    if not hits:
        st.markdown("**Nothing meets the filters.**")
    section = results.Section(hits, scores=False, notes=notes)
    results.show("browsed", [section], density=density, collections=len(names) > 1)
    if (total > limit or drawn >= limit) and st.button(
        "Show more", key="more-browsed", icon=":material/expand_more:"
    ):
        st.session_state["_browsed"] = limit + _MORE
        st.rerun(scope="fragment")
    viewer.after_choice()


def _welcome(names: Sequence[str]) -> None:
    """Before the first search: what there is, and the newest images to begin from."""
    every = [library().documents.statistics(name) for name in names]
    documents, passages, images = (
        sum(getattr(counts, part) for counts in every)
        for part in ("documents", "passages", "images")
    )
    if not documents:
        collections.empty_state()
        return
    which = f"**{plain(names[0])}** holds" if len(names) == 1 else "**All collections** hold"
    st.markdown(
        f"{which} {count_name(documents, 'document')}, {count_name(passages, 'passage')} and "
        f"{count_name(images, 'image')}. Type words above, or give an image, or both; filters "
        "alone show what they leave."
    )
    newest = [
        viewer.hit_of(info, name)
        for name in names
        for info in library().images.list(name, limit=12)
    ]
    if newest:
        _newest(sorted(newest, key=lambda hit: -hit.id)[:12])


@st.fragment
def _newest(hits: Sequence[Hit]) -> None:
    section = results.Section(hits, scores=False, images_title="Newest images")
    results.show("newest", [section], density="comfortable")
    viewer.after_choice()


def _of_document(row: DocumentInfo, collection: str) -> Hit:
    return Hit(
        id=row.id, kind="passage", score=1.0, document_id=row.id, document=row.title or row.name,
        path=row.path, text="", media_type=row.media_type, collection=collection,
    )  # fmt: skip


def _facts(row: DocumentInfo) -> str:
    if row.state == "failed":
        return "could not be read"
    pages = count_name(row.pages, "page")
    return f"{pages} · {size_name(row.size)} · changed {day_name(row.modified_at)}"
