"""Training a classifier on what is labelled, and putting it to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from ragcore.library import JobInfo

from ..components.jobs import cancel
from ..components.live import live
from ..components.text import count_name, plain, time_name
from ..state import errors_as_sentences, library, say_later, set_later
from . import teach_label

if TYPE_CHECKING:
    from .teach import Lesson

_EVERY = 0.7  # seconds between two looks at a running job
_NAMES = {"features": "Features", "lora": "LoRA", "full": "Full"}
_WAYS = {
    "features": "the model stays as it is; only where one class ends and the next begins is "
    "learned. Takes seconds, and five examples of each make a start. Right for what things show or "
    "texts are about: begin here.",
    "lora": "small parts added to the model learn as well, so that it comes to see what it did not "
    "look for: form, style, tone. Takes minutes, longer without a graphics card; twenty examples "
    "of each or more.",
    "full": "all of the model learns. Takes minutes to hours, wants hundreds of examples and a "
    "graphics card, and is as large on disk as the model; seldom better than LoRA.",
}
_STAGES = {
    "wait": "Waiting for its turn", "features": "Looking at the examples",
    "lora": "Training adapters", "full": "Training the whole model",
    "review": "Looking for doubtful labels", "label": "Labelling", "done": "Done",
}  # fmt: skip


def show(lesson: Lesson) -> None:
    counts = library().labels.given_counts(lesson.name, collection=lesson.collection)
    _counts(lesson, counts)
    ready = len(counts) >= 2
    if not ready:
        st.caption("Label examples of two classes or more first, then train here.")
    elif min(counts.values()) < 2:
        st.caption("A class with one example is learned, but cannot be measured.")
    ways = st.pills(
        "Ways to compare", list(_WAYS), default=["features"], selection_mode="multi",
        key="teach-ways", format_func=_NAMES.get,
        help="All of them are measured on the same examples, and the cheapest that is as "
        "good as the best is used.",
    )  # fmt: skip
    _explain()
    job = newest(lesson, "teach")
    if st.button(
        "Train", key="teach-go", type="primary", icon=":material/school:",
        disabled=not ready or not ways or (job is not None and job.running),
    ):  # fmt: skip
        with errors_as_sentences():
            library().jobs.start_training(lesson.name, collection=lesson.collection, ways=ways)
            st.rerun()
    if job is not None:
        follow_job(job)


def _counts(lesson: Lesson, counts: Mapping[str, int]) -> None:
    """How many are labelled with each class; a click shows them."""
    if not lesson.classes:
        st.markdown("Nothing is labelled in this collection.")
        return
    with st.container(horizontal=True, gap="small"):
        for name in lesson.classes:
            st.button(
                f"{plain(name)} · {counts.get(name, 0):,}", key=f"teach-count-{name}",
                disabled=not counts.get(name), on_click=teach_label.open_labelled,
                args=(lesson, name),
            )  # fmt: skip


def _explain() -> None:
    """The ways, in the words of somebody who has never trained a model."""
    st.markdown("\n".join(f"- **{_NAMES[way]}**: {text}" for way, text in _WAYS.items()))


def use(lesson: Lesson) -> None:
    if not lesson.trained:
        st.caption("Train it first: then it can label everything here.")
        return
    what = "images" if lesson.kind == "image" else "passages"
    counts = library().labels.counts(lesson.collection, classifier=lesson.name)
    job = newest(lesson, "classify")
    if st.button(
        "Label the whole collection", key="teach-classify", type="primary",
        icon=":material/label:", disabled=job is not None and job.running,
    ):  # fmt: skip
        library().jobs.start_classify(lesson.name, collection=lesson.collection)
        st.rerun()
    if job is not None:
        follow_job(job)
    on = lesson.name in library().classifiers.followed(lesson.collection)
    now = st.toggle(
        "Keep labelling new files", value=on, key=f"teach-follow-{lesson.collection}-{lesson.name}"
    )
    if now != on:
        library().classifiers.follow(lesson.name, collection=lesson.collection, on=now)
        say_later(
            "New files are labelled as they come in." if now else "New files are left unlabelled."
        )
        st.rerun()
    if counts:
        total = sum(counts.values())
        st.caption(f"{total:,} {what} are labelled. A label opens the search among them.")
        with st.container(horizontal=True, gap="small"):
            for label, count in list(counts.items())[:60]:
                if st.button(f"{plain(label)} · {count:,}", key=f"teach-open-{label}"):
                    set_later(label=label, kind="Images" if lesson.kind == "image" else "Passages")
                    st.session_state["_go"] = "search"
                    st.rerun()
    _remove(lesson)


def _remove(lesson: Lesson) -> None:
    with st.popover("Remove the classifier", icon=":material/delete:"):
        st.caption("It is deleted with the labels that it gave. Labels given by hand stay.")
        if st.button("Remove it", key="teach-remove"):
            library().classifiers.remove(lesson.name)
            say_later("Removed.")
            st.rerun()


def newest(lesson: Lesson, kind: str) -> JobInfo | None:
    """The last job of this kind for the lesson."""
    jobs = library().jobs.recent(30, kind=kind, collection=lesson.collection)
    return next((job for job in jobs if job.request.get("classifier") == lesson.name), None)


def follow_job(job: JobInfo) -> None:
    """How far a job is, kept up to date while it runs; then how it ended."""
    watched = st.session_state.setdefault("_teach_watched", set())
    if job.running:
        watched.add(job.id)
        live(_progress, job.id, every=_EVERY)
        return
    if job.id in watched and job.state == "done" and job.kind == "teach":
        watched.discard(job.id)
        set_later(**{"teach-view": "Results"})
        st.rerun()
    if job.state == "failed":
        st.error(plain(job.error[:1].upper() + job.error[1:]), icon=":material/error:")
    elif job.state in ("cancelled", "interrupted"):
        st.caption("It was stopped; what was finished is kept. Start it again to go on.")
    elif job.state == "done":
        st.caption(_ended(job.kind, job.report))


def _progress(job_id: int) -> bool:
    """How far it is, and whether it goes on."""
    job = library().jobs.get(job_id)
    done, total = int(job.progress.get("done") or 0), int(job.progress.get("total") or 0)
    stage = _STAGES.get(str(job.progress.get("stage") or ""), "Starting")
    left = job.progress.get("seconds_left")
    text = stage + (f", {done:,} of {total:,}" if total > 1 else "")
    text += f", {time_name(left)} left" if left else ""
    st.progress(min(1.0, done / total) if total else 0.0, "Stopping …" if job.stopping else text)
    st.button(
        "Cancel", key=f"teach-cancel-{job.id}", icon=":material/close:", disabled=job.stopping,
        on_click=cancel, args=(job.id,),
    )  # fmt: skip
    return job.running


def _ended(kind: str, report: dict[str, Any]) -> str:
    if kind == "teach":
        return f"Trained in {time_name(report.get('seconds', 0))}; see Results."
    source = " from the vectors in the catalog" if report.get("from_catalog") else ""
    count = count_name(int(report.get("labelled", 0)), "item")
    return f"{count} newly labelled{source} in {time_name(report.get('seconds', 0))}."
