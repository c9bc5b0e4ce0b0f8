"""Adding: files from the browser, a folder of this server; how far it is."""

from __future__ import annotations

import streamlit as st

from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION
from ragcore.settings import Settings

from ..components import collections, jobs
from ..components.text import count_name, plain
from ..state import errors_as_sentences, library, may, say_later, set_later, with_login


def show(collection: str) -> None:
    left, right = st.columns([1, 1], gap="large")
    with left:
        target = _target(collection)
        password = st.session_state.get("file-password") or None
        _upload(target, password)
        _folder(target, password)
        with st.expander("Some files are locked"):
            st.text_input(
                "Password of locked files",
                type="password",
                key="file-password",
                autocomplete="off",
                help="Tried on every locked file that is added from this page. It is not kept.",
            )
    with right:
        st.subheader("Activity", anchor=False)
        jobs.job_cards()


def _target(collection: str) -> str:
    known = collections.names() or [DEFAULT_COLLECTION]
    chosen = st.selectbox(
        "Into the collection",
        known,
        index=known.index(collection) if collection in known else 0,
        accept_new_options=True,
        key=f"target-{collection}",
        help="Choose one, or type a new name.",
    )
    return str(chosen or DEFAULT_COLLECTION).strip()


def _upload(target: str, password: str | None) -> None:
    st.subheader("Files from your device", anchor=False)
    limit = Settings().ui_upload_mb
    round_ = st.session_state.get("_upload_round", 0)
    files = st.file_uploader(
        "Documents and images",
        accept_multiple_files=True,
        key=f"upload-{round_}",
        max_upload_size=limit,
        label_visibility="collapsed",
    )
    st.caption(
        f"At most {limit:,} MB a file. Add larger ones, and many, as a folder of this computer: "
        "nothing is copied then."
    )
    label = f"Add {count_name(len(files), 'file')}" if files else "Add"
    if st.button(label, type="primary", disabled=not files, key="upload-go"):
        with errors_as_sentences():
            library().jobs.start_upload(
                [(file.name, file) for file in files],
                collection=target,
                passwords=[password] if password else [],
            )
            _started(target)
            st.session_state["_upload_round"] = round_ + 1
            st.rerun()


def _folder(target: str, password: str | None) -> None:
    st.subheader("A folder of this computer", anchor=False)
    roots = Settings().allowed_roots
    if with_login() and not (roots and may("admin")):
        st.caption(
            "Folders of the server are added by accounts with the scope admin, where the "
            "setting allowed_roots names them."
        )
        return
    if roots:
        shown = ", ".join(plain(str(root)) for root in roots)
        st.caption(f"Allowed are folders under {shown}.")
    path = st.text_input(
        "Folder or file", key="folder", placeholder="/home/me/papers", max_chars=4000
    )
    sync = st.checkbox(
        "Also remove what is gone from the folder",
        key="sync",
        help="Documents whose files are no longer there leave the collection.",
    )
    # Never disabled: what is being typed is known here only once the field is left, by this click.
    if st.button("Add the folder", key="folder-go"):
        with errors_as_sentences():
            if not path.strip():
                raise UsageError("type the path of a folder or file first")
            library().documents.check_paths([path])
            _start(target, [path], password, sync=sync)
            st.rerun()


def _start(target: str, paths: list[str], password: str | None, *, sync: bool = False) -> None:
    library().create_collection(target, exist_ok=True)
    library().jobs.start_ingest(
        paths, collection=target, sync=sync, passwords=[password] if password else []
    )
    _started(target)


def _started(target: str) -> None:
    set_later(collection=target, view="Add")
    say_later("It has begun. You can leave this page; it goes on.")
