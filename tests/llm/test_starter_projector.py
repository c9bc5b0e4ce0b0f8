"""The shipped starter-projector sees: on real photographs of people's captions (dev)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.datasets.image_metrics import caption_bleu
from ragcore.datasets.image_sets import read_captioned
from ragcore.llm.vision_llm import ProjectedLLM
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.weights import WeightStore


@pytest.mark.shared
def test_captions_need_the_image(
    starter_weights: WeightStore, shared: Path, settings: Settings
) -> None:
    items = read_captioned(shared / "data" / "images" / "flickr8k" / "dev.jsonl")[:24]
    people = [item.captions for item in items]
    models = Models(settings)
    llm = models.vision_llm()
    assert isinstance(llm, ProjectedLLM)
    assert llm.name == "starter-projector"
    cells = llm.cells([item.open() for item in items])
    right = caption_bleu(llm.captions_of(cells), people)
    other = caption_bleu(llm.captions_of(cells.roll(1, 0)), people)
    assert right > 0.10
    assert other < right - 0.04
    models.close()
