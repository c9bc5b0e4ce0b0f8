"""Model servers of this computer on the page Models: looked for when asked, used by one click."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ..components.text import count_name, plain
from ..state import library, say_later

_FOUND = "_model_servers"
_PARTS = {"chat": "answers", "embedding": "text search", "reranking": "reranking"}


def show() -> None:
    """The button that looks for servers, and what was found."""
    st.subheader("Model servers on this computer", anchor=False)
    st.caption(
        "Ollama, LM Studio, llama-server, vLLM and Text Embeddings Inference are looked for on "
        "their usual ports of 127.0.0.1, and only when you ask."
    )
    if st.button("Find servers", icon=":material/search:", key="find-servers"):
        with st.spinner("Looking at 127.0.0.1 …"):
            st.session_state[_FOUND] = library().models.find_servers()
    servers = st.session_state.get(_FOUND)
    if servers is None:
        return
    if not servers:
        st.info("No model server answers. Start one, then look again.")
    for server in servers:
        _server(server)


def _server(server: Any) -> None:
    st.markdown(
        f"**{plain(server.kind)}** {plain(server.version)} · {plain(server.url)} · "
        f"{count_name(len(server.models), 'model')}"
    )
    profile = library().models.profile
    used = {reference.name for _, reference in profile.parts() if reference.needs_weights is False}
    for model in server.models:
        with st.container(
            border=True, horizontal=True, vertical_alignment="center",
            horizontal_alignment="distribute", key=f"served-{server.url}-{model.name}",
        ):  # fmt: skip
            st.markdown(f"**{plain(model.name)}**")
            facts = [_PARTS[model.task], *(["images"] if model.vision else [])]
            if model.context_length:
                facts.append(count_name(model.context_length, "token"))
            st.caption(" · ".join(facts), width="content")
            name = f"{server.kind}:{model.name}"
            if model.name in used:
                st.caption("in use", width="content")
            elif st.button("Use", key=f"use-{server.url}-{model.name}", help=f"Use {name}"):
                _use(name, server.url, encodes=model.task == "embedding")


def _use(name: str, url: str, *, encodes: bool) -> None:
    """Store a profile with this model; the next run of the page opens the library with it."""
    models = library().models
    path = models.write_served(name, ports=[int(url.rpartition(":")[2])])
    models.use_profile(str(path))
    note = f"{plain(name)} is used from now on."
    if encodes:
        note += " Collections that other models embedded have to be embedded again."
    say_later(note)
    st.rerun()
