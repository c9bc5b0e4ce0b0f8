"""The page Models: profiles compared on a person's own questions."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ragcore.library import ProfileAnswers, ProfileOffer
from ragcore.types import Answer

from ..components import background, collections
from ..components.live import live
from ..components.text import plain, time_name
from ..state import errors_as_sentences, library
from .models_profiles import progress

_COMPARE = "compare"
_EVERY = 1.0  # seconds between two looks
_DOCUMENTS = 20


def show() -> None:
    """For administrators of all collections: questions, profiles, what each answers."""
    names, home = collections.names(), str(library().admin.settings.home)
    if not names:
        return
    st.subheader("Compare on my questions", anchor=False)
    ready = [one for one in library().models.offers() if not (one.missing or one.unknown)]
    st.caption(
        f"The first {_DOCUMENTS} documents of a collection are read by each profile, then your "
        "questions are asked. Nothing is changed. Only profiles whose models are here."
    )
    with st.form("compare", border=False):
        text = st.text_area(
            "Questions, one a line", key="compare-questions", max_chars=10_000, height=100,
            placeholder="How many days of leave do we have?",
        )  # fmt: skip
        collection = st.selectbox("Collection", names, key="compare-collection")
        chosen = st.multiselect(
            "Profiles", [one.name for one in ready], default=[one.name for one in ready[:2]],
            key="compare-profiles",
        )  # fmt: skip
        asked = st.form_submit_button("Compare", icon=":material/compare_arrows:")
    work = background.latest(home, _COMPARE)
    if asked and (work is None or not work.running):
        questions = [line.strip() for line in (text or "").splitlines() if line.strip()]
        start(home, str(collection), questions, chosen, ready)
        st.rerun()
    if work is None:
        return
    if work.running:
        live(progress, _COMPARE, "Comparing on", every=_EVERY)
    elif work.error:
        st.warning(plain(work.error[:1].upper() + work.error[1:]), icon=":material/error:")
    else:
        with errors_as_sentences():
            _table(*work.result)


def start(
    home: str,
    collection: str,
    questions: Sequence[str],
    chosen: Sequence[str],
    offers: Sequence[ProfileOffer],
) -> background.Background:
    """Ask in the background; the profile in use goes by the name that the settings have."""
    known = library()
    active = {one.name for one in offers if one.active}
    profiles = [known.admin.settings.profile if name in active else name for name in chosen]

    def work(note: background.ProgressCallback, cancel: background.CancelToken) -> object:
        return questions, known.evals.profiles(
            profiles, questions, collection=collection, documents=_DOCUMENTS, progress=note,
            cancel=cancel,
        )  # fmt: skip

    return background.start(home, _COMPARE, collection, work)


def _table(questions: Sequence[str], found: Sequence[ProfileAnswers]) -> None:
    """A row for each question, a column for each profile; how fast each was."""
    for one in found:
        if one.error:
            st.warning(f"{plain(one.profile)}: {plain(one.error)}", icon=":material/error:")
    answered = [one for one in found if not one.error]
    rows = [
        {"Question": question, **{one.profile: shown(one.answers[number]) for one in answered}}
        for number, question in enumerate(questions)
    ]
    st.table(rows)
    for one in answered:
        st.caption(
            f"**{plain(one.profile)}**: an answer in {time_name(one.seconds)}, "
            f"{one.passages:.1f} passages a second, {one.documents} documents"
        )


def shown(answer: Answer) -> str:
    """An answer with where it stands, as a cell of the table."""
    places = dict.fromkeys(
        c.document + (f", page {c.page}" if c.page else "") for c in answer.citations
    )
    text = " ".join(answer.text.split())
    return plain(text + (f" ({'; '.join(places)})" if places else ""))
