"""Getting files in, out, and embedded anew."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ragcore.catalog import DEFAULT_COLLECTION, browse, permits
from ragcore.catalog.keys import is_live
from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.ingest.jobs import JobInfo
from ragcore.library.seeing import Seeing
from ragcore.library.teaching import Teaching
from ragcore.logs import fields
from ragcore.private_files import remove_strays, strays
from ragcore.types import CancelToken, IngestReport, ProgressCallback

if TYPE_CHECKING:
    from ragcore.ingest.embed import SpaceIds
    from ragcore.ingest.engines import Engine
    from ragcore.ingest.reembed import ReembedReport
    from ragcore.ingest.sizes import Sizes
    from ragcore.models import Space

log = logging.getLogger(__name__)


class Ingesting(Teaching, Seeing):
    """The verbs that change what a collection holds."""

    @permits.verb("write")
    def ingest(
        self,
        paths: Iterable[str | Path],
        *,
        collection: str = DEFAULT_COLLECTION,
        sync: bool = False,
        passwords: Sequence[str] = (),
        captions: bool | None = None,
        engine: str | None = None,
        address: str | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> IngestReport:
        """Add files, folders and other sources ("SCHEME://…"); what is unchanged is passed over,
        what has changed replaced.

        `sync` also removes documents whose files are gone from the folders and sources given.
        `passwords` are tried on locked files. `captions` overrides the setting: whether a model
        captions pictures that have no caption. `engine` ("local", "ray") and `address` override
        the settings ingest_engine and ray_address. A file that cannot be read, and a source that
        cannot be listed, is an entry in the report's `failed`. Raises UsageError for a path or
        URL that does not exist or is not allowed, RagcoreError if no Ray cluster answers.
        """
        from ragcore.ingest.pipeline import IngestPipeline

        paths = list(paths)
        self.check_paths(paths)
        row = self.catalog.create_collection(collection, exist_ok=True)
        sizes = self._sizes(collection)
        pipeline = IngestPipeline(
            self.catalog,
            row.id,
            self.settings,
            self._engine(row.id, collection, sizes, engine, address),
            sizes,
            passwords=passwords,
            progress=progress,
            cancel=cancel,
        )
        report = pipeline.run(paths, sync=sync)
        self.stores.refresh(row.id)
        _log_report(collection, report)
        if not report.cancelled:
            self.label_new(collection)
            if self.settings.captions == "on" if captions is None else captions:
                self.caption_new(collection, progress, cancel)
        return report

    @permits.verb("write")
    def start_ingest(
        self,
        paths: Iterable[str | Path],
        *,
        collection: str = DEFAULT_COLLECTION,
        sync: bool = False,
        passwords: Sequence[str] = (),
        attempt: int = 1,
    ) -> int:
        """Ingest in the background; return the job's id. See `jobs` for progress and cancel.

        `attempt` counts how often it was started. Passwords are not written to the catalogue:
        a resumed job asks for them again.
        """
        names = [str(path) for path in paths]

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            with self.jobs.turn(progress, cancel):
                report = self.ingest(
                    names,
                    collection=collection,
                    sync=sync,
                    passwords=passwords,
                    progress=progress,
                    cancel=cancel,
                )
            if report.added or report.updated or report.removed:
                self._draw_maps(collection)
            return asdict(report)

        request = {"paths": names, "sync": sync, "attempt": attempt}
        return self.jobs.start("ingest", collection, request, work)

    @permits.verb("write")
    def start_upload(
        self,
        files: Sequence[tuple[str, BinaryIO]],
        *,
        collection: str = DEFAULT_COLLECTION,
        owner: str = "",
        passwords: Sequence[str] = (),
    ) -> tuple[int, list[Path]]:
        """Store files given as (name, open file) and ingest them in the background; return the
        job's id and the files' paths. If the job cannot be started, no file is kept.

        Raises what `uploads.save` raises.
        """
        job = 0

        def begin(paths: list[Path]) -> None:
            nonlocal job
            job = self.start_ingest(paths, collection=collection, passwords=passwords)

        paths = self.uploads.save(collection, files, owner=owner, begin=begin)
        return job, paths

    def _draw_maps(self, collection: str) -> None:
        """Lay the collection's maps out now, so that nobody waits for them later."""
        try:
            self.maps.make(collection, "passages")
            self.maps.make(collection, "images")
        except Exception:  # what was ingested counts, and a page that asks for a map tells why
            log.warning("the maps of %s could not be drawn", collection, exc_info=True)

    @permits.verb("write")
    def start_again(
        self, document_ids: Iterable[int], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Read documents' files anew in the background, changed or not; return the job's id."""
        from ragcore.catalog.documents import forget_content

        row = self.catalog.collection(collection)
        with self.catalog.write() as session:
            paths = forget_content(session, row.id, list(document_ids))
        return self.start_ingest(paths, collection=collection)

    def check_paths(self, paths: Iterable[str | Path]) -> None:
        """Raises UsageError unless all of these exist, as far as can be told without connecting
        to a server, and may be ingested."""
        from ragcore.ingest.discover import open_sources

        open_sources(paths, self.settings)

    @permits.verb("write")
    def resume_job(self, job_id: int, *, passwords: Sequence[str] = ()) -> int:
        """Start an interrupted, failed or cancelled job again; return the new job's id."""
        job: JobInfo = self.jobs.get(job_id)
        if job.running:
            raise UsageError(f"job {job_id} is still running")
        if not self.jobs.supersede(job_id):
            raise UsageError(f"job {job_id} is {job.state}: there is nothing to resume")
        if job.kind == "reembed":
            return self.start_reembed(job.collection)
        if job.kind == "caption":
            return self.start_captioning(job.collection)
        if job.kind == "classify":
            return self.start_classify(job.request["classifier"], collection=job.collection)
        if job.kind == "teach":
            return self.start_teaching(
                job.request["classifier"], collection=job.collection, ways=job.request["ways"]
            )
        return self.start_ingest(
            job.request["paths"],
            collection=job.collection,
            sync=job.request["sync"],
            passwords=passwords,
            attempt=int(job.request.get("attempt", 1)) + 1,
        )

    def resume_interrupted(self) -> list[int]:
        """Go on with ingests that a stopped process left; return the new jobs' ids.

        One that was interrupted three times is left to a person: it may be the cause. So is one of
        an account that is over meanwhile.
        """
        remove_strays(strays(self.settings.uploads))
        left = [job for job in self.jobs.recent(50, kind="ingest") if job.state == "interrupted"]
        started = []
        for job in reversed(left):
            with self.catalog.read() as session:
                live = is_live(session, job.key_id)
            if live and int(job.request.get("attempt", 1)) < 3:
                everybodys = permits.Permit(key_id=job.key_id)
                with suppress(UsageError), permits.within(everybodys):  # or another was quicker
                    started.append(self.resume_job(job.id))
        return started

    @permits.verb("write")
    def remove_documents(
        self, document_ids: Iterable[int], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Take documents out of a collection; return how many. Their files stay, uploads go."""
        from ragcore.catalog.documents import remove_documents

        ids = list(document_ids)
        row = self.catalog.collection(collection)
        with self.catalog.write() as session:
            paths = browse.document_paths(session, row.id, ids)
            count = remove_documents(session, row.id, ids)
        self.uploads.discard(paths)
        return count

    @permits.verb("write")
    def forget_missing(
        self, paths: Iterable[str | Path], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Take out the documents of files and folders that are gone; return how many.

        A document whose file is there, or was found again elsewhere, stays.
        """
        from ragcore.catalog.documents import remove_documents

        row = self.catalog.collection(collection)
        with self.catalog.write() as session:
            known = browse.documents_below(session, row.id, [str(path) for path in paths])
            gone = [number for number, path in known.items() if not os.path.lexists(path)]
            return remove_documents(session, row.id, gone) if gone else 0

    @permits.verb("admin")
    def set_passages(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        tokens: int | None = None,
        overlap: int | None = None,
    ) -> int:
        """Choose how long a collection's passages are; return how many documents have others.

        `tokens` of the text encoder at most (0: as many as it reads, up to 476), of which
        `overlap` stand in the passage before, too. None leaves it as it is. Documents are cut
        anew when their files are next ingested. Raises UsageError for sizes that cannot be.
        """
        from ragcore.catalog.documents import count_other_sizes
        from ragcore.ingest.sizes import check_sizes

        check_sizes(tokens, overlap)
        chosen = {"passage_tokens": tokens, "overlap": overlap}
        given = {name: value for name, value in chosen.items() if value is not None}
        row = self.catalog.collection(collection)
        wanted = self._sizes(collection, given).wanted
        self.catalog.update_collection_settings(collection, **given)
        if wanted is None:
            return 0
        with self.catalog.read() as session:
            return count_other_sizes(session, row.id, wanted.name)

    def _sizes(self, collection: str, changes: Mapping[str, int] | None = None) -> Sizes:
        from ragcore.ingest.sizes import Sizes

        encoder = self.models.profile.text_encoder
        return Sizes(self.catalog, collection, encoder.passage_tokens if encoder else 0, changes)

    def _engine(
        self,
        collection_id: int,
        collection: str,
        sizes: Sizes,
        name: str | None,
        address: str | None,
    ) -> Callable[[], Engine]:
        """What makes the engine when it is needed. Raises UsageError at once if it cannot be."""
        settings = self.settings
        name = name or settings.ingest_engine
        where = settings.ray_address if address is None else address

        def find_spaces(text: Space, image: Space) -> SpaceIds:
            return self._space_ids(collection_id, collection, text, image)

        if name == "local":
            from ragcore.ingest.embed import Embedder
            from ragcore.ingest.engines import LocalEngine

            return lambda: LocalEngine(
                settings,
                lambda: Embedder(self.models.text_encoder(), self.models.image_text_encoder()),
                find_spaces,
                sizes.decide,
            )
        if name != "ray":
            raise UsageError(f"unknown engine {name!r}: use local or ray")
        require_extra("ray", "ingests on a cluster")
        from ragcore.ingest.ray_engine import RayEngine

        return lambda: RayEngine(settings, self.models.settings, find_spaces, sizes.decide, where)

    def _space_ids(
        self, collection_id: int, collection: str, text: Space, image: Space
    ) -> SpaceIds:
        from ragcore.ingest.embed import SpaceIds

        return SpaceIds(
            self._space_id(collection_id, collection, text),
            self._space_id(collection_id, collection, image),
        )

    def _space_id(self, collection_id: int, collection: str, space: Space) -> int:
        """The id of the encoder's space, entered for the collection if it has none yet."""
        active = self.catalog.active_space(collection_id, space.modality)
        if active is not None and active.name != space.name:
            raise UsageError(
                f"collection {collection!r} is embedded by {active.name}, the profile's model is "
                f"{space.name}: run `ragcore models use --collection {collection}` to embed it anew"
            )
        space_id = self.catalog.space_id(space.name, space.modality, space.dimension)
        if active is None:
            self.catalog.use_space(collection_id, space_id, space.modality)
        return space_id

    @permits.verb("admin")
    def reembed(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> ReembedReport:
        """Embed a collection anew by the profile's models; the old vectors answer meanwhile.

        Goes on where an earlier run was stopped. Where the new model's passages have another
        size, `other_sizes` of the report counts the documents that the next ingest of their files
        splits again. Raises Cancelled.
        """
        from ragcore.catalog.documents import count_other_sizes
        from ragcore.ingest.reembed import Reembedding
        from ragcore.ingest.sizes import reach_of

        row = self.catalog.collection(collection)
        run = Reembedding(self.catalog, row.id, self.settings, progress=progress, cancel=cancel)
        text = self.models.text_encoder()
        reach = reach_of(text)
        self._sizes(collection).decide(text.space.name, reach)  # what cannot be is said at once
        report = run.run(text, self.models.image_text_encoder())
        wanted = self._sizes(collection).decide(text.space.name, reach)
        with self.catalog.read() as session:
            report.other_sizes = count_other_sizes(session, row.id, wanted.name)
        self.stores.refresh(row.id)
        return report

    @permits.verb("admin")
    def start_reembed(self, collection: str = DEFAULT_COLLECTION) -> int:
        """`reembed` in the background; return the job's id."""

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, Any]:
            return asdict(self.reembed(collection, progress=progress, cancel=cancel))

        self.catalog.collection(collection)
        return self.jobs.start("reembed", collection, {"attempt": 1}, work)

    @permits.verb("admin")
    def embed_missing(self, collection: str = DEFAULT_COLLECTION) -> int:
        """Embed what lacks its vector in the collection's own spaces; return how many did.

        Raises UsageError if those are not the profile's.
        """
        row = self.catalog.collection(collection)
        text, image = self.models.text_encoder(), self.models.image_text_encoder()
        self._space_ids(row.id, collection, text.space, image.space)
        return sum(self.reembed(collection).embedded.values())


def _log_report(collection: str, report: IngestReport) -> None:
    """Numbers only: names of files may tell more than a log should."""
    counts = {
        name: getattr(report, name)
        for name in ("added", "updated", "renamed", "removed", "passages", "images", "cancelled")
    }
    if any(counts.values()) or report.failed:
        told = fields(
            collection=collection,
            **counts,
            failed=len(report.failed),
            incomplete=len(report.incomplete),
            seconds=round(report.seconds, 2),
        )
        log.info("ingested", extra=told)
