"""The same questions, asked of the same documents with the models of several profiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import DEFAULT_COLLECTION
from ragcore.errors import Cancelled, ModelUnavailable, RagcoreError, UsageError
from ragcore.library.answering import ask_plainly
from ragcore.library.core import Core, temporary
from ragcore.library.ingesting import ingest
from ragcore.types import Answer, CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from ragcore.models import Models

MOST_QUESTIONS, MOST_DOCUMENTS = 50, 100


@dataclass(frozen=True, slots=True)
class ProfileAnswers:
    """What the models of a profile answered to each question, in the order of the questions.

    `seconds` is the median of an answer after the first, which loads the models; `passages` are
    read, split and embedded per second. `error` says why there are no answers.
    """

    profile: str
    answers: tuple[Answer, ...] = ()
    seconds: float = 0.0
    passages: float = 0.0
    documents: int = 0
    error: str = ""


def compare(
    core: Core,
    profiles: Sequence[str],
    questions: Sequence[str],
    *,
    collection: str,
    documents: int,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> list[ProfileAnswers]:
    """See `Evals.profiles`."""
    asked = [question.strip() for question in questions if question.strip()]
    if not asked or len(asked) > MOST_QUESTIONS:
        raise UsageError(f"give 1 to {MOST_QUESTIONS} questions, not {len(asked)}")
    names = list(dict.fromkeys(profiles))
    if not names:
        raise UsageError("name the profiles to compare, such as starter and tiny")
    if not 1 <= documents <= MOST_DOCUMENTS:
        raise UsageError(f"from 1 to {MOST_DOCUMENTS} documents are read, not {documents}")
    made = [(name, _models(core, name)) for name in names]
    total, found = len(made) * (1 + len(asked)), []
    with _originals(core, collection, documents) as files:
        for place, (name, models) in enumerate(made):
            done = place * (1 + len(asked))

            def begin(step: int, name: str = name, done: int = done) -> None:
                if cancel is not None and cancel.cancelled:
                    raise Cancelled("the comparison was cancelled")
                if progress is not None:
                    progress(Progress(name, done + step, total))

            try:
                found.append(_of_profile(core, name, models, files, asked, begin, cancel))
            except ModelUnavailable as error:
                found.append(ProfileAnswers(name, error=str(error)))
            finally:
                if models is not core.models:
                    models.unload()
    if progress is not None:
        progress(Progress("done", total, total))
    return found


def _models(core: Core, name: str) -> Models:
    """The models of a profile; those of this library where it is in use. Raises UsageError."""
    from ragcore.models import Models

    if name in (core.settings.profile, core.models.profile.name):
        return core.models
    settings = core.settings.model_copy(update={"profile": name})
    models = Models(settings, memory=core.models.memory)
    assert models.profile  # an unknown one is an error before anything is read
    return models


@contextmanager
def _originals(core: Core, collection: str, most: int) -> Iterator[list[Path]]:
    """The files of a collection's first documents that can be had now."""
    from ragcore.library.documents import Documents

    documents = Documents(core)
    rows, _ = documents.list(collection, limit=most)
    with ExitStack() as stack:
        files = []
        for row in rows:
            with suppress(RagcoreError):
                files.append(stack.enter_context(documents.original(row.id)))
        if not files:
            raise UsageError(f"collection {collection!r} has no document whose file is there")
        yield files


def _of_profile(
    core: Core,
    name: str,
    models: Models,
    files: Sequence[Path],
    questions: Sequence[str],
    begin: Callable[[int], None],
    cancel: CancelToken | None,
) -> ProfileAnswers:
    """Read the files into a library of their own, then ask."""
    with temporary(core, None if models is core.models else models) as own:
        begin(0)
        models.text_encoder().warm_up()
        start = time.perf_counter()
        report = ingest(own, files, collection=DEFAULT_COLLECTION, cancel=cancel)
        passages = report.passages / max(time.perf_counter() - start, 1e-6)
        answers, seconds = [], []
        for number, question in enumerate(questions, 1):
            begin(number)
            start = time.perf_counter()
            answers.append(ask_plainly(own, question, DEFAULT_COLLECTION, cancel))
            seconds.append(time.perf_counter() - start)
        return ProfileAnswers(
            name, tuple(answers), statistics.median(seconds[1:] or seconds), passages, len(files)
        )
