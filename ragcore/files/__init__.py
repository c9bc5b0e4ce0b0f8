"""Files of this computer: private to their owner, regular ones only, full disks as errors."""

from ragcore.files.disk import can_write, full, is_full, read_only, storage_error, storing
from ragcore.files.private import (
    atomic_write,
    exposed,
    make_private,
    partial_suffix,
    private_file,
    private_folder,
    private_process,
    remove_strays,
    replace_folder,
    replace_private,
    strays,
    strays_here,
    write_private,
)
from ragcore.files.regular import open_regular, read_regular

__all__ = [
    "atomic_write",
    "can_write",
    "exposed",
    "full",
    "is_full",
    "make_private",
    "open_regular",
    "partial_suffix",
    "private_file",
    "private_folder",
    "private_process",
    "read_only",
    "read_regular",
    "remove_strays",
    "replace_folder",
    "replace_private",
    "storage_error",
    "storing",
    "strays",
    "strays_here",
    "write_private",
]
