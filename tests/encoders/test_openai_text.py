"""OpenAITextEncoder: what is sent, what is made of the answer, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragcore.encoders.openai_text import OpenAITextEncoder
from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.models import Models
from ragcore.settings import Settings

from ..flaky_server import Act, FlakyServer, Handler, answer, refuse, serving

MOST = 200  # characters that the server below takes


def embeds(handler: Handler) -> None:
    """Vectors by the letters of the texts, in reversed order, and not normalized."""
    body = handler.body
    if any(len(text) > MOST for text in body["input"]):
        return refuse(400, "This model's maximum context length is 50 tokens")(handler)
    if "" in body["input"]:
        return refuse(400, "input must not be empty")(handler)
    rows = [
        {"index": index, "embedding": [float(text.count(letter)) + 0.5 for letter in "abcde"]}
        for index, text in enumerate(body["input"])
    ]
    answer({"object": "list", "data": rows[::-1]})(handler)


def encoder(server: FlakyServer, **options: object) -> OpenAITextEncoder:
    return OpenAITextEncoder(model="m", options={"url": server.url, "parallel": 1, **options})


def expected(text: str) -> np.ndarray:
    vector = np.array([text.count(letter) + 0.5 for letter in "abcde"], np.float32)
    return vector / np.linalg.norm(vector)


def test_vectors_are_unit_in_order_and_of_the_found_dimension() -> None:
    texts = [letter * n for n in range(1, 30) for letter in "abcde"]
    with serving(embeds) as server:
        made = encoder(server, batch_size=16, parallel=3)
        vectors = made.encode(texts)
        assert (made.space.name, made.space.dimension) == ("m@served", 5)
        np.testing.assert_allclose(vectors, [expected(text) for text in texts], atol=1e-6)
        assert vectors.dtype == np.float32
        sizes = [len(body["input"]) for body in server.bodies[1:]]
        assert sorted(sizes) == [1] + [16] * 9
        assert made.encode([]).shape == (0, 5)
        with pytest.raises(UsageError, match="a list of texts"):
            made.encode("one text")


def test_queries_and_passages_are_distinguished() -> None:
    with serving(embeds) as server:
        made = encoder(
            server, query_prompt="query: ", query_input_type="query", passage_input_type="document"
        )
        made.encode(["a"], "query")
        assert server.bodies[-1]["input"] == ["query: a"]
        assert server.bodies[-1]["input_type"] == "query"
        made.encode(["a"], "passage")
        assert server.bodies[-1]["input"] == ["a"]
        assert server.bodies[-1]["input_type"] == "document"
        assert made.space.name.startswith("m@served+")
        vllm = encoder(server, dialect="vllm", dimensions=5, revision="2")
        vllm.encode(["a"])
        assert server.bodies[-1]["truncate_prompt_tokens"] == -1
        assert server.bodies[-1]["dimensions"] == 5
        assert vllm.space.name.startswith("m@2+")


def test_texts_that_are_too_long_are_cut_and_empty_ones_sent_as_something() -> None:
    long = "ab" * 300
    with serving(embeds) as server:
        vectors = encoder(server).encode(["abc", long, "", "\ud800"])
        np.testing.assert_allclose(vectors[0], expected("abc"), atol=1e-6)
        np.testing.assert_allclose(vectors[1], expected(long[:150]), atol=1e-6)
        cut = encoder(server, max_characters=10)
        cut.encode([long])
        assert server.bodies[-1]["input"] == [long[:10]]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answer({"data": []}), "sent 0 embeddings for 1 texts"),
        (answer({"oops": 1}), "sent no embeddings"),
        (answer({"data": [{"index": 0, "embedding": ["x"] * 5}]}), "no numbers"),
        (answer({"data": [{"index": 0, "embedding": [1.0] * 4}]}), "has its model changed"),
        (answer({"data": [{"index": 0, "embedding": [float("nan")] * 5}]}), "finite"),
        (refuse(404, "no model m"), r"refused \(404\): no model m"),
        (refuse(401), "the key in RAGCORE_EMBEDDINGS_KEY is not accepted"),
    ],
)
def test_a_bad_answer_is_said(reply: Act, said: str) -> None:
    with serving(embeds, reply) as server:
        made = encoder(server, attempts=1)
        made.warm_up()
        with pytest.raises(RagcoreError, match=said):
            made.encode(["a"])


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="needs the option url"):
        OpenAITextEncoder(model="m", options={})
    for options, said in (
        ({"uri": "x"}, "unknown option 'uri'"),
        ({"url": "localhost:1"}, "must begin with http"),
        ({"url": "http://x", "batch_size": 0}, "batch_size"),
        ({"url": "http://x", "dialect": "tei"}, "unknown dialect"),
        ({"url": "http://x", "timeout": 0}, "time-outs"),
    ):
        with pytest.raises(UsageError, match=said):
            OpenAITextEncoder(model="m", options=options)
    nobody = OpenAITextEncoder(model="m", options={"url": "http://127.0.0.1:9/v1", "attempts": 1})
    with pytest.raises(ModelUnavailable, match="no embeddings server answers"):
        nobody.warm_up()


def test_a_profile_names_it_and_the_key_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs_key(handler: Handler) -> None:
        key = handler.headers.get("Authorization")
        (embeds if key == "Bearer secret" else refuse(401))(handler)

    with serving(needs_key) as server:
        profile = tmp_path / "served.toml"
        profile.write_text(
            f'name = "served"\n[text_encoder]\nweights = "m"\nkind = "openai"\n'
            f'options = {{ url = "{server.url}", key_variable = "MY_KEY" }}\n'
        )
        made = Models(Settings(home=tmp_path, profile=str(profile))).text_encoder()
        with pytest.raises(RagcoreError, match="the key in MY_KEY"):
            made.warm_up()
        monkeypatch.setenv("MY_KEY", "secret")
        assert made.encode(["a"]).shape == (1, 5)
