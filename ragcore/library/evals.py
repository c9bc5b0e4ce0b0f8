"""Quality on data with known answers. Each method returns metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.catalog import DEFAULT_COLLECTION, Permit
from ragcore.errors import UsageError
from ragcore.library.core import Core, temporary
from ragcore.library.scopes import scoped
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from ragcore.library.comparing import ProfileAnswers
    from ragcore.library.speed import Speed


@scoped
class Evals:
    """Evaluations of this library's settings and models.

    An administrator's, for they read folders of the server. Raises UsageError for data in another
    layout.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def retrieval(
        self,
        beir_dir: str | Path,
        *,
        rerank_queries: int = 20,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Passage search on a folder in BEIR's layout; `rerank_queries` are reranked too."""
        from ragcore.evals import evaluate_retrieval

        return evaluate_retrieval(
            beir_dir,
            settings=self._core.settings,
            models=self._core.models,
            rerank_queries=rerank_queries,
            progress=progress,
            cancel=cancel,
        )

    def speed(
        self,
        *,
        answer: bool = True,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Speed]:
        """How fast this machine embeds, ingests, searches and, with `answer`, answers.

        On generated files in a library of their own. Takes one to two minutes.
        """
        from ragcore.library.speed import measure

        return measure(self._core, answer=answer, progress=progress, cancel=cancel)

    def images(
        self, directory: str | Path, *, progress: ProgressCallback | None = None
    ) -> dict[str, Any]:
        """Image search on a folder of images with captions, labels or altered copies."""
        from ragcore.evals import evaluate_images

        return evaluate_images(directory, models=self._core.models, progress=progress)

    def dialogues(
        self,
        file: Path,
        *,
        limit: int | None = None,
        adapter: str | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Last questions of conversations over given passages; see `evaluate_dialogues`."""
        from ragcore.evals import evaluate_dialogues

        return evaluate_dialogues(
            file, settings=self._core.settings, models=self._core.models, limit=limit,
            adapter=adapter, progress=progress, cancel=cancel,
        )  # fmt: skip

    def qa(
        self,
        file: Path,
        *,
        collection: str | None = None,
        distractors: int = 0,
        limit: int | None = None,
        batch: int = 16,
        adapter: str | None = None,
        threshold: float | None = None,
        details: Path | None = None,
        plot: Path | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Answers on questions of a JSONL file; see `ragcore.evals.qa.evaluate_qa`."""
        from ragcore.evals import evaluate_qa

        return evaluate_qa(
            file,
            settings=self._core.settings,
            models=self._core.models,
            collection=collection,
            distractors=distractors,
            limit=limit,
            batch=batch,
            adapter=adapter,
            threshold=threshold,
            details=details,
            plot=plot,
            progress=progress,
            cancel=cancel,
        )

    def answers(
        self,
        directory: Path,
        *,
        questions: Path | None = None,
        collection: str | None = None,
        limit: int | None = None,
        details: Path | None = None,
        on_result: Callable[[dict[str, Any]], None] | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Questions of every kind, asked of the files in `directory`; see `evaluate_answers`.

        The questions stand in `directory`/questions.jsonl, or in `questions`. The files are
        ingested into a library of their own that is deleted afterwards; with `collection` they
        are in this library already.
        """
        from ragcore.evals import evaluate_answers, question_file
        from ragcore.library.answering import ask_plainly

        file, folder = question_file(Path(directory).expanduser(), questions)
        how: dict[str, Any] = {
            "limit": limit, "details": details, "on_result": on_result, "progress": progress,
            "cancel": cancel,
        }  # fmt: skip
        if collection is not None:
            ask = partial(ask_plainly, self._core, collection=collection, cancel=cancel)
            return evaluate_answers(file, ask=ask, **how)
        with _filled(self._core, folder, file, progress, cancel) as core:
            ask = partial(ask_plainly, core, collection=DEFAULT_COLLECTION, cancel=cancel)
            return evaluate_answers(file, ask=ask, **how)

    def profiles(
        self,
        profiles: Sequence[str],
        questions: Sequence[str],
        *,
        collection: str = DEFAULT_COLLECTION,
        documents: int = 20,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> list[ProfileAnswers]:
        """The same questions, answered by the models of each of these profiles.

        Names or TOML files. The collection's first `documents` are read into a library of their
        own for each, which is deleted afterwards: everything is the profile's, also the search.
        Missing weights are fetched; where they cannot be, that profile has an error in place of
        answers. Raises UsageError for an unknown profile or collection, no or more than 50
        questions, or no document whose file is there; Cancelled.
        """
        from ragcore.library.comparing import compare

        return compare(
            self._core, profiles, questions, collection=collection, documents=documents,
            progress=progress, cancel=cancel,
        )  # fmt: skip

    def chat(
        self,
        file: Path,
        *,
        collection: str,
        k: int = 4,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Follow-up questions of a JSONL file, asked of a collection: what a search finds."""
        from ragcore.evals import evaluate_chat

        return evaluate_chat(
            file,
            settings=self._core.settings,
            models=self._core.models,
            collection=collection,
            k=k,
            progress=progress,
            cancel=cancel,
        )

    def structured(
        self,
        directory: Path,
        *,
        details: Path | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Answers in JSON on documents with known answers; misses go to `details`."""
        from ragcore.evals import evaluate_structured

        return evaluate_structured(
            directory,
            settings=self._core.settings,
            models=self._core.models,
            details=details,
            progress=progress,
            cancel=cancel,
        )

    def captions(
        self,
        directory: Path,
        *,
        model: str = "",
        limit: int | None = None,
        details: Path | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Captions by a model on a folder of images with people's captions."""
        from ragcore.evals import evaluate_captions

        return evaluate_captions(
            directory,
            settings=self._core.settings,
            models=self._core.models,
            model=model,
            limit=limit,
            details=details,
            progress=progress,
            cancel=cancel,
        )


@contextmanager
def _filled(
    core: Core,
    folder: Path,
    questions: Path,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> Iterator[Core]:
    """A library of the files in `folder`, with the models of `core`.

    The file of questions is left out.
    """
    from ragcore.library.ingesting import ingest

    files = [path for path in sorted(folder.iterdir()) if path.resolve() != questions.resolve()]
    if not files:
        raise UsageError(f"{folder} has no files to ask about")
    with temporary(core) as own:
        ingest(own, files, collection=DEFAULT_COLLECTION, progress=progress, cancel=cancel)
        yield own
