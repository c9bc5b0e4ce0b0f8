"""Models that the tests of a process share: each profile's are loaded once."""

from __future__ import annotations

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
