"""Studio: LoRA weights for models of the Stable Diffusion family, kept on the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import streamlit as st

from ragcore.library import LoraRequest

from ..components.chips import Chip
from ..components.text import plain, shorten
from ..state import errors_as_sentences, library, may_everywhere, say_later, set_later


def show() -> None:
    """A file field that adds, a list to choose from, a weight for each.

    Nothing where no LoRA fits the model.
    """
    if not library().diffusion.model.loras:
        return
    with st.expander("LoRA"), errors_as_sentences():
        round_ = st.session_state.get("_studio_lora_drops", 0)
        dropped = None
        if may_everywhere("admin"):
            dropped = st.file_uploader(
                "Add a LoRA (.safetensors)", type=["safetensors"], key=f"studio-lora-drop-{round_}"
            )
        if dropped is not None:
            st.session_state["_studio_lora_drops"] = round_ + 1
            path = library().diffusion.add_lora(dropped.name, dropped)
            chosen = [*st.session_state.get("studio-loras", []), path.name]
            set_later(**{"studio-loras": list(dict.fromkeys(chosen))})
            say_later(f"Added {plain(path.name)}.")
            st.rerun()
        names = list(library().diffusion.loras())
        if not names:
            return
        st.multiselect(
            "Put on", names, key="studio-loras", persist_state="session",
            format_func=lambda name: shorten(name, 50),
        )  # fmt: skip
        for name in st.session_state["studio-loras"]:
            st.session_state.setdefault(_weight(name), 1.0)
            st.number_input(
                plain(f"Weight of {shorten(name, 40)}"), -10.0, 10.0, step=0.1, key=_weight(name),
                persist_state="session",
            )  # fmt: skip


def requests() -> list[LoraRequest]:
    """What is put on."""
    if not library().diffusion.model.loras:
        return []
    known = library().diffusion.loras()
    return [
        LoraRequest(known[name], st.session_state.get(_weight(name), 1.0))
        for name in st.session_state.get("studio-loras", [])
        if name in known
    ]


def chips() -> Iterator[Chip]:
    """What is put on."""
    if not library().diffusion.model.loras:
        return
    for name in st.session_state.get("studio-loras", []):
        label = f"LoRA {shorten(name, 40)} · {st.session_state.get(_weight(name), 1.0):g}"
        yield Chip(f"studio-lora-{name}", label, _take_off, (name,))


def _take_off(name: str) -> None:
    st.session_state["studio-loras"] = [
        other for other in st.session_state.get("studio-loras", []) if other != name
    ]


def restore(loras: Sequence[LoraRequest]) -> list[str]:
    """Put a recipe's LoRAs on at the next run; those that are not here are returned."""
    known = {path: name for name, path in library().diffusion.loras().items()}
    here = [lora for lora in loras if lora.path in known and library().diffusion.model.loras]
    if here or library().diffusion.model.loras:
        set_later(**{"studio-loras": [known[lora.path] for lora in here]})
    for lora in here:
        set_later(**{_weight(known[lora.path]): lora.weight})
    return [f"the LoRA {lora.path.name}" for lora in loras if lora not in here]


def _weight(name: str) -> str:
    return f"studio-lora-weight-{name}"
