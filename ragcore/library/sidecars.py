"""XMP sidecars of a collection's images, written into a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from ragcore.catalog import NO_MARKS, Catalog, Document, Image, marks_of, metadata_of
from ragcore.catalog.filters import Filter, items
from ragcore.errors import UsageError
from ragcore.files import storing
from ragcore.library.sidecar_xml import is_ours, sidecar
from ragcore.sources import is_remote


@dataclass(frozen=True, slots=True)
class SidecarReport:
    """`written` sidecars; `skipped`: those not written, each with the reason."""

    written: int
    skipped: tuple[tuple[str, str], ...]


def export_sidecars(
    catalog: Catalog, collection: str, folder: Path, where: Mapping[str, str]
) -> SidecarReport:
    """Write NAME.xmp for each image file that meets the filters, below `folder`.

    In the folders that the files have below the one that holds them all.

    An existing sidecar of another program is left as it is. Raises UsageError for an unknown
    collection or filter, a `folder` that is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    row, chosen = catalog.collection(collection), Filter.of(where)
    with catalog.search() as session:
        query = (
            select(Image.id, Document.path, Image.caption)
            .join(Document, Document.id == Image.document_id)
            .where(
                Image.id.in_(items(chosen, row.id, Image)),
                Image.page.is_(None),
                Image.second.is_(None),
            )
            .order_by(Document.path)
        )
        rows = session.execute(query).all()
        ids = [image_id for image_id, _, _ in rows]
        about, marks = metadata_of(session, ids), marks_of(session, ids)
    local = [path for _, path, _ in rows if not is_remote(path)]
    top = os.path.commonpath([os.path.dirname(path) for path in local]) if local else ""
    written, skipped = 0, []
    for image_id, path, caption in rows:
        if is_remote(path):
            skipped.append((path, "it is not a file of this computer"))
            continue
        target = folder / f"{os.path.relpath(path, top)}.xmp"
        if target.exists() and not is_ours(target.read_bytes()):
            skipped.append((str(target), "another program has written it"))
            continue
        with storing(f"{target} was not written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(sidecar(about.get(image_id), marks.get(image_id, NO_MARKS), caption))
        written += 1
    return SidecarReport(written, tuple(skipped))
