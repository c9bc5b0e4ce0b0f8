"""Summaries in a model's words: read in parts, every sentence held against its passage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragcore.answers.composing import QuestionScope
from ragcore.answers.prompt import PLAIN
from ragcore.answers.writing import _parts, shifted, write_summary
from ragcore.errors import Cancelled
from ragcore.library import Library
from ragcore.models import LLM
from ragcore.settings import Settings
from ragcore.types import CancelToken, Hit

from ..shared_models import models_of


def test_numbers_are_those_of_all_passages() -> None:
    assert shifted("One [1]. Both [1, 2][3].", 4) == "One [5]. Both [5, 6] [7]."
    assert shifted("None.", 4) == "None."


def test_parts_fit_into_the_context(llm: LLM, make_hit: Callable[..., Hit]) -> None:
    text = "The mill grinds the grain of the whole valley. " * 3
    hits = [make_hit(n, text) for n in range(1, 40)]
    parts = list(_parts(hits, llm))
    assert len(parts) > 1
    assert [hit for _, part in parts for hit in part] == hits
    assert [first for first, _ in parts] == [
        sum(len(part) for _, part in parts[:n]) for n in range(len(parts))
    ]
    for _, part in parts:
        assert sum(llm.count_tokens(hit.text) + 24 for hit in part) <= llm.context_length // 2


def test_what_nothing_bears_out_is_no_summary(llm: LLM, make_hit: Callable[..., Hit]) -> None:
    """A tiny model writes nothing that stands in a passage."""
    hits = [make_hit(1, "The mill grinds the grain of the whole valley.")]
    assert write_summary("Summarize it.", hits, 40, llm=llm, style=PLAIN) is None
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        write_summary("Summarize it.", hits, 40, llm=llm, style=PLAIN, cancel=cancel)


@pytest.fixture
def library(tmp_path: Path, tiny_profile: Path) -> Iterator[Library]:
    sentences = " ".join(
        f"The mill number {n} is used for the grain of village {n}." for n in range(9)
    )
    (tmp_path / "mills.md").write_text(f"# Mills\n\n{sentences}\n")
    settings = Settings(profile=str(tiny_profile), home=tmp_path / "home")
    with Library(settings, models=models_of(settings)) as library:
        library.ingest([tmp_path / "mills.md"])
        yield library


def test_a_model_with_room_is_asked_and_quotes_stand_in_for_it(library: Library) -> None:
    answerer = library._core.answerer
    assert answerer.composer is not None
    words, hits = answerer.composer.to_summarize(
        "Summarize the mills in 60 words.", QuestionScope()
    )
    assert words == 60
    assert [hit.document for hit in hits] == ["Mills"]
    answer = library.ask("Summarize the mills in 60 words.", adapter="none")
    assert answer.kind == "summary"
    assert answer.composed
    assert answer.citations


@pytest.mark.full
@pytest.mark.starter_models
def test_the_bare_starter_model_writes_with_citations(
    starter_llm: LLM, make_hit: Callable[..., Hit]
) -> None:
    hits = [
        make_hit(1, "The mill at Aldermoor was built in 1820. It grinds rye for nine villages."),
        make_hit(2, "The bridge beside the mill is made of oak. It was rebuilt after the flood."),
    ]
    found = write_summary(
        "Summarize the mill and the bridge.", hits, 60, llm=starter_llm, style=PLAIN, adapter="none"
    )
    assert found is not None
    assert found.citations
    assert all(c.quote in hits[c.n - 1].text for c in found.citations)
