"""Adapters of the language model, and which one answers the questions of a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import Permit, permits
from ragcore.errors import UsageError
from ragcore.library.answering import ADAPTER, adapter_of
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.weights import origin_of

if TYPE_CHECKING:
    from ragcore.llm import AdapterInfo, Precision

BARE, PROFILES_OWN = "none", "default"  # names that are no adapter's


@scoped
class Adapters:
    """Low-rank adapters (LoRA).

    They belong to no collection and their files are the server's: only an administrator of all
    collections changes them.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def list(self) -> Sequence[AdapterInfo]:
        """All adapters, those that ship with ragcore too.

        Returns:
            One entry each, by name.
        """
        return [
            replace(one, folder=Path(permits.shown_path(str(one.folder))))
            for one in self._core.adapters.list()
        ]

    def inspect(self, name: str) -> AdapterInfo:
        """Look an adapter up.

        Returns:
            Its base, rank, alpha, layers, size and folder.

        Raises:
            UsageError: There is none of this name.
        """
        return self._core.adapters.inspect(name)

    def add(self, folder: Path, name: str | None = None, *, replace: bool = False) -> AdapterInfo:
        """Copy an adapter folder in peft's layout; see `AdapterStore.add`.

        Args:
            folder: With `adapter_config.json` and the weights as safetensors.
            name: By default the folder's.
            replace: Whether it takes the place of one of this name.

        Returns:
            The adapter.
        """
        return self._core.adapters.add(folder, name, replace=replace)

    def combine(
        self, weights: Mapping[str, float], name: str, *, replace: bool = False
    ) -> AdapterInfo:
        """Add adapters, each times its weight, into a new one; see `AdapterStore.combine`.

        Returns:
            The new adapter.
        """
        return self._core.adapters.combine(weights, name, replace=replace)

    def write(self, name: str, target: Path, *, precision: Precision = "f16") -> Path:
        """Write an adapter with its base as one model.

        Args:
            name: Of the adapter.
            target: A .gguf file, or else a folder.
            precision: Of the weights in a .gguf file.

        Returns:
            Where it was written.
        """
        if target.suffix == ".gguf":
            return self._core.adapters.export_gguf(name, target, precision=precision)
        return self._core.adapters.merge(name, target)

    def remove(self, name: str) -> None:
        """Delete an adapter of the home.

        Raises:
            UsageError: A collection answers with it.
        """
        rows = self._core.catalog.collections()
        users = [row.name for row in rows if row.settings.get(ADAPTER) == name]
        if users:
            raise UsageError(
                f"{', '.join(users)} answers with adapter {name!r}: choose another one first"
            )
        self._core.adapters.remove(name)

    def used_by(self, collection: str) -> str | None:
        """Which adapter a collection's questions are answered with.

        Returns:
            Its name; None: the profile's.
        """
        return adapter_of(self._core, collection)

    def use(self, name: str, collection: str) -> None:
        """Answer a collection's questions with an adapter from now on.

        Args:
            name: Of the adapter; "none" is the bare model, "default" what the profile says.
            collection: Name of a collection.

        Raises:
            UsageError: The adapter is unknown, or made for another model than the profile's.
        """
        catalog = self._core.catalog
        if name == PROFILES_OWN:
            catalog.update_collection_settings(collection, **{ADAPTER: None})
            return
        if name != BARE:
            self._check_fits(name)
        catalog.update_collection_settings(collection, **{ADAPTER: name})

    def _check_fits(self, name: str) -> None:
        if self._core.models.profile.llm is None:
            return
        model = self._core.models.llm_reference
        if not model.needs_weights:
            return  # on a server, an adapter is a name of the server's
        base = self._core.adapters.inspect(name).base
        if origin_of(base) != origin_of(model.name):
            raise UsageError(f"adapter {name!r} is made for {base}, and answers are {model.name}'s")
