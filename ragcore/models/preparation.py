"""Fetching and loading the search models before their first use, in the background."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragcore.errors import RagcoreError
from ragcore.types import Progress
from ragcore.weights import WeightStore

if TYPE_CHECKING:
    from ragcore.models.composition import Models
    from ragcore.settings import Settings
    from ragcore.weights import Profile


log = logging.getLogger(__name__)


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
        self.damaged: tuple[str, ...] = ()  # weights that differ from their checksums
        self._checked = False

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
                if reference is not None:
                    store.fetch(reference, show)
            self.state = Preparation("loading")
            self._models.text_encoder().warm_up()
            self._models.image_text_encoder().warm_up()
            # Searching works from here. The LLM is fetched now, and loaded when first asked.
            if profile.llm is not None:
                store.fetch(profile.llm, show)
            self.state = Preparation("ready")
        except RagcoreError as error:
            self.state = Preparation("failed", error=str(error))
        except Exception as error:  # no caller sees what this thread raises
            message = f"{type(error).__name__}: {error}"
            self.state = Preparation("failed", error=message)
        if self.state.state == "ready" and not self._checked:
            self._checked = True
            self._check()

    def _check(self) -> None:
        """Hash the weights of the profile that are here, at the lowest priority.

        What is damaged is logged; the models that are loaded go on.
        """
        with suppress(OSError, AttributeError):  # of this thread alone; not on every system
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        for name, wrong in damaged_weights(self._models.settings, self._models.profile):
            self.damaged = (*self.damaged, f"{name}: {wrong} differs from its checksum")
            log.error(
                "weights %s are damaged (%s): `ragcore doctor --repair` gets them again",
                name,
                wrong,
            )


def damaged_weights(settings: Settings, profile: Profile) -> Iterator[tuple[str, str]]:
    """(name, first wrong file) of each of a profile's weights that differ from their checksums.

    Those that are not here are passed over.
    """
    from ragcore.weights import find_entry

    store = WeightStore(settings)
    names: dict[str, None] = {}
    for _, reference in profile.parts():
        if reference.needs_weights:
            names |= dict.fromkeys([*find_entry(reference.name).requires, reference.name])
            names |= dict.fromkeys(reference.also)
    for name in names:
        with suppress(RagcoreError):  # not on this machine
            if wrong := store.verify(name):
                yield name, wrong[0]
