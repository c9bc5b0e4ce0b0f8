"""OpenAILLM before servers that break off, hang and refuse, and what it sends in each dialect."""

from __future__ import annotations

import threading
import time

import pytest

from ragcore.errors import Cancelled, ModelUnavailable, RagcoreError, UsageError
from ragcore.llm.openai_llm import OpenAILLM
from ragcore.models import Constraint, Sampling
from ragcore.types import CancelToken, Message

from ..flaky_server import FlakyServer, answer, hang_up, refuse, serving, silence, words

ASK = [Message("user", "Is it low tide?")]


def llm(server: FlakyServer, **options: object) -> OpenAILLM:
    return OpenAILLM(model="m", url=server.url, **options)  # type: ignore[arg-type]


def test_an_answer_that_broke_off_is_no_answer() -> None:
    for then in (hang_up, lambda handler: None):  # in the middle of a line's bytes; between two
        with serving(words("It ", "is", then=then)) as server:
            pieces: list[str] = []
            with pytest.raises(ModelUnavailable, match="in the middle of an answer"):
                pieces.extend(llm(server).stream(ASK))
            assert len(server.times) == 1, "it is not begun again"
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    with serving(words("It is", then=lambda handler: handler.event(last))) as server:
        assert list(llm(server).stream(ASK)) == ["It is"]  # a server that ends without [DONE]


def test_trouble_before_the_first_word_is_not_noticed() -> None:
    with serving(refuse(503), hang_up, words("Yes")) as server:
        assert list(llm(server).stream(ASK)) == ["Yes"]
        assert len(server.times) == 3


def test_a_silent_server_is_given_up_and_a_cancel_is_heard_meanwhile() -> None:
    with serving(words("It ", then=silence(5))) as server:
        started = time.monotonic()
        with pytest.raises(ModelUnavailable, match=r"nothing came within 0\.4 s"):
            list(llm(server, timeout=0.4).stream(ASK))
        assert time.monotonic() - started < 4
    with serving(refuse(503, Retry_After="25")) as server:
        cancel = CancelToken()
        threading.Timer(0.3, cancel.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            list(llm(server).stream(ASK, cancel=cancel))
        assert time.monotonic() - started < 5


def test_errors_within_an_answer_are_said() -> None:
    wrong = {"error": {"message": "out of memory"}}
    with (
        serving(words("It ", then=lambda handler: handler.event(wrong))) as server,
        pytest.raises(RagcoreError, match="out of memory"),
    ):
        list(llm(server).stream(ASK))


def test_what_is_sent_to_vllm() -> None:
    with serving(words("low", "tide")) as server:
        made = llm(server, dialect="vllm", adapter="legal")
        sampling = Sampling(top_k=5, repetition_penalty=1.1, banned_words=("sea",))
        list(made.stream(ASK, sampling, constraint=Constraint(choices=("lowtide", "hightide"))))
        body = server.bodies[-1]
        assert body["model"] == "legal"
        assert (body["top_k"], body["repetition_penalty"]) == (5, 1.1)
        assert body["bad_words"] == ["sea"]
        assert body["structured_outputs"] == {"choice": ["lowtide", "hightide"]}
        list(made.stream(ASK, constraint=Constraint(regex="[a-z]+"), adapter="none"))
        assert server.bodies[-1]["model"] == "m"
        assert server.bodies[-1]["structured_outputs"] == {"regex": "[a-z]+"}
        with pytest.raises(UsageError, match="local model"):
            list(made.stream(ASK, Sampling(no_repeat_ngram=3)))
        with pytest.raises(UsageError, match="dialect vllm"):
            list(llm(server).stream(ASK, sampling))


def test_the_model_and_its_adapter_must_be_there() -> None:
    listed = {"data": [{"id": "m"}, {"id": "legal", "parent": "m"}]}
    with serving(answer(listed)) as server:
        llm(server, adapter="legal").warm_up()
        with pytest.raises(ModelUnavailable, match=r"no model 'tax'; it has m, legal"):
            llm(server, adapter="tax").warm_up()
    with serving(answer([1])) as server, pytest.raises(ModelUnavailable, match="lists no models"):
        llm(server).warm_up()
