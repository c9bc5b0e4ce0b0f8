"""The page Ask: a conversation whose answers cite the pages that they come from."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from ragcore.errors import UsageError
from ragcore.library import ConversationInfo, Reply, TurnInfo, hit_from

from ..components import answer_style, collections, frame, viewer
from ..components.actions import ABOUT, CONTEXT
from ..components.live import live
from ..components.text import plain, shorten, time_name
from ..state import end_with_login, errors_as_sentences, library, owner, say_later

_EVERY = 0.25  # seconds between two looks at an answer that is being written
_KEY = "talk"
_STARTING = 4  # questions to begin with
_MOST_DOCUMENTS = 1000  # that can be chosen from
_COMPOSED = "Put together from the documents themselves; no language model wrote it."
_IMAGES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif"]
_WHAT = "What is in the picture?"  # where an image is sent without a question
_RENAME, _DELETE = "Rename", "Delete"


def show() -> None:
    collection = collections.choose()
    if collection is None:
        collections.empty_state()
        return
    _sidebar()
    talk = _current()
    # before the turns: an answer that ends meanwhile is seen twice for a moment, not never
    reply = library().chats.running(owner(), talk.id) if talk else None
    turns: Sequence[TurnInfo] = ()
    if talk is None:
        st.header("Ask your documents", anchor=False)
        st.markdown(
            "Answers come only from what is in the collection, and name the page they stand on. "
            "What is not there is not answered."
        )
        _starting_questions(collection)
    else:
        frame.name_page(shorten(talk.title or "Conversation", 80), "Ask")
        _head(talk)
        turns = library().chats.turns(owner(), talk.id)
        for place, turn in enumerate(turns):
            _turn(turn, talk, last=turn is turns[-1], image=_image_of(turns[:place]))
    if reply is not None and talk is not None:
        _writing(reply, talk)
    image = _image_at_hand(turns)
    if image:
        _about_image(image)
    else:
        _context_chips()
    with st.container(horizontal=True, gap="small"):
        scope = _scope(collection)
        answer_style.show(collection)
    question = st.chat_input(
        "Ask a question" if talk is None else "Ask on",
        key="question",
        disabled=reply is not None,
        max_chars=2000,
        accept_file=True,
        file_type=_IMAGES,
    )
    if question:
        text = question.text
        if question.files:
            text = text.strip() or _WHAT
            image = {"data": base64.b64encode(question.files[0].getvalue()).decode()}
        _send(text, talk, collection, scope=scope, image=image)


# --- conversations -------------------------------------------------------------


def _sidebar() -> None:
    with st.sidebar:
        st.button(
            "New conversation",
            key="new-talk",
            icon=":material/add:",
            width="stretch",
            on_click=_open_talk,
            args=(None,),
        )
        talks = library().chats
        search = ""
        if talks.count(owner()) > 8:
            search = st.text_input(
                "Find a conversation", key="talk-search", placeholder="Find a conversation",
                label_visibility="collapsed", icon=":material/search:",
            )  # fmt: skip
        chosen = st.query_params.get(_KEY, "")
        for talk in talks.list(owner(), search=search or "", limit=50):
            with st.container(key=f"talk-{talk.id}"):
                st.button(
                    plain(shorten(talk.title or "Untitled", 60)),
                    key=f"open-talk-{talk.id}",
                    type="primary" if chosen == str(talk.id) else "tertiary",
                    width="stretch",
                    on_click=_open_talk,
                    args=(talk.id,),
                )


def _open_talk(talk_id: int | None) -> None:
    st.session_state.pop(ABOUT, None)
    if talk_id is None:
        st.query_params.pop(_KEY, None)
    else:
        st.query_params[_KEY] = str(talk_id)


def _current() -> ConversationInfo | None:
    raw = st.query_params.get(_KEY, "")
    if not raw.isdecimal():
        return None
    try:
        return library().chats.get(owner(), int(raw))
    except UsageError:  # another person's, or deleted
        st.query_params.pop(_KEY, None)
        st.warning(f"You have no conversation {raw}: it was deleted, or is another person's.")
        return None


def _head(talk: ConversationInfo) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.subheader(plain(talk.title or "Conversation"), anchor=False, width="content")
        with st.popover("Conversation", icon=":material/more_horiz:", type="tertiary"):
            title = st.text_input("Title", value=talk.title, key=f"title-{talk.id}", max_chars=200)
            if st.button("Rename", key=f"rename-{talk.id}", icon=":material/edit:"):
                with errors_as_sentences():
                    library().chats.rename(owner(), talk.id, title or "")
                    st.rerun()
            st.download_button(
                "Export as Markdown",
                data=partial(library().chats.export_markdown, owner(), talk.id),
                file_name=f"conversation-{talk.id}.md",
                mime="text/markdown",
                key=f"export-{talk.id}",
                icon=":material/download:",
                on_click="ignore",
            )
            if st.button("Delete", key=f"delete-{talk.id}", icon=":material/delete:"):
                _delete(talk)


@st.dialog("Delete this conversation?")
def _delete(talk: ConversationInfo) -> None:
    st.markdown(f"**{plain(talk.title)}** and its answers will be gone.")
    if st.button("Delete it", key="delete-surely", type="primary"):
        library().chats.stop(owner(), talk.id)
        library().chats.delete(owner(), talk.id)
        _open_talk(None)
        say_later("The conversation is deleted.")
        st.rerun()


# --- turns -----------------------------------------------------------------------


def _turn(turn: TurnInfo, talk: ConversationInfo, *, last: bool, image: Mapping[str, Any]) -> None:
    """A question, or the answer to one about that `image`."""
    if turn.role == "user":
        with st.chat_message("user", avatar=":material/person:"):
            if turn.payload.get("image"):
                _asked_image(turn.payload["image"], key=f"about-{turn.id}")
            _text(turn.content)
        return
    with st.chat_message("assistant", avatar=":material/article:"):
        payload = turn.payload
        _rewritten(turn, talk)
        if payload.get("error"):
            st.error(plain(payload["error"]))
        else:
            _text(turn.content, copy=True)
        if payload.get("stopped"):
            st.caption("Stopped." if turn.content else "Stopped before anything was written.")
        if payload.get("composed"):
            st.caption(_COMPOSED)
        if payload.get("model"):
            st.caption(
                f"by {plain(payload['model'])}, from the image alone; a small model is often wrong"
            )
        for number, step in enumerate(payload.get("steps", []), 1):
            st.caption(f"Step {number}: {plain(step['question'])}")
        _citations(turn)
        if payload.get("candidates"):
            _candidates(turn, talk)
        elif payload.get("abstained"):
            _nearest(turn)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if not payload.get("stopped") and not payload.get("error"):
                st.feedback(
                    "thumbs",
                    key=f"rate-{turn.id}",
                    default={1: 1, -1: 0}.get(turn.rating or 0),
                    on_change=_rate,
                    args=(turn.id,),
                )
            asked = payload.get("asked", "")
            if (
                last
                and asked
                and st.button(
                    "Try again", key=f"retry-{turn.id}", type="tertiary", icon=":material/refresh:"
                )
            ):
                _send(asked, talk, talk.collection, image=image)
            seconds = payload.get("timings", {}).get("total")
            if seconds:
                st.caption(time_name(seconds), width="content")
        _evidence(turn)


def _text(text: str, *, copy: bool = False) -> None:
    """Text as it is; with `copy` a button below it (app/assets/shell.js)."""
    button = '<button type="button" class="rc-link rc-copy">Copy</button>' if copy and text else ""
    st.html(f'<div class="rc-copied"><div class="rc-text">{escape(text)}</div>{button}</div>')


def _rewritten(turn: TurnInfo, talk: ConversationInfo) -> None:
    """A follow-up as it was searched for; it can be put right and asked again."""
    asked, searched = turn.payload.get("asked", ""), turn.payload.get("question", "")
    if not searched or searched.strip() == asked.strip():
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"Understood as: {plain(searched)}", width="content")
        with st.popover("Change", type="tertiary", icon=":material/edit:"):
            changed = st.text_area("Ask instead", value=searched, key=f"again-{turn.id}")
            if st.button("Ask again", key=f"ask-again-{turn.id}") and changed:
                _send(changed, talk, talk.collection, standalone=True)


def _citations(turn: TurnInfo) -> None:
    """A button for each cited page; below it the quote, where the answer is not its quotes."""
    citations: Sequence[dict[str, Any]] = turn.payload.get("citations", [])
    composed = turn.payload.get("composed")
    pages: dict[Any, list[dict[str, Any]]] = {}
    for place, citation in enumerate(citations):
        key = (citation["document_id"], citation.get("page")) if composed else place
        pages.setdefault(key, []).append(citation)
    with st.container(horizontal=True, gap="small"):
        for place, group in enumerate(pages.values()):
            citation = group[0]
            page = f" · page {citation['page']}" if citation.get("page") else ""
            image = citation.get("image_id")
            last = f"–{group[-1]['n']}" if len(group) > 1 else ""
            st.button(
                f"\\[{citation['n']}{last}\\] {plain(shorten(citation['document'], 40))}{page}",
                key=f"cite-{turn.id}-{place}",
                icon=":material/image:" if image else ":material/format_quote:",
                on_click=_open_cited,
                args=(citation,),
                help=plain(shorten(citation.get("quote", ""), 200)) or None,
            )
    if not composed:
        said = " ".join(turn.content.split())
        for citation in citations:
            quote = shorten(citation.get("quote", ""), 400)
            if quote in said:
                continue
            st.html(f'<p class="rc-about">[{citation["n"]}] “{escape(quote)}”</p>')


def _candidates(turn: TurnInfo, talk: ConversationInfo) -> None:
    """A button for each thing that the question may be about: it asks about that one."""
    with st.container(horizontal=True, gap="small"):
        for place, one in enumerate(turn.payload["candidates"]):
            label = plain(shorten(one["text"], 60))
            if st.button(label, key=f"meant-{turn.id}-{place}", icon=":material/help:"):
                _send(
                    one["question"],
                    talk,
                    one["collection"] or talk.collection,
                    standalone=True,
                    scope={"documents": [one["document_id"]]},
                )


def _nearest(turn: TurnInfo) -> None:
    """Below an abstention: what was searched for, and the passages that come nearest."""
    found = turn.payload.get("nearest", [])
    if not found:
        return
    st.caption(f"These passages come nearest to “{plain(turn.payload.get('question', ''))}”:")
    for number, entry in enumerate(found, 1):
        _passage(entry, key=f"nearest-{turn.id}-{number}")


def _passage(entry: dict[str, Any], *, key: str, before: str = "") -> None:
    """A passage by document and page, which opens it, above the beginning of its text."""
    hit = hit_from(entry)
    page = f" · page {hit.page}" if hit.page else ""
    st.button(
        plain(f"{before}{shorten(hit.document, 60)}{page}"),
        key=key,
        type="tertiary",
        on_click=viewer.open_hit,
        args=(hit,),
    )
    st.html(f'<p class="rc-about">{escape(shorten(hit.text, 300))}</p>')


def _open_cited(citation: dict[str, Any]) -> None:
    """A cited image, or the cited page with the quote marked."""
    if citation.get("image_id"):
        viewer.open_image(citation["image_id"])
        return
    span = citation.get("span")
    viewer.open_page(
        citation["document_id"],
        citation.get("page"),
        span=tuple(span) if span else None,
        quote=citation.get("quote", ""),
        last=citation.get("page_end"),
    )


def _evidence(turn: TurnInfo) -> None:
    found = turn.payload.get("hits", [])
    prompt = turn.payload.get("prompt", "")
    if not found and not prompt:
        return
    with st.expander("What the answer was made from"):
        for number, entry in enumerate(found, 1):
            _passage(entry, key=f"evidence-{turn.id}-{number}", before=f"{number}. ")
        if prompt:
            st.caption("The prompt, exactly as the model was given it")
            st.code(prompt, language=None, wrap_lines=True, height=260)


def _rate(turn_id: int) -> None:
    given = st.session_state.get(f"rate-{turn_id}")
    rating = {1: 1, 0: -1}.get(given) if given is not None else None
    library().chats.rate(owner(), turn_id, rating)


def _starting_questions(collection: str) -> None:
    """Questions to begin with, from headings of the collection's documents."""
    headings = library().documents.headings(collection, limit=_STARTING)
    if not headings:
        return
    st.caption("For example:")
    for place, heading in enumerate(headings):
        question = heading if heading.endswith("?") else f"Summarize the section “{heading}”."
        if st.button(plain(question), key=f"start-{place}", icon=":material/chat:"):
            _send(question, None, collection)


# --- images ------------------------------------------------------------------------


def _image_at_hand(turns: Sequence[TurnInfo]) -> Mapping[str, Any]:
    """The image that the next question is about; empty for none.

    The one that was chosen last, else that of the conversation's last question.
    """
    chosen: Mapping[str, Any] | None = st.session_state.get(ABOUT)
    return _image_of(turns) if chosen is None else chosen


def _image_of(turns: Sequence[TurnInfo]) -> Mapping[str, Any]:
    """The image of the last question among them; empty for none."""
    asked = [turn for turn in turns if turn.role == "user"]
    return asked[-1].payload.get("image", {}) if asked else {}


def _image_bytes(image: Mapping[str, Any]) -> bytes:
    """To be shown. Raises UsageError for an image that has gone, or may not be seen."""
    if "id" in image:
        return library().images.thumbnail(int(image["id"]))
    return base64.b64decode(image["data"])


def _asked_image(image: Mapping[str, Any], *, key: str) -> None:
    """The image of a question; one of a collection opens in the viewer."""
    try:
        st.image(_image_bytes(image), width=240, alt="The image that the question is about")
    except UsageError:
        st.caption("The image is no longer there.")
        return
    if "id" in image:
        st.button(
            "Open the image", key=key, type="tertiary", icon=":material/image:",
            on_click=viewer.open_image, args=(int(image["id"]),),
        )  # fmt: skip


def _about_image(image: Mapping[str, Any]) -> None:
    """Below the conversation: what the next question is about, and what is seen of it."""
    with st.container(border=True, key="about-image"), errors_as_sentences():
        shown, words, action = st.columns([1, 8, 2], vertical_alignment="center")
        shown.image(_image_bytes(image), width=64, alt="The image that the next question is about")
        words.caption(
            "The next question is about this image. The model sees the image and the question: not "
            "the documents, and not what was said before."
        )
        action.button("Remove", key="no-about-image", icon=":material/close:", on_click=_no_image)


def _no_image() -> None:
    st.session_state[ABOUT] = {}


# --- asking ------------------------------------------------------------------------


def _scope(collection: str) -> dict[str, Any]:
    """What the next questions are asked of, besides the collection; and how long summaries are."""
    others = [row.name for row in library().collections() if row.name != collection]
    rows, total = library().documents.list(collection, limit=_MOST_DOCUMENTS)
    titles = {row.id: row.title or row.name for row in rows if row.state != "failed"}
    with st.popover("Scope", icon=":material/filter_list:", type="tertiary"):
        documents = st.multiselect(
            "Only these documents",
            list(titles),
            format_func=lambda number: titles.get(number, ""),
            key=f"scope-documents-{collection}",
            placeholder="All documents of the collection",
        )
        if total > _MOST_DOCUMENTS:
            st.caption(f"The first {_MOST_DOCUMENTS:,} of {total:,} documents can be chosen here.")
        more = st.multiselect(
            "Other collections as well",
            others,
            key=f"scope-collections-{collection}",
            disabled=bool(documents) or not others,
            placeholder="None",
        )
        length = st.slider("Words of a summary", 50, 600, 150, 50, key="scope-length")
    return {
        "documents": documents,
        "more_collections": [] if documents else more,
        "length": length,
    }


def _send(
    question: str,
    talk: ConversationInfo | None,
    collection: str,
    *,
    standalone: bool = False,
    scope: dict[str, Any] | None = None,
    image: Mapping[str, Any] = {},
) -> None:
    with errors_as_sentences():
        sent = image.get("id") or (base64.b64decode(image["data"]) if image else None)
        if talk is None:
            talk = library().chats.create(owner(), collection=collection, title=question)
            _open_talk(talk.id)
        reply = library().chats.start(
            owner(),
            talk.id,
            question,
            collection=collection,
            standalone=standalone,
            context=st.session_state.get(CONTEXT, ()),
            image=sent,
            **(scope or {}),
        )
        st.session_state.pop(ABOUT, None)
        end_with_login(reply)
        st.rerun()


def _writing(reply: Reply, talk: ConversationInfo) -> None:
    with st.chat_message("assistant", avatar=":material/article:"):
        live(_watch, reply, talk.id, every=_EVERY)


def _watch(reply: Reply, talk_id: int) -> bool:
    """What has been written so far, and whether more comes."""
    if reply.text:
        _text(reply.text)
    else:
        st.caption({"searching": "Looking for passages …"}.get(reply.state, "Reading …"))
    st.button(
        "Stop",
        key=f"stop-{talk_id}",
        icon=":material/stop_circle:",
        on_click=reply.cancel,
        disabled=reply.stopping,
    )
    return not reply.finished


def _context_chips() -> None:
    """Passages that were kept for the next questions."""
    chosen_hits = st.session_state.get(CONTEXT, [])
    if not chosen_hits:
        return
    with st.container(border=True, key="context"):
        st.caption("The next questions are answered from these passages only:")
        with st.container(horizontal=True, gap="small"):
            for hit in chosen_hits:
                page = f" · page {hit.page}" if hit.page else ""
                st.button(
                    plain(f"{shorten(hit.document, 40)}{page}"),
                    key=f"context-{hit.id}",
                    icon=":material/close:",
                    on_click=_drop_context,
                    args=(hit.id,),
                    help="Remove",
                )


def _drop_context(hit_id: int) -> None:
    chosen_hits = st.session_state.get(CONTEXT, [])
    st.session_state[CONTEXT] = [hit for hit in chosen_hits if hit.id != hit_id]
