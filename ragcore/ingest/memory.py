"""How much memory one reader process may use: a share of what this machine has."""

from __future__ import annotations

from pathlib import Path

from ragcore.settings import Settings

MOST = 2 << 30  # bytes, however much there is
LEAST = 768 << 20  # below it text recognition cannot run
_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # what the first version of cgroups writes for "no limit" is above it


def reader_limit(settings: Settings, readers: int) -> int:
    """Bytes that each of `readers` processes may use: the setting `reader_memory_mb`.

    Else half of the machine's memory divided by their number, at most 2 GiB.
    """
    if settings.reader_memory_mb:
        return settings.reader_memory_mb << 20
    return max(LEAST, min(MOST, total_memory() // (2 * max(1, readers))))


def total_memory() -> int:
    """Bytes of RAM, or what the control group allows where that is less."""
    import psutil

    return min([int(psutil.virtual_memory().total), *_cgroup_limits()])


def _cgroup_limits(root: Path = _CGROUP, process: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The limits of this process's control group and those around it, of either version."""
    try:
        lines = process.read_text().splitlines()
    except OSError:  # no Linux
        return []
    files = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            base = root / controllers if controllers else root
            folder = base / name.strip("/")
            for one in (folder, *folder.parents):
                if one.is_relative_to(base):
                    files += [one / "memory.max", one / "memory.limit_in_bytes"]
    found = []
    for file in files:
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):  # not there, or the word "max"
            continue
    return [limit for limit in found if 0 < limit < _UNLIMITED]
