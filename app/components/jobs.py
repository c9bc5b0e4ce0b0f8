"""Running ingests: a line in the sidebar of every page, cards on the page Library."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from ragcore.library import JobInfo
from ragcore.types import SkippedParts

from ..state import errors_as_sentences, library, may, say_later, set_later
from .collections import KEY as COLLECTION
from .live import live
from .text import count_name, day_name, plain, size_name, time_name

_EVERY = 1.0  # seconds between two looks at a running job
_LATE = 3.0  # seconds without news after which nothing moves
_SEEN = "_seen_jobs"
_DOING = {
    "ingest": "Adding to",
    "teach": "Learning from",
    "classify": "Labelling",
    "caption": "Captioning",
    "sync": "Syncing",
}
_FILES = ("ingest", "sync")  # kinds that read files
_ELSEWHERE = ("teach", "classify")  # kinds that the page Classifiers shows


def running() -> list[JobInfo]:
    return [job for job in library().jobs.recent(20) if job.running]


def sidebar_note() -> None:
    """Say on every page what goes on: models being fetched, an ingest running."""
    state = library().models.preparation.state
    busy = bool(running()) or state in ("fetching", "loading")
    with st.sidebar:
        if busy or state == "failed":
            live(_note, every=_EVERY if busy else None)


def _note() -> bool:
    """Whether anything goes on."""
    with errors_as_sentences():
        preparation = library().models.preparation
        active = running()
        if preparation.state == "fetching" and preparation.fetch is not None:
            fetch = preparation.fetch
            share = fetch.done / fetch.total if fetch.total else 0.0
            st.progress(min(share, 1.0), f"Fetching the model {preparation.name}")
            st.caption(f"{size_name(fetch.done)} of {size_name(fetch.total)}, once only")
        elif preparation.state == "loading":
            st.caption("Loading the models …")
        elif preparation.state == "failed":
            st.warning(f"The models are not ready: {plain(preparation.error)}")
            if st.button("Try again", key="prepare-again"):
                library().models.prepare()
                st.rerun()
        for job in active:
            done, total = _counts(job)
            doing = _DOING.get(job.kind, "Embedding")
            far = f": {done:,} of {total:,}" if total else " …"
            st.progress(_share(job), f"{doing} {plain(job.collection)}{far}")
        return bool(active) or preparation.state in ("fetching", "loading", "failed")
    return True


def job_cards(limit: int = 10) -> None:
    """The newest ingests, those that run kept up to date."""
    live(_cards, limit, every=_EVERY if running() else None)


def _cards(limit: int) -> bool:
    """Whether all jobs that ran before still run."""
    with errors_as_sentences():
        jobs = [job for job in library().jobs.recent(5 * limit) if job.kind not in _ELSEWHERE][
            :limit
        ]
        now_running = {job.id for job in jobs if job.running}
        before = st.session_state.get(_SEEN, set())
        st.session_state[_SEEN] = now_running
        for job in jobs:
            if job.state != "resumed":
                _card(job)
        if not jobs:
            st.caption("Nothing has been added yet.")
        return not before - now_running
    return True


def _card(job: JobInfo) -> None:
    with st.container(border=True, key=f"job-{job.id}"):
        names = [str(path).rsplit("/", 1)[-1] for path in job.request.get("paths", [])]
        what = plain(names[0]) if len(names) == 1 else count_name(len(names), "item")
        if job.kind == "reembed":
            what = "Re-embed"
        st.markdown(f"**{what}** → {plain(job.collection)}")
        if job.request.get("after") == "interrupted":
            st.caption("The server was stopped in the middle; it went on where that was.")
        if job.running:
            show_running(job)
        else:
            _ended(job)


def show_running(job: JobInfo) -> None:
    """How far a job is, and a button that cancels it."""
    done, total = _counts(job)
    progress = job.progress
    stage = str(progress.get("stage") or "starting")
    if job.stopping:
        st.progress(_share(job), "Stopping; what is stored stays …")
    elif not total and library().models.preparation.state in ("fetching", "loading"):
        st.progress(0.0, "Waiting for the models …")
    elif stage == "store":
        st.progress(_share(job), f"{count_name(total, 'file')} read; storing the last of them …")
    elif stage in ("discover", "starting") or not total:
        st.progress(0.0, "Looking through the files …")
    else:
        parts = [f"{done:,} of {count_name(total, 'file' if job.kind in _FILES else 'item')}"]
        if progress.get("rate"):
            parts.append(f"{progress['rate']:.1f} a second")
        left = progress.get("seconds_left")
        if left is not None:  # grows while nothing moves
            parts.append(f"{time_name(left + max(0.0, age(job) - _LATE))} left")
        if progress.get("failed"):
            parts.append(f"{progress['failed']:,} failed")
        st.progress(_share(job), " · ".join(parts))
    current = str(progress.get("current") or "")
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.caption(plain(current.rsplit("/", 1)[-1]) or "…", width="content")
        st.button(
            "Cancel",
            key=f"cancel-{job.id}",
            icon=":material/close:",
            disabled=job.stopping,
            on_click=cancel,
            args=(job.id,),
        )


def cancel(job_id: int) -> None:
    """Ask a job to stop: for a button."""
    library().jobs.cancel(job_id)


def _ended(job: JobInfo) -> None:
    done, total = _counts(job)
    when = day_name(job.finished_at or job.updated_at)
    failed = job.report.get("failed", [])
    if job.state == "done":
        icon = "warning" if failed else "check"
        st.caption(f":material/{icon}: {when} · {_summary(job)}")
    elif job.state == "failed":
        st.error(f"{when} · {plain(job.error)}")
    elif job.state == "cancelled":
        st.caption(f":material/block: Cancelled {when} · {_summary(job)}")
    else:
        st.warning(
            f"The server was stopped in the middle of this, at {done:,} of {total:,} files "
            f"({when}). What was stored is kept."
        )
    if failed:
        with st.expander(f"{count_name(len(failed), 'file')} could not be read", expanded=True):
            for failure in failed[:200]:
                name = str(failure["path"]).rsplit("/", 1)[-1]
                st.caption(f"**{plain(name)}**: {plain(failure['error'])}")
            if job.kind == "ingest" and may("write"):
                _try_again(job, locked=any("locked" in str(one["error"]) for one in failed))
    incomplete = job.report.get("incomplete", [])
    if incomplete:
        with st.expander(f"{count_name(len(incomplete), 'file')} with parts that were not read"):
            for file in incomplete[:200]:
                name = str(file["path"]).rsplit("/", 1)[-1]
                skipped = "; ".join(str(SkippedParts(**one)) for one in file["skipped"])
                st.caption(f"**{plain(name)}**: {plain(skipped)}")
    if job.kind in _FILES and (job.report.get("added") or job.report.get("updated")):
        _next_steps(job)
    if job.state in ("failed", "cancelled", "interrupted") and st.button(
        "Go on", key=f"resume-{job.id}", icon=":material/play_arrow:"
    ):
        library().jobs.resume(job.id)
        say_later("It continues where it stopped.")
        st.rerun()


def _try_again(job: JobInfo, *, locked: bool) -> None:
    """Read what failed again, locked files with a password."""
    with st.form(f"again-{job.id}", border=False):
        password = ""
        if locked:
            password = st.text_input(
                "Password of the locked files", type="password", autocomplete="off",
                help="It is not kept.",
            )  # fmt: skip
        if st.form_submit_button("Try again", icon=":material/refresh:"):
            library().jobs.start_again(job.id, passwords=[password] if password else [])
            st.rerun()


def _next_steps(job: JobInfo) -> None:
    """What one does with what was added."""
    with st.container(horizontal=True, gap="small"):
        for page, label, icon in (
            ("search", "Search it", "search"),
            ("ask", "Ask about it", "chat"),
        ):
            if st.button(label, key=f"{page}-{job.id}", icon=f":material/{icon}:"):
                set_later(**{COLLECTION: job.collection})
                st.session_state["_go"] = page
                st.rerun()


def _summary(job: JobInfo) -> str:
    report = job.report
    if not report:
        return "nothing was stored"
    if job.kind == "reembed":
        vectors = sum(report.get("embedded", {}).values())
        return f"{count_name(vectors, 'vector')}, {time_name(report.get('seconds', 0))}"
    if job.kind == "caption":
        captions = count_name(report.get("captioned", 0), "caption")
        return f"{captions} by {plain(report.get('model', ''))}"
    parts = [
        count_name(report[key], "file") + f" {key}"
        for key in ("added", "updated", "renamed", "removed", "unchanged")
        if report.get(key)
    ]
    if report.get("failed"):
        parts.append(f"{count_name(len(report['failed']), 'file')} failed")
    if report.get("incomplete"):
        parts.append(f"{len(report['incomplete']):,} incomplete")
    for key, name in (("passages", "passage"), ("images", "image")):
        if report.get(key):
            parts.append(count_name(report[key], name))
    parts.append(time_name(report.get("seconds", 0)))
    return ", ".join(parts)


def _counts(job: JobInfo) -> tuple[int, int]:
    return int(job.progress.get("done") or 0), int(job.progress.get("total") or 0)


def _share(job: JobInfo) -> float:
    done, total = _counts(job)
    return min(done / total, 1.0) if total else 0.0


def age(job: JobInfo) -> float:
    """Seconds since the job last said how far it is."""
    return (datetime.now(UTC) - job.updated_at).total_seconds()
