"""Getting files in, and embedded again by other models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ragcore.catalog import permits
from ragcore.errors import NotPermitted, UsageError
from ragcore.extras import require_extra
from ragcore.library.classifiers import label_new
from ragcore.library.core import Core
from ragcore.library.images import caption_new
from ragcore.logs import fields
from ragcore.sources import is_elsewhere, is_remote
from ragcore.types import CancelToken, IngestReport, ProgressCallback

if TYPE_CHECKING:
    from ragcore.ingest import Engine, ReembedReport, Sizes, SpaceIds
    from ragcore.models import Space

log = logging.getLogger(__name__)


def check_may_read(core: Core, paths: Iterable[str | Path], collection: str) -> None:
    """Raises NotPermitted for files and sources that whoever asks may not have ingested.

    They may take the collection's own uploads and the folders that they were given; an
    administrator also what the setting allowed_roots names, or anything who sits at this computer.
    Servers elsewhere are for administrators of all collections.
    """
    permit, settings = permits.current(), core.settings
    if permit.unlimited:
        return
    anything = permit.may("admin") and bool(settings.allowed_roots or permit.key_id is None)
    uploads, folders = settings.uploads.resolve(), list(permit.folders)
    with suppress(UsageError):  # a collection that is not there yet has none
        folders.append(uploads / str(core.catalog.collection(collection).id))
    for path in map(str, paths):
        if is_elsewhere(path) and permit.may("admin") and permit.collection_ids is None:
            continue
        real = None if is_remote(path) else Path(path).expanduser().resolve()
        if real is not None and any(map(real.is_relative_to, folders)):
            continue
        others = real is not None and real.is_relative_to(uploads) and not permits.sees_everything()
        if not anything or others:
            raise NotPermitted(
                "files of the server are added with the scope admin, from folders that the setting "
                "allowed_roots names"
            )


def ingest(
    core: Core,
    paths: Iterable[str | Path],
    *,
    collection: str,
    sync: bool = False,
    passwords: Sequence[str] = (),
    captions: bool | None = None,
    engine: str | None = None,
    address: str | None = None,
    options: Mapping[str, str] = MappingProxyType({}),
    source_id: int | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> IngestReport:
    """See `Library.ingest`. `source_id` is a source of the collection (`Sources`)."""
    from ragcore.ingest import IngestPipeline, open_sources

    paths = list(paths)
    open_sources(paths, core.settings, options)
    row = core.catalog.create_collection(collection, exist_ok=True)
    sizes = _sizes(core, collection)
    pipeline = IngestPipeline(
        core.catalog,
        row.id,
        core.settings,
        _engine(core, row.id, collection, sizes, engine, address),
        sizes,
        passwords=passwords,
        source_id=source_id,
        progress=progress,
        cancel=cancel,
    )
    report = pipeline.run(paths, sync=sync, options=options)
    core.stores.refresh(row.id)
    _log_report(collection, report)
    if not report.cancelled:
        label_new(core, collection)
        if core.settings.captions == "on" if captions is None else captions:
            caption_new(core, collection, progress, cancel)
    return report


def reembed(
    core: Core,
    collection: str,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> ReembedReport:
    """See `Admin.reembed`."""
    from ragcore.catalog import count_other_sizes
    from ragcore.ingest import Reembedding, reach_of

    row = core.catalog.collection(collection)
    run = Reembedding(core.catalog, row.id, core.settings, progress=progress, cancel=cancel)
    text = core.models.text_encoder()
    reach = reach_of(text)
    _sizes(core, collection).decide(text.space.name, reach)  # what cannot be is said at once
    report = run.run(text, core.models.image_text_encoder())
    wanted = _sizes(core, collection).decide(text.space.name, reach)
    with core.catalog.read() as session:
        report.other_sizes = count_other_sizes(session, row.id, wanted.name)
    core.stores.refresh(row.id)
    return report


def embed_missing(core: Core, collection: str) -> int:
    """See `Admin.embed_missing`."""
    row = core.catalog.collection(collection)
    text, image = core.models.text_encoder(), core.models.image_text_encoder()
    _space_ids(core, row.id, collection, text.space, image.space)
    return sum(reembed(core, collection).embedded.values())


def set_passages(
    core: Core,
    collection: str,
    *,
    tokens: int | None = None,
    overlap: int | None = None,
) -> int:
    """See `Admin.set_passages`."""
    from ragcore.catalog import count_other_sizes
    from ragcore.ingest import check_sizes

    check_sizes(tokens, overlap)
    chosen = {"passage_tokens": tokens, "overlap": overlap}
    given = {name: value for name, value in chosen.items() if value is not None}
    row = core.catalog.collection(collection)
    wanted = _sizes(core, collection, given).wanted
    core.catalog.update_collection_settings(collection, **given)
    if wanted is None:
        return 0
    with core.catalog.read() as session:
        return count_other_sizes(session, row.id, wanted.name)


def _sizes(core: Core, collection: str, changes: Mapping[str, int] | None = None) -> Sizes:
    from ragcore.ingest import Sizes

    encoder = core.models.profile.text_encoder
    return Sizes(core.catalog, collection, encoder.passage_tokens if encoder else 0, changes)


def _engine(
    core: Core,
    collection_id: int,
    collection: str,
    sizes: Sizes,
    name: str | None,
    address: str | None,
) -> Callable[[], Engine]:
    """What makes the engine when it is needed. Raises UsageError at once if it cannot be."""
    settings = core.settings
    name = name or settings.ingest_engine
    where = settings.ray_address if address is None else address

    def find_spaces(text: Space, image: Space) -> SpaceIds:
        return _space_ids(core, collection_id, collection, text, image)

    if name == "local":
        from ragcore.ingest import Embedder, LocalEngine, Transcription

        speaks = core.models.profile.transcriber is not None
        return lambda: LocalEngine(
            settings,
            lambda: Embedder(core.models.text_encoder(), core.models.image_text_encoder()),
            find_spaces,
            sizes.decide,
            Transcription(core.models.transcriber) if speaks else None,
        )
    if name != "ray":
        raise UsageError(f"unknown engine {name!r}: use local or ray")
    require_extra("ray", "ingests on a cluster")
    from ragcore.ingest import RayEngine

    return lambda: RayEngine(settings, core.models.settings, find_spaces, sizes.decide, where)


def _space_ids(
    core: Core, collection_id: int, collection: str, text: Space, image: Space
) -> SpaceIds:
    from ragcore.ingest import SpaceIds

    return SpaceIds(
        _space_id(core, collection_id, collection, text),
        _space_id(core, collection_id, collection, image),
    )


def _space_id(core: Core, collection_id: int, collection: str, space: Space) -> int:
    """The id of the encoder's space, entered for the collection if it has none yet."""
    active = core.catalog.active_space(collection_id, space.modality)
    if active is not None and active.name != space.name:
        raise UsageError(
            f"collection {collection!r} is embedded by {active.name}, the profile's model is "
            f"{space.name}: run `ragcore models use --collection {collection}` to re-embed it"
        )
    space_id = core.catalog.space_id(space.name, space.modality, space.dimension)
    if active is None:
        core.catalog.use_space(collection_id, space_id, space.modality)
    return space_id


def _log_report(collection: str, report: IngestReport) -> None:
    """Numbers only: names of files may reveal more than a log should."""
    counts = {
        name: getattr(report, name)
        for name in ("added", "updated", "renamed", "removed", "passages", "images", "cancelled")
    }
    if any(counts.values()) or report.failed:
        counted = fields(
            collection=collection,
            **counts,
            failed=len(report.failed),
            incomplete=len(report.incomplete),
            seconds=round(report.seconds, 2),
        )
        log.info("ingested", extra=counted)
