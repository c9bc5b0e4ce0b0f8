"""The page Models: what runs where, what is in memory, adapters, licenses, settings."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ragcore.redaction import mask_url
from ragcore.settings import Settings

from ..components.text import count_name, plain, size_name
from ..state import errors_as_sentences, library, may, may_everywhere, say_later
from . import models_adapters, models_compare, models_profiles, models_servers

_SECRET = ("default", "set, not shown")


def show() -> None:
    for damage in library().models.damaged_weights:
        st.error(
            f"Weights are damaged: {plain(damage)}. `ragcore doctor --repair` gets them again.",
            icon=":material/error:",
        )
    st.header("Models and settings", anchor=False)
    _device()
    with errors_as_sentences():
        models_profiles.show()
    if may_everywhere("admin"):
        with errors_as_sentences():
            models_compare.show()
    with errors_as_sentences():
        _loaded()
    if may("admin"):
        with errors_as_sentences():
            models_adapters.show()
    if may_everywhere("admin"):
        with errors_as_sentences():
            models_servers.show()
    with errors_as_sentences():
        _details()


def _device() -> None:
    st.subheader("This computer", anchor=False)
    with errors_as_sentences():
        with st.spinner("Looking at the device …"):
            facts = library().models.device()
        where = "Graphics card" if facts["device"] == "cuda" else "Processor"
        one, two = st.columns(2)
        one.metric("Models run on", str(facts.get("gpu", where)))
        two.metric("Memory in use", size_name(library().models.process_memory()))
        if facts["device"] == "cpu" and not facts["cuda"]:
            st.caption("No graphics card that torch can use was found; nothing pretends otherwise.")


def _details() -> None:
    """What is said in the words of the trade."""
    with st.expander("Details"):
        facts = library().models.device()
        st.markdown(
            f"Numbers are {plain(str(facts['precision']))}: {plain(str(facts['why']))}. "
            f"{count_name(int(facts['threads']), 'thread')} on {plain(str(facts['processor']))}."
        )
        _profile()
        _weights(library().models.weights())
        if may_everywhere("admin"):
            _settings(library().admin.settings)


def _loaded() -> None:
    st.subheader("In memory now", anchor=False)
    models = library().models.loaded()
    if not models:
        st.caption("No model is in memory. Each loads when it is first needed.")
        return
    for number, model in enumerate(models):  # two of one part while a profile is changed
        with st.container(
            border=True, horizontal=True, vertical_alignment="center",
            horizontal_alignment="distribute", key=f"loaded-{number}-{model.part}",
        ):  # fmt: skip
            st.markdown(f"**{plain(model.name)}** · {plain(model.part.replace('_', ' '))}")
            runs = " · ".join(filter(None, [model.device, model.precision]))
            st.caption(f"{size_name(model.bytes)} · {plain(runs)}", width="content")
            if may("admin") and st.button(
                "Free", key=f"free-{number}-{model.part}", icon=":material/eject:"
            ):
                if library().models.unload(model.name):
                    say_later(f"{plain(model.name)} is out of memory; it loads when needed.")
                else:
                    say_later(f"{plain(model.name)} is at work; try again later.")
                st.rerun()


def _profile() -> None:
    profile = library().models.profile
    st.markdown(f"**Models of the profile {plain(profile.name)}**")
    rows = [
        {"Part": part.replace("_", " "), "Model": reference.name, "Run by": reference.kind}
        for part, reference in profile.parts()
    ]
    st.dataframe(rows, hide_index=True)


def _weights(rows: Any) -> None:
    st.markdown("**Model files and their licenses**")
    table = [
        {
            "Model": row.name,
            "State": row.state,
            "Size": size_name(row.size),
            "License": row.license,
            "Trained on": row.training_data or "see its model card",
            "For": row.task.replace("_", " "),
            "From": row.provider,
            "About": row.about,
        }
        for row in rows
    ]
    st.dataframe(table, hide_index=True)


def _settings(settings: Settings) -> None:
    st.markdown("**Settings**")
    st.caption(
        "Set by the variables RAGCORE_… or in settings.toml of the home folder; read at start."
    )
    rows = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = mask_url(_value(value)) if field.repr else _SECRET[bool(value)]
        rows.append({"Setting": name, "Value": shown, "Meaning": field.description or ""})
    st.dataframe(rows, hide_index=True)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "any"
    return str(value) or "default"
