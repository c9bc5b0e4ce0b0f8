"""Profiles on the page Models: what each brings and needs, fetched and chosen by a click."""

from __future__ import annotations

import streamlit as st

from ragcore.library import Library, ProfileOffer

from ..components import background
from ..components.background import Background
from ..components.live import live
from ..components.text import plain, size_name, time_name
from ..state import errors_as_sentences, library, may_everywhere, say_later

_BRINGS = {
    "text_encoder": "search by meaning",
    "image_text_encoder": "images by words",
    "reranker": "better order",
    "llm": "answers",
    "vision_llm": "questions about images",
    "transcriber": "speech in recordings",
    "diffusion": "image making",
}
_DOWNLOAD, _SPEED = "download", "speed"
_EVERY = 1.0  # seconds between two looks at what goes on


def show() -> None:
    st.subheader("Profiles", anchor=False)
    st.caption("A profile is a set of models that work together. Nothing is sent anywhere.")
    home = str(library().admin.settings.home) if may_everywhere("admin") else ""
    for offer in library().models.offers():
        _card(offer, home)
    if home and (running := background.latest(home, _DOWNLOAD)) is not None:
        _download(running)


def download(known: Library, home: str, profile: str) -> Background:
    """Fetch a profile's models; what was fetched stays where it is cancelled."""
    return background.start(
        home, _DOWNLOAD, profile,
        lambda note, cancel: known.models.pull(profile=profile, progress=note, cancel=cancel),
    )  # fmt: skip


def _card(offer: ProfileOffer, home: str) -> None:
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
                download(library(), home, offer.name)
                st.rerun()
            if not offer.active and st.button(
                "Use", key=f"profile-use-{offer.name}", icon=":material/swap_horiz:",
                help="From the next click on, without a restart. Models that are not here yet are "
                "fetched when they are first needed.",
            ):  # fmt: skip
                with errors_as_sentences():
                    _use(offer.name)
        if offer.active:
            _speed(offer, home)


def _needs(offer: ProfileOffer) -> str:
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


def _download(download: Background) -> None:
    if download.running:
        live(progress, _DOWNLOAD, "Downloading", every=_EVERY)
    elif download.error:
        st.warning(f"{plain(download.about)}: {plain(download.error)}", icon=":material/error:")
    else:
        st.caption(f"The models of {plain(download.about)} are here.")


def _speed(offer: ProfileOffer, home: str) -> None:
    """How fast the profile in use is here: measured when asked for, until the server ends."""
    speed = background.latest(home, _SPEED)
    if speed is not None and speed.running:
        live(progress, _SPEED, "Measuring", every=_EVERY)
        return
    if speed is not None and speed.about == offer.name:
        if speed.error:
            st.warning(plain(speed.error), icon=":material/error:")
        else:
            found = [f"{one.name} {one.value:.3g} {one.unit}" for one in speed.result]
            st.caption(f"Measured here: {plain(' · '.join(found))}.")
    if st.button(
        "Measure its speed here", key="profile-speed", icon=":material/speed:",
        help="Embeds, ingests, searches and answers with made-up files: one or two minutes.",
    ):  # fmt: skip
        known = library()
        background.start(
            home, _SPEED, offer.name,
            lambda note, cancel: known.evals.speed(progress=note, cancel=cancel),
        )  # fmt: skip
        st.rerun()


def progress(kind: str, words: str) -> bool:
    """How far work of a kind is, and whether it goes on."""
    work = background.latest(str(library().admin.settings.home), kind)
    if work is None or not work.running:
        return False
    now = work.progress
    done = now.done / now.total if now and now.total else 0.0
    words = f"{words} {plain(work.about)}"
    if now is not None:
        words += f": {plain(now.stage)}"
        if kind == _DOWNLOAD:
            words += f", {size_name(now.done)}"
            words += f" of {size_name(now.total)}" if now.total else ""
        if now.seconds_left is not None:
            words += f", {time_name(now.seconds_left)} left"
    st.progress(min(1.0, done), text=words)
    st.button("Cancel", key=f"cancel-{kind}", icon=":material/close:", on_click=work.cancel)
    return True
