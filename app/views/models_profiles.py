"""Profiles on the page Models: what each brings and needs, fetched and chosen by a click."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ..components import downloads
from ..components.live import live
from ..components.text import plain, size_name, time_name
from ..state import errors_as_sentences, library, may_everywhere, say_later

_BRINGS = {
    "text_encoder": "search by meaning",
    "image_text_encoder": "images by words",
    "reranker": "better order",
    "llm": "answers",
    "vision_llm": "questions about images",
    "diffusion": "image making",
}
_EVERY = 1.0  # seconds between two looks at a download


def show() -> None:
    st.subheader("Profiles", anchor=False)
    st.caption("A profile is a set of models that work together. Nothing is sent anywhere.")
    home = str(library().admin.settings.home) if may_everywhere("admin") else ""
    for offer in library().models.offers():
        _card(offer, home)
    if home and (running := downloads.latest(home)) is not None:
        _download(running)


def _card(offer: Any, home: str) -> None:
    with st.container(border=True, key=f"profile-{offer.name}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(offer.name)}**", width="content")
            if offer.active:
                st.badge("In use", icon=":material/check:", color="green")
        st.markdown(plain(offer.description))
        brings = [words for part, words in _BRINGS.items() if part in offer.models]
        if any(part.startswith("controlnet.") for part in offer.models):
            brings.append("images that follow others")
        st.caption(f"Brings {', '.join(brings)}. {_needs(offer)}")
        if not home:
            return
        with st.container(horizontal=True, gap="small"):
            if (offer.missing or offer.unknown) and st.button(
                "Download", key=f"profile-download-{offer.name}", icon=":material/download:"
            ):
                downloads.start(library(), home, offer.name)
                st.rerun()
            if not offer.active and st.button(
                "Use", key=f"profile-use-{offer.name}", icon=":material/swap_horiz:",
                help="From the next click on, without a restart. Models that are not here yet are "
                "fetched when they are first needed.",
            ):  # fmt: skip
                with errors_as_sentences():
                    _use(offer.name)


def _needs(offer: Any) -> str:
    if not offer.bytes and not offer.unknown:
        return "It needs no files of its own."
    sizes = f"Its files take {size_name(offer.bytes)}, and about as much memory when all are in use"
    if offer.missing or offer.unknown:
        more = ", more for models whose size is not known yet" if offer.unknown else ""
        return f"{sizes}; {size_name(offer.missing)} are to be downloaded{more}."
    return f"{sizes}; all are here."


def _use(name: str) -> None:
    library().models.use_profile(name)
    say_later(
        f"{plain(name)} is used from now on. Collections that other models embedded are embedded "
        "again in Library, Overview."
    )
    st.rerun()


def _download(download: downloads.Download) -> None:
    if download.running:
        live(_running, every=_EVERY)
    elif download.error:
        st.warning(f"{plain(download.profile)}: {plain(download.error)}", icon=":material/error:")
    else:
        st.caption(f"The models of {plain(download.profile)} are here.")


def _running() -> bool:
    """How far it is, and whether it goes on."""
    download = downloads.latest(str(library().admin.settings.home))
    if download is None or not download.running:
        return False
    progress = download.progress
    done = progress.done / progress.total if progress and progress.total else 0.0
    words = f"Downloading {plain(download.profile)}"
    if progress is not None:
        words += f": {plain(progress.stage)}, {size_name(progress.done)}"
        words += f" of {size_name(progress.total)}" if progress.total else ""
        if progress.seconds_left is not None:
            words += f", {time_name(progress.seconds_left)} left"
    st.progress(min(1.0, done), text=words)
    st.button("Cancel", key="profile-cancel", icon=":material/close:", on_click=download.cancel)
    return True
