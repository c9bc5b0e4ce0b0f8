"""What the parts of a library share: each thing made when it is first needed."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import Catalog
from ragcore.ingest import JobRunner
from ragcore.models import Models
from ragcore.settings import Settings

if TYPE_CHECKING:
    from ragcore.access import Audit, Keys, Sessions
    from ragcore.answers import Answerer, Chat, Composer
    from ragcore.catalog import Conversations
    from ragcore.ingest import Uploads
    from ragcore.llm import AdapterStore
    from ragcore.search import DuplicateFinder, MapMaker, SearchEngine, Stores


class Core:
    """Settings, catalog, indexes, models and jobs of one home folder. Asks for no scope."""

    def __init__(self, settings: Settings | None, models: Models | None) -> None:
        """`models` replaces those of the settings; whoever made them closes them."""
        self.settings = settings or (models.settings if models is not None else Settings())
        self.models = models or Models(self.settings)
        self._own_models = models is None
        self.lock = threading.RLock()

    def close(self) -> None:
        """Stop jobs (they can be resumed), save the indexes, close the database."""
        parts = self.__dict__
        if "chat" in parts:
            self.chat.close()
        if "jobs" in parts:
            self.jobs.close()
        if "stores" in parts:
            self.stores.close()
        if "audit" in parts:
            self.audit.close()
        if "catalog" in parts:
            self.catalog.close()
        if self._own_models:
            self.models.close()
        staying = {"settings", "models", "_own_models", "lock"}
        for name in [name for name in parts if name not in staying]:
            del parts[name]

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.settings.catalog_url, search_timeout=self.settings.search_timeout)

    @cached_property
    def jobs(self) -> JobRunner:
        return JobRunner(self.catalog)

    @cached_property
    def stores(self) -> Stores:
        from ragcore.search import Stores

        return Stores(self.catalog, self.settings)

    @cached_property
    def engine(self) -> SearchEngine:
        from ragcore.search import SearchEngine

        return SearchEngine(self.catalog, self.stores, self.settings, models=self.models)

    @cached_property
    def answerer(self) -> Answerer:
        from ragcore.answers import Answerer

        return Answerer(
            self.models.llm(),
            self.engine.search,
            settings=self.settings,
            models=self.models,
            composer=self._composer,
        )

    @cached_property
    def _composer(self) -> Composer | None:
        """None without a text encoder: what is near a question is then not known."""
        from ragcore.answers import Composer

        if self.models.profile.text_encoder is None:
            return None
        return Composer(
            self.catalog,
            self.engine.search,
            self.engine.documents,
            lambda texts: self.models.text_encoder().encode(texts),
        )

    @cached_property
    def conversations(self) -> Conversations:
        from ragcore.catalog import Conversations

        return Conversations(self.catalog)

    @cached_property
    def chat(self) -> Chat:
        from ragcore.answers import Chat
        from ragcore.library.answering import ask_stream

        def stream(question, **how):  # type: ignore[no-untyped-def]  # as of `ask_stream`
            return ask_stream(self, question, **how)

        def about_image(image, question, **how):  # type: ignore[no-untyped-def]
            from ragcore.library.images import Images

            return Images(self).ask_stream(image, question, **how)

        return Chat(self.conversations, stream, about_image)

    @cached_property
    def keys(self) -> Keys:
        from ragcore.access import Keys

        return Keys(self.catalog)

    @cached_property
    def audit(self) -> Audit:
        from ragcore.access import Audit

        return Audit(self.catalog)

    @cached_property
    def sessions(self) -> Sessions:
        from ragcore.access import Sessions

        return Sessions(self.catalog)

    @cached_property
    def uploads(self) -> Uploads:
        from ragcore.ingest import Uploads

        return Uploads(self.catalog, self.settings)

    @cached_property
    def duplicates(self) -> DuplicateFinder:
        from ragcore.search import DuplicateFinder

        return DuplicateFinder(self.catalog)

    @cached_property
    def maps(self) -> MapMaker:
        from ragcore.search import MapMaker

        return MapMaker(self.catalog, self.settings.home / "maps")

    @cached_property
    def adapters(self) -> AdapterStore:
        from ragcore.llm import AdapterStore

        return AdapterStore(self.settings)


@contextmanager
def temporary(core: Core, models: Models | None = None) -> Iterator[Core]:
    """An empty library with the settings of `core`, and its models or others; then deleted."""
    with tempfile.TemporaryDirectory(prefix="ragcore-") as home:
        base = core.settings if models is None else models.settings
        settings = base.model_copy(update={"home": Path(home), "database_url": "", "vectors": ""})
        settings.__dict__.pop("catalog_url", None)
        own = Core(settings, models or core.models)
        try:
            yield own
        finally:
            own.close()
