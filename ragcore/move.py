"""Moving a library to other engines by one call, without embedding again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

from ragcore.catalog import Catalog
from ragcore.catalog.postgres import shown
from ragcore.catalog.transfer import Transferred, copy_catalogue
from ragcore.errors import UsageError
from ragcore.settings import Settings, save_setting
from ragcore.types import CancelToken, ProgressCallback

OWN = "sqlite"  # as `database`: SQLite inside the home folder


@dataclass(slots=True)
class Moved:
    """What was moved and where to, without passwords. `left`: what stays behind as it was."""

    database: str = ""
    catalogue: Transferred | None = None
    left: list[str] = field(default_factory=list)


def move_catalogue(
    settings: Settings,
    database: str,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Moved:
    """Copy the catalogue into `database`, an SQLAlchemy URL or "sqlite", and use it from now on.

    The new place is written to the settings file once every row was compared; the old one stays
    as it was. Writers wait meanwhile, and must be started anew afterwards. Raises UsageError for a
    database that holds a library, RagcoreError if one of the two cannot be used, Cancelled.
    """
    url = "" if database == OWN else database
    wanted = settings.model_copy(update={"database_url": url})
    wanted.__dict__.pop("catalogue_url", None)
    if not settings.database_url and not (settings.home / "catalogue.db").is_file():
        raise UsageError(f"there is no library in {settings.home}")
    with (
        closing(Catalog(settings.catalogue_url)) as source,
        closing(Catalog(wanted.catalogue_url)) as target,
    ):
        copied = copy_catalogue(source, target, progress=progress, cancel=cancel)
        old, new = shown(source.engine.url), shown(target.engine.url)
    path = save_setting(settings.home, "database_url", url)
    path.chmod(0o600)  # the URL may hold a password
    return Moved(database=new, catalogue=copied, left=[old])
