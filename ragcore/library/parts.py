"""What a library is made of, each part made when it is first needed."""

from __future__ import annotations

import threading
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ragcore.catalog import Catalog
from ragcore.ingest.jobs import Jobs
from ragcore.models import Models
from ragcore.settings import Settings

if TYPE_CHECKING:
    from ragcore.catalog.conversations import Conversations
    from ragcore.catalog.sessions import Sessions
    from ragcore.ingest.uploads import Uploads
    from ragcore.search import SearchEngine, Stores
    from ragcore.search.duplicates import Duplicates
    from ragcore.search.projection import MapMaker


class Parts:
    """Settings, catalogue, indexes, models and jobs of one home folder."""

    def __init__(self, settings: Settings | None = None, *, models: Models | None = None) -> None:
        """`models` replaces those of the settings; whoever made them closes them."""
        self.settings = settings or (models.settings if models is not None else Settings())
        self.models = models or Models(self.settings)
        self._own_models = models is None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop jobs (they can be resumed), save the indexes, close the database."""
        parts = self.__dict__
        if "chat" in parts:
            parts["chat"].close()
        if "jobs" in parts:
            self.jobs.close()
        if "stores" in parts:
            self.stores.close()
        if "catalog" in parts:
            self.catalog.close()
        if self._own_models:
            self.models.close()
        kept = {"settings", "models", "_own_models", "_lock"}
        for name in [name for name in parts if name not in kept]:
            del parts[name]

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.settings.catalogue_url, search_timeout=self.settings.search_timeout)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.catalog)

    @cached_property
    def stores(self) -> Stores:
        from ragcore.search import Stores

        return Stores(self.catalog, self.settings)

    @cached_property
    def engine(self) -> SearchEngine:
        from ragcore.search import SearchEngine

        return SearchEngine(self.catalog, self.stores, self.settings, models=self.models)

    @cached_property
    def conversations(self) -> Conversations:
        from ragcore.catalog.conversations import Conversations

        return Conversations(self.catalog)

    @cached_property
    def sessions(self) -> Sessions:
        from ragcore.catalog.sessions import Sessions

        return Sessions(self.catalog)

    @cached_property
    def uploads(self) -> Uploads:
        from ragcore.ingest.uploads import Uploads

        return Uploads(self.catalog, self.settings)

    @cached_property
    def duplicates(self) -> Duplicates:
        from ragcore.search.duplicates import Duplicates

        return Duplicates(self.catalog)

    @cached_property
    def maps(self) -> MapMaker:
        from ragcore.search.projection import MapMaker

        return MapMaker(self.catalog, self.settings.home / "maps")
