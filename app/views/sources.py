"""The page Sources: places that collections are kept in step with."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, JobInfo, SourceInfo

from ..components import collections, jobs
from ..components.live import live
from ..components.text import count_name, day_name, plain
from ..state import errors_as_sentences, library, say_later

_EVERY = {
    "When I ask": 0,
    "Every 15 minutes": 15 * 60,
    "Every hour": 3600,
    "Every 6 hours": 6 * 3600,
    "Every day": 86400,
    "Every week": 7 * 86400,
}
_COUNTS = ("added", "updated", "removed", "failed", "skipped", "unchanged")
_LOOK_EVERY = 1.0  # seconds between two looks at a source that is synced
_SEEN = "_syncing"


def show() -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        _form()
    with right:
        st.subheader("Kept in step", anchor=False)
        live(_list, every=_LOOK_EVERY if _syncing() else None)


def _form() -> None:
    st.subheader("Add a source", anchor=False)
    known = collections.names() or [DEFAULT_COLLECTION]
    # What Streamlit writes into a field of a form covers a long address: Enter does not send it.
    with st.form("source", border=False, clear_on_submit=False, enter_to_submit=False):
        url = st.text_input(
            "Address",
            key="source-url",
            placeholder="https://example.org/handbook",
            help="A web page, a site or a feed (https://), an object store or server (s3://, "
            "webdav://, sftp://, github://), or a folder of this computer.",
        )
        target = st.selectbox(
            "Into the collection",
            known,
            accept_new_options=True,
            key="source-target",
            help="Choose one, or type a new name.",
        )
        often = st.selectbox("Look for changes", list(_EVERY), key="source-every")
        crawl = st.checkbox(
            "Also the pages that it links to", key="source-crawl", help="Of the same web site."
        )
        with st.expander("Limits of a web site"):
            depth = st.number_input(
                "Links in a row", 0, 1000, value=None, key="source-depth", placeholder="as set"
            )
            pages = st.number_input(
                "Pages at most", 1, 10_000_000, value=None, key="source-pages", placeholder="as set"
            )
        st.caption(
            "Passwords and keys are not typed here: they stand in a file of the server "
            "(credentials.toml)."
        )
        if st.form_submit_button("Add and fetch", type="primary", icon=":material/add_link:"):
            with errors_as_sentences():
                _add(
                    url.strip(),
                    str(target or DEFAULT_COLLECTION).strip(),
                    _EVERY[often or "When I ask"],
                    _options(crawl, depth, pages),
                )
                st.rerun()


def _options(crawl: bool, depth: int | None, pages: int | None) -> Mapping[str, str]:
    if not crawl:
        return {}
    numbers = {"depth": depth, "pages": pages}
    given = {name: str(int(one)) for name, one in numbers.items() if one is not None}
    return {"crawl": "yes", **given}


def _add(url: str, target: str, every: int, options: Mapping[str, str]) -> None:
    if not url:
        raise UsageError("type an address first")
    sources = library().sources
    info = sources.add(url, collection=target, options=options, every=every)
    sources.start_sync(info.id)
    say_later("It is entered, and being fetched. You can leave this page; it goes on.")


def _syncing() -> dict[int, JobInfo]:
    """The jobs that sync a source now, by the source's number."""
    recent = library().jobs.recent(20, kind="sync")
    return {int(job.request["source"]): job for job in recent if job.running}


def _list() -> bool:
    """Whether all sources that were synced before still are."""
    with errors_as_sentences():
        running = _syncing()
        before = st.session_state.get(_SEEN, set())
        st.session_state[_SEEN] = set(running)
        found = library().sources.list()
        for info in found:
            _card(info, running.get(info.id))
        if not found:
            st.caption(
                "No source yet. One that is added is looked at again and again: what is new or "
                "changed is fetched, what it brought and lists no more is removed. What you added "
                "by hand stays."
            )
        return not before - set(running)
    return True


def _card(info: SourceInfo, job: JobInfo | None) -> None:
    with st.container(border=True, key=f"source-{info.id}"):
        name = _link(info.url)
        st.markdown(f"**{name}** → {plain(info.collection)}")
        if job is not None:
            jobs.show_running(job)
        else:
            _last(info)
        st.caption(_schedule(info))
        with st.container(horizontal=True, gap="small"):
            _buttons(info, job is not None)


def _link(url: str) -> str:
    shown = plain(url)
    return f"[{shown}](<{url}>)" if url.startswith(("http://", "https://")) else shown


def _last(info: SourceInfo) -> None:
    if info.error:
        when = f"{day_name(info.last_run)} · " if info.last_run else ""
        st.error(f"{when}It did not run: {plain(info.error)}")
    elif info.last_run is None:
        st.caption("Not fetched yet.")
    if info.report and info.last_run is not None:
        counts = ", ".join(f"{info.report[one]:,} {one}" for one in _COUNTS if info.report.get(one))
        when = "Before: " if info.error else f"{day_name(info.last_run)} · "
        st.caption(f"{when}{counts or 'nothing there'}")
    failures = info.report.get("failures", ())
    if failures:
        with st.expander(
            f"{count_name(info.report['failed'], 'file')} could not be read", expanded=True
        ):
            for failure in failures:
                st.caption(f"**{plain(failure['path'])}**: {plain(failure['error'])}")


def _schedule(info: SourceInfo) -> str:
    crawl = "with the pages that it links to · " if info.options.get("crawl") == "yes" else ""
    if info.paused:
        return f"{crawl}paused"
    if not info.every:
        return f"{crawl}looked at when you ask"
    often = next((one.lower() for one, every in _EVERY.items() if every == info.every), "")
    often = often or f"every {info.every // 60:,} minutes"
    next_run = f" · next {day_name(info.next_run)}" if info.next_run else ""
    return f"{crawl}{often}{next_run}"


def _buttons(info: SourceInfo, running: bool) -> None:
    if st.button("Sync now", key=f"sync-{info.id}", icon=":material/sync:", disabled=running):
        library().sources.start_sync(info.id)
        st.rerun()
    label, icon = ("Resume", "play_arrow") if info.paused else ("Pause", "pause")
    if st.button(label, key=f"pause-{info.id}", icon=f":material/{icon}:"):
        call = library().sources.resume if info.paused else library().sources.pause
        call(info.id)
        st.rerun()
    with st.popover("Remove", icon=":material/delete:", disabled=running):
        st.markdown("It will not be looked at any more.")
        if st.button("Keep its documents", key=f"forget-{info.id}"):
            _remove(info, documents=False)
        if st.button("Remove its documents, too", key=f"remove-{info.id}"):
            _remove(info, documents=True)


def _remove(info: SourceInfo, *, documents: bool) -> None:
    count = library().sources.remove(info.id, documents=documents)
    gone = f", with {count_name(count, 'document')}" if documents else ""
    say_later(f"The source is removed{gone}.")
    st.rerun()
