"""Conversations are their owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.catalog import Catalog
from ragcore.catalog.conversations import Conversations, short_title
from ragcore.errors import UsageError


@pytest.fixture
def talks(tmp_path: Path) -> Conversations:
    return Conversations(Catalog(f"sqlite:///{tmp_path / 'c.db'}"))


def test_a_conversation_is_kept_and_listed_newest_first(talks: Conversations) -> None:
    first = talks.create("anna", collection="papers")
    second = talks.create("anna", collection="papers", title="Second")
    talks.add_turn("anna", first.id, "user", "What is\nflutter?")
    talks.add_turn("anna", first.id, "assistant", "An oscillation [1].", {"question": "flutter"})
    assert [talk.id for talk in talks.list("anna")] == [first.id, second.id]
    assert talks.get("anna", first.id).title == "What is flutter?"
    assert [turn.role for turn in talks.turns("anna", first.id)] == ["user", "assistant"]
    assert [talk.id for talk in talks.list("anna", search="oscill")] == [first.id]
    assert not talks.list("anna", search="100%")


def test_nobody_reaches_anothers_conversation(talks: Conversations) -> None:
    talk = talks.create("anna", collection="papers", title="Private")
    turn = talks.add_turn("anna", talk.id, "assistant", "secret")
    assert not talks.list("ben")
    for attempt in (
        lambda: talks.get("ben", talk.id),
        lambda: talks.turns("ben", talk.id),
        lambda: talks.add_turn("ben", talk.id, "user", "hello"),
        lambda: talks.rename("ben", talk.id, "Mine"),
        lambda: talks.delete("ben", talk.id),
        lambda: talks.rate("ben", turn.id, 1),
        lambda: talks.export_markdown("ben", talk.id),
    ):
        with pytest.raises(UsageError, match="no conversation"):
            attempt()
    assert talks.get("anna", talk.id).title == "Private"


def test_rename_rate_export_delete(talks: Conversations) -> None:
    talk = talks.create("anna", collection="papers", title="First")
    talks.add_turn("anna", talk.id, "user", "How long?")
    citation = {"n": 1, "document": "handbook.pdf", "page": 4, "quote": "Two\nweeks."}
    answer = talks.add_turn(
        "anna", talk.id, "assistant", "Two weeks [1].", {"citations": [citation], "question": "q"}
    )
    talks.rename("anna", talk.id, "  Holiday   length ")
    with pytest.raises(UsageError):
        talks.rename("anna", talk.id, "  ")
    talks.rate("anna", answer.id, -1)
    assert talks.turns("anna", talk.id)[1].rating == -1
    (rated,) = talks.rated()
    assert (rated["rating"], rated["answer"]) == (-1, "Two weeks [1].")
    assert "anna" not in str(rated)
    text = talks.export_markdown("anna", talk.id)
    assert text.startswith("# Holiday length\n")
    assert "- [1] handbook.pdf, page 4: “Two weeks.”" in text
    talks.rate("anna", answer.id, None)
    assert not list(talks.rated())
    talks.delete("anna", talk.id)
    assert not talks.list("anna")


def test_only_answers_are_rated(talks: Conversations) -> None:
    talk = talks.create("anna", collection="papers")
    turn = talks.add_turn("anna", talk.id, "user", "How long?")
    with pytest.raises(UsageError, match="no answer"):
        talks.rate("anna", turn.id, 1)
    with pytest.raises(UsageError, match="1, -1 or None"):
        talks.rate("anna", turn.id, 5)


def test_titles_are_cut_at_a_word() -> None:
    assert short_title("a " * 10) == "a a a a a a a a a a"
    title = short_title("word " * 30)
    assert len(title) <= 60
    assert title.endswith("word…")
