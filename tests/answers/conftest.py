from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ragcore.models import LLM, Models
from ragcore.settings import Settings
from ragcore.types import Hit

from ..shared_models import models_of

RULES = (
    "Working hours are from 9 to 5. Recreational activities are not permitted during working "
    "hours. The games room is on the second floor."
)
LEAVE = (
    "Employees get 25 days of paid leave a year. Leave is requested through the personnel office "
    "two weeks ahead."
)


def hit(number: int, text: str, *, document: str = "Staff handbook", page: int = 4) -> Hit:
    """A passage as search returns it; its document's text begins 1,000 x number earlier."""
    start = 1000 * number
    return Hit(
        number, "passage", 0.9, number, document, f"{document}.pdf", text, page=page,
        span=(start, start + len(text)),
    )  # fmt: skip


@pytest.fixture
def rules() -> Hit:
    return hit(1, RULES)


@pytest.fixture
def leave() -> Hit:
    return hit(2, LEAVE, page=7)


@pytest.fixture(scope="session")
def llm(tiny_profile: Path) -> LLM:
    """A tiny model, for tests of what happens to whatever a model says."""
    return models_of(Settings(profile=str(tiny_profile))).llm()


@pytest.fixture(scope="session")
def starter_llm(starter_models: Models) -> LLM:
    """The starter model with the shipped adapter, as `ask` uses it."""
    return starter_models.llm()


@pytest.fixture
def make_hit() -> Callable[..., Hit]:
    return hit
