"""The page Ask: a real answer with a citation that opens; conversations are their owner's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ragcore_app.state import library
from streamlit.testing.v1 import AppTest

from tests.waiting import wait_until

Page = Callable[..., AppTest]
QUESTION = "Are we allowed to play table games during working hours?"


def answered(test: AppTest) -> AppTest:
    """Run the page until nothing is being written any more."""

    def ended() -> bool:
        return not any(button.label == "Stop" for button in test.run().button)

    wait_until(ended, "the answer", every=0.3)
    return test


def buttons(test: AppTest, start: str) -> list[str]:
    return [str(b.key) for b in test.button if b.key and str(b.key).startswith(start)]


@pytest.mark.full
@pytest.mark.starter_models
def test_question_answer_citation_rating_export_delete(page: Page, own_home: Path) -> None:
    test = page("ask").run()
    assert test.header[0].value == "Ask your documents"
    test.chat_input[0].set_value(QUESTION).run()
    assert test.query_params["talk"], "the conversation is in the address"
    answered(test)
    assert not test.error
    assert not test.exception
    assert [message.name for message in test.chat_message] == ["user", "assistant"]
    (cite, *_) = buttons(test, "cite-")
    opened = test.button(key=cite).click().run()
    assert any(b.key == "viewer-next" for b in opened.button)

    me = test.session_state["_owner"]
    talks = library().chats
    (talk,) = talks.list(me)
    assert talk.title == "Are we allowed to play table games during working hours?"
    (asked, answer) = talks.turns(me, talk.id)
    assert asked.content == QUESTION
    assert answer.payload["citations"][0]["page"] == 4
    assert "Question:" in answer.payload["prompt"]
    assert "[1]" in talks.export_markdown(me, talk.id)

    stranger = page("ask", talk=str(talk.id)).run()
    assert not stranger.chat_message, "another browser does not see it"
    assert not buttons(stranger, "open-talk-")

    talks.delete(me, talk.id)
    test.run()
    assert not test.chat_message
    assert test.header[0].value == "Ask your documents"


def test_stop_keeps_what_was_written(page: Page, own_home: Path) -> None:
    test = page("ask").run()
    test.chat_input[0].set_value("Who approves travel expenses that are above the limit?").run()
    stop = next(b for b in test.button if b.label == "Stop")
    stop.click().run()
    answered(test)
    me = test.session_state["_owner"]
    talks = library().chats
    turns = talks.turns(me, talks.list(me)[0].id)
    assert turns[-1].role == "assistant"
    assert turns[-1].payload.get("stopped") or turns[-1].content


def test_an_empty_or_second_question_is_refused(own_home: Path) -> None:
    from ragcore.errors import UsageError

    chats = library().chats
    talk = chats.create("anna", collection="sample")
    with pytest.raises(UsageError, match="type a question"):
        chats.start("anna", talk.id, "  ", collection="sample")
    reply = chats.start("anna", talk.id, QUESTION, collection="sample")
    with pytest.raises(UsageError, match="still being answered"):
        chats.start("anna", talk.id, QUESTION, collection="sample")
    with pytest.raises(UsageError, match="no conversation"):
        chats.start("ben", talk.id, QUESTION, collection="sample")
    reply.cancel()
    assert reply.finished, "a stop does not wait for the model"
    assert chats.running("anna", talk.id) is None
    assert chats.turns("anna", talk.id)[-1].payload["stopped"]


def test_errors_are_kept_as_sentences(page: Page, own_home: Path) -> None:
    """A collection that is gone meanwhile: the conversation says so and goes on."""
    chats = library().chats
    talk = chats.create("anna", collection="sample")
    reply = chats.start("anna", talk.id, QUESTION, collection="no such collection")
    assert reply.wait(300)
    turn = chats.turns("anna", talk.id)[-1]
    assert "no collection named" in turn.payload["error"]
