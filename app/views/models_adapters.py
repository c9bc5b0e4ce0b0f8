"""Adapters of the language model on the page Models: see, choose, combine, write out, remove."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ragcore.library import BARE, PROFILES_OWN, AdapterInfo

from ..components.text import plain, size_name
from ..state import errors_as_sentences, library, say_later

_NAMES = {PROFILES_OWN: "as the profile says", BARE: "none: the bare model"}


def show() -> None:
    st.subheader("Adapters of the language model", anchor=False)
    found = library().adapters.list()
    if not found:
        st.caption("No adapter is here yet. `ragcore tune lora` trains one.")
        return
    st.dataframe([_row(one) for one in found], hide_index=True)
    with errors_as_sentences():
        _choose([one.name for one in found])
    with st.expander("Combine, write out or remove"), errors_as_sentences():
        _combine([one.name for one in found])
        _write(found)


def _row(info: AdapterInfo) -> dict[str, str | int | float]:
    return {
        "Adapter": info.name,
        "Made for": info.base,
        "Rank": info.rank,
        "Alpha": info.alpha,
        "Layers": ", ".join(info.targets),
        "Size": size_name(info.bytes),
        "From": "comes with ragcore" if info.shipped else str(info.folder),
    }


def _choose(names: list[str]) -> None:
    collections = [row.name for row in library().collections()]
    if not collections:
        return
    where, what = st.columns(2)
    collection = where.selectbox("Questions of the collection", collections, key="adapter-for")
    options = [PROFILES_OWN, BARE, *names]
    chosen = library().adapters.used_by(collection) or PROFILES_OWN
    picked = what.selectbox(
        "are answered with the adapter",
        options,
        index=options.index(chosen) if chosen in options else 0,
        format_func=lambda name: _NAMES.get(name, name),
        key=f"adapter-of-{collection}",
    )
    if picked != chosen:
        library().adapters.use(picked, collection)
        say_later(f"{plain(collection)} is answered with {plain(_NAMES.get(picked, picked))}.")
        st.rerun()


def _combine(names: list[str]) -> None:
    with st.form("combine-adapters", border=False):
        st.markdown("**Combine** several into a new one, each times its weight.")
        rows = st.data_editor(
            [{"Adapter": name, "Weight": 0.0} for name in names],
            hide_index=True, disabled=["Adapter"], key="adapter-weights",
        )  # fmt: skip
        name = st.text_input("Name of the new adapter", key="adapter-new", max_chars=64)
        if st.form_submit_button("Combine", icon=":material/merge:"):
            weights = {row["Adapter"]: float(row["Weight"]) for row in rows if row["Weight"]}
            info = library().adapters.combine(weights, name)
            say_later(f"{plain(info.name)} is made, of rank {info.rank}.")
            st.rerun()


def _write(found: list[AdapterInfo]) -> None:
    st.markdown("**Write out** with its base as one model, or **remove** it.")
    name = st.selectbox("Adapter", [one.name for one in found], key="adapter-one")
    target = st.text_input(
        "Folder, or a file that ends in .gguf", key="adapter-target", placeholder="~/models/mine"
    )
    shipped = next(one.shipped for one in found if one.name == name)
    with st.container(horizontal=True):
        write = st.button("Write", key="adapter-write", icon=":material/download:")
        remove = st.button(
            "Remove", key="adapter-remove", icon=":material/delete:", disabled=shipped
        )
    if write:
        if not target.strip():
            st.error("Say where: a folder, or a file that ends in .gguf.")
            return
        path = Path(target).expanduser()
        with st.spinner("Writing …"):
            written = library().adapters.write(name, path)
        st.success(f"{plain(name)} is written to {plain(str(written))}.")
    if remove:
        library().adapters.remove(name)
        say_later(f"{plain(name)} is deleted.")
        st.rerun()
