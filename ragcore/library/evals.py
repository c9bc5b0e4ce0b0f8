"""Quality on data with known answers. Each method returns metrics by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragcore.catalog.permits import Permit
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import CancelToken, ProgressCallback


@scoped
class Evals:
    """Evaluations of this library's settings and models; an administrator's, for they read
    folders of the server. Raises UsageError for data in another layout."""

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
        from ragcore.evals.retrieval import evaluate_retrieval

        return evaluate_retrieval(
            beir_dir,
            settings=self._core.settings,
            models=self._core.models,
            rerank_queries=rerank_queries,
            progress=progress,
            cancel=cancel,
        )

    def images(
        self, directory: str | Path, *, progress: ProgressCallback | None = None
    ) -> dict[str, Any]:
        """Image search on a folder of images with captions, labels or altered copies."""
        from ragcore.evals.images import evaluate_images

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
        from ragcore.evals.dialogues import evaluate_dialogues

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
        from ragcore.evals.qa import evaluate_qa

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
        from ragcore.evals.chat import evaluate_chat

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
        from ragcore.evals.structured import evaluate_structured

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
        from ragcore.evals.captions import evaluate_captions

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

    def diffusion(
        self,
        directory: Path,
        *,
        prompts: int = 200,
        guided: int = 96,
        controlled: int = 48,
        steps: int = 25,
        scale: float = 3.0,
        pictures: Path | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Any]:
        """Generated images on the icons that the model was trained on; sheets go to `pictures`."""
        from ragcore.evals.diffusion import evaluate_diffusion

        return evaluate_diffusion(
            directory,
            settings=self._core.settings,
            models=self._core.models,
            prompts=prompts,
            guided=guided,
            controlled=controlled,
            steps=steps,
            scale=scale,
            pictures=pictures,
            progress=progress,
        )

    def probe(
        self,
        directory: Path,
        *,
        count: int = 4000,
        seed: int = 0,
        save: Path | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Any]:
        """What linear models predict from an image's latents; the probes go to `save`."""
        from ragcore.evals.probe import evaluate_probe

        return evaluate_probe(
            directory,
            models=self._core.models,
            count=count,
            seed=seed,
            save=save,
            progress=progress,
        )
