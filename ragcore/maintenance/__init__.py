"""A library as a whole: backup and restore, moves to other engines, recovery."""

from typing import TYPE_CHECKING

from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.maintenance.backup import Archived as Archived
    from ragcore.maintenance.backup import Restored as Restored
    from ragcore.maintenance.backup import restore as restore
    from ragcore.maintenance.move import Moved as Moved
    from ragcore.maintenance.move import clear_vectors as clear_vectors
    from ragcore.maintenance.move import move_library as move_library
    from ragcore.maintenance.recover import Recovered as Recovered
    from ragcore.maintenance.recover import readable as readable
else:
    __getattr__ = lazily(
        __name__,
        {
            ".backup": "Archived Restored restore",
            ".move": "Moved clear_vectors move_library",
            ".recover": "Recovered readable",
        },
    )
