"""The official OpenAI client against the server."""

from __future__ import annotations

import numpy as np
import openai
import pytest

from .conftest import Served, encoder_name

# The tiny models find texts by their words.
ASKED = {
    "tiny": "Are we allowed to play table games during working hours?",
    "starter": "Are we allowed to play foosball during working hours?",
}
MODEL = "ragcore/own"


def client_of(served: Served) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{served.url}/v1", api_key=served.keys["read"], max_retries=0, timeout=600
    )


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return client_of(served)


@pytest.fixture(params=["tiny", pytest.param("starter", marks=pytest.mark.full)])
def models(request: pytest.FixtureRequest) -> str:
    """Which models answer: only the starter's answers mean something."""
    return str(request.param)


@pytest.fixture
def chatting(request: pytest.FixtureRequest, models: str) -> openai.OpenAI:
    return client_of(request.getfixturevalue("served" if models == "tiny" else "answering"))


def test_collections_are_models(client: openai.OpenAI, served: Served) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [MODEL, encoder_name(served)]
    assert client.models.retrieve(MODEL).owned_by == "ragcore"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("ragcore/foreign")


def test_chat_answers_with_citations(chatting: openai.OpenAI, models: str) -> None:
    done = chatting.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "You are a pirate."},
            {"role": "user", "content": ASKED[models]},
        ],
    )
    assert done.choices[0].message.content
    assert done.usage is not None
    assert done.usage.prompt_tokens > 50
    extension = done.model_extra["ragcore"]  # type: ignore[index]
    assert extension["answer"] == done.choices[0].message.content
    assert models == "tiny" or extension["citations"][0]["quote"]


@pytest.mark.parametrize("live", [False, True])
def test_chat_in_pieces(chatting: openai.OpenAI, models: str, live: bool) -> None:
    chunks = list(
        chatting.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": ASKED[models]}],
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ragcore": {"live": live}},
        )
    )
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    last = next(c for c in chunks if c.choices and c.choices[0].finish_reason)
    checked = last.model_extra["ragcore"]  # type: ignore[index]
    assert models == "tiny" or checked["citations"]
    if not live:
        assert said == checked["answer"]
    assert said
    assert chunks[-1].usage is not None


def test_chat_declines(client: openai.OpenAI) -> None:
    question = "Who won the battle of Hastings?"
    done = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}]
    )
    assert done.model_extra["ragcore"]["abstained"]  # type: ignore[index]


def test_embeddings_are_unit_vectors_that_compare(client: openai.OpenAI, served: Served) -> None:
    texts = ["a boat on a lake", "a ship on a lake", "tax law"]
    name = encoder_name(served)
    found = client.embeddings.create(model=name, input=texts)
    vectors = np.array([one.embedding for one in found.data])
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    plain = client.embeddings.create(model=name, input=texts[0], encoding_format="float")
    assert np.allclose(plain.data[0].embedding, vectors[0], atol=1e-3)


def test_errors_are_the_clients_own(client: openai.OpenAI, served: Served) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(
            model="ragcore/foreign", messages=[{"role": "user", "content": "x"}]
        )
    assert missing.value.body["code"] == "not_found"  # type: ignore[index]
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model=MODEL, messages=[])
    stranger = openai.OpenAI(base_url=f"{served.url}/v1", api_key="rc_none", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
