"""Models that the tests of a process share: each profile's are loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragcore.library import Library
from ragcore.models import Models
from ragcore.settings import Settings

_FIELDS = ("profile", "device", "precision", "threads", "weights_cache")
_models: dict[tuple[object, ...], Models] = {}


def models_of(settings: Settings | None = None) -> Models:
    """The shared models of these settings' profile, by default the test's own, for
    `Library(settings, models=…)`. Their adapters are looked for in the home of whoever asked first.
    """
    settings = settings or Settings()
    key = tuple(getattr(settings, name) for name in _FIELDS)
    return _models.setdefault(key, Models(settings))


@contextmanager
def tiny_library(home: Path, profile: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """A library with shared models in a home that commands find by their environment."""
    monkeypatch.setenv("RAGCORE_HOME", str(home))
    monkeypatch.setenv("RAGCORE_PROFILE", str(profile))
    monkeypatch.setenv("RAGCORE_OCR", "off")
    settings = Settings(workers=1)
    with Library(settings, models=models_of(settings)) as opened:
        yield opened
