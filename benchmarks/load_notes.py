"""What the files of `benchmarks/load.py` say and its clients ask: no imports but Python's own."""

from __future__ import annotations

from pathlib import Path

STATIONS = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Linden", "Maple", "Rowan", "Spruce", "Yew")


def level(number: int) -> int:
    return 100 + number * 37 % 211


def station(number: int) -> str:
    return STATIONS[number % len(STATIONS)]


def question(number: int) -> str:
    return f"What level did the {station(number)} station measure in week {number}?"


def write_notes(folder: Path, numbers: range) -> None:
    """A file a number: what its station measured, and what was done there."""
    folder.mkdir()
    for n in numbers:
        (folder / f"note-{n:05}.md").write_text(
            f"# Week {n}, {station(n)}\n\nThe {station(n)} station measured a level of "
            f"{level(n)} centimetres in week {n}. The battery was changed and the radio "
            f"checked {n % 7} times.\n\n## Repairs\n\nThe cable of gauge {n % 13} was replaced. "
            f"The keeper of the {station(n + 3)} weir wrote that the lock was open for {n % 24} "
            "hours, and that the canal froze on two days of the winter.\n"
        )
