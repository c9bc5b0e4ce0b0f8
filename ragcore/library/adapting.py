"""Adapters of the language model, and which one answers the questions of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import permits
from ragcore.errors import UsageError
from ragcore.library.parts import Parts
from ragcore.weights import origin_of

if TYPE_CHECKING:
    from ragcore.llm.adapters import AdapterInfo, AdapterStore
    from ragcore.llm.gguf_export import Precision

_ADAPTER = "adapter"  # key of a collection's settings
BARE, PROFILES_OWN = "none", "default"  # names that are no adapter's


class Adapting(Parts):
    """The verbs of adapters; what else can be done with them is `AdapterStore`'s.

    Adapters belong to no collection and their files are the server's: changes need "admin" for
    all collections.
    """

    @cached_property
    def adapters(self) -> AdapterStore:
        from ragcore.llm.adapters import AdapterStore

        return AdapterStore(self.settings)

    def collection_adapter(self, collection: str) -> str | None:
        """The adapter that a collection's questions are answered with; None: the profile's."""
        try:
            chosen = self.catalog.collection(collection).settings.get(_ADAPTER)
        except UsageError:  # whoever searches it says so
            return None
        return str(chosen) if chosen else None

    @permits.verb("admin")
    def use_adapter(self, name: str, collection: str) -> None:
        """Answer a collection's questions with an adapter from now on.

        "none" is the bare model, "default" what the profile says. Raises UsageError for an
        unknown adapter, and for one of another model than the profile's.
        """
        if name == PROFILES_OWN:
            self.catalog.update_collection_settings(collection, **{_ADAPTER: None})
            return
        if name != BARE:
            self._fitting(name)
        self.catalog.update_collection_settings(collection, **{_ADAPTER: name})

    @permits.verb("admin", everywhere=True)
    def combine_adapters(
        self, weights: Mapping[str, float], name: str, *, replace: bool = False
    ) -> AdapterInfo:
        """See `AdapterStore.combine`."""
        return self.adapters.combine(weights, name, replace=replace)

    @permits.verb("admin", everywhere=True)
    def write_adapter(self, name: str, target: Path, *, precision: Precision = "f16") -> Path:
        """Write an adapter with its base as one model: a .gguf file, or else a folder."""
        if target.suffix == ".gguf":
            return self.adapters.export_gguf(name, target, precision=precision)
        return self.adapters.merge(name, target)

    @permits.verb("admin", everywhere=True)
    def remove_adapter(self, name: str) -> None:
        """Delete an adapter of the home. Raises UsageError while a collection answers with it."""
        users = [c.name for c in self.catalog.collections() if c.settings.get(_ADAPTER) == name]
        if users:
            raise UsageError(
                f"{', '.join(users)} answers with adapter {name!r}: choose another one first"
            )
        self.adapters.remove(name)

    def _fitting(self, name: str) -> None:
        if self.models.profile.llm is None:
            return
        model = self.models.llm_reference
        if not model.needs_weights:
            return  # on a server, an adapter is a name of the server's
        base = self.adapters.inspect(name).base
        if origin_of(base) != origin_of(model.name):
            raise UsageError(f"adapter {name!r} is made for {base}, and answers are {model.name}'s")
