"""Files of the components that run in the browser."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / "assets"


def asset(*names: str) -> str:
    """The text of these files, one after the other."""
    return "\n".join((_FOLDER / name).read_text("utf-8") for name in names)
