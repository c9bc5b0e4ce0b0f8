"""Model servers of this computer: found by what they say, taken into a profile, asked."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore.encoders.ollama_text import OllamaTextEncoder
from ragcore.encoders.openai_text import OpenAITextEncoder
from ragcore.encoders.served_reranker import ServedReranker
from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.library import Library
from ragcore.llm.gguf_file import find_gguf, read_gguf
from ragcore.llm.gguf_lora import adapter_gguf
from ragcore.llm.ollama_llm import OllamaLLM
from ragcore.llm.openai_llm import OpenAILLM
from ragcore.models import Constraint, Models, Sampling, VisionLLM
from ragcore.models.local_servers import choose_served, find_servers
from ragcore.settings import Settings
from ragcore.types import Message
from ragcore.weights import WeightStore, load_profile

from .. import model_servers as servers

ASK = [Message("user", "Is it low tide?")]


def found(server: servers.ModelServer) -> tuple[str, str, dict[str, tuple[str, bool, int]]]:
    """Kind, version and models (task, vision, context) of one server."""
    [one] = [one for one in find_servers([server.port]) if one.url == server.url]
    models = {m.name: (m.task, m.vision, m.context_length) for m in one.models}
    return one.kind, one.version, models


def test_each_server_is_known_by_what_it_says() -> None:
    with servers.model_server(servers.ollama()) as server:
        assert found(server) == (
            "ollama", "0.12.3",
            {"qwen3:4b": ("chat", False, 40960), "llava:7b": ("chat", True, 4096),
             "nomic-embed-text:latest": ("embedding", False, 2048)},
        )  # fmt: skip
    with servers.model_server(servers.lm_studio()) as server:
        assert found(server) == (
            "lmstudio", "",
            {"qwen2-vl-7b-instruct": ("chat", True, 32768), "llama-3.1-8b": ("chat", False, 4096),
             "text-embedding-nomic": ("embedding", False, 2048)},
        )  # fmt: skip
    for kind, task in (("embedding", "embedding"), ("reranker", "reranking")):
        with servers.model_server(servers.tei(kind)) as server:
            assert found(server) == ("tei", "1.8.2", {f"BAAI/bge-{kind}": (task, False, 512)})
    for task in ("chat", "embedding", "reranking"):
        with servers.model_server(servers.vllm(task)) as server:
            assert found(server) == ("vllm", "0.20.0", {f"org/{task}": (task, False, 8192)})


def test_what_is_no_model_server_is_passed_over() -> None:
    for routes in ({}, {"GET /v1/models": lambda _: ["no", "object"]}, {"GET /info": lambda _: 7}):
        with servers.model_server(routes) as server:
            assert server.url not in [one.url for one in find_servers([server.port])]
            assert not [route for route, _ in server.asked if route.startswith("POST")]
    with pytest.raises(UsageError, match="70000 is no port"):
        find_servers([70000])


def test_no_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing answers there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with servers.model_server(servers.ollama()) as server:
        assert found(server)[0] == "ollama"
        assert "".join(OllamaLLM(model="qwen3:4b", url=server.url).stream(ASK)) == "High tide."


def test_a_wrong_name_is_one_line_that_says_what_there_is() -> None:
    with servers.model_server(servers.ollama()) as server:
        assert choose_served("ollama:nomic-embed-text", [server.port])[1].task == "embedding"
        for name, complaint in (
            ("ollama:none", "no model 'none'; it has qwen3:4b"),
            ("olama:qwen3:4b", "write KIND:NAME"),
            ("ollama:", "write KIND:NAME"),
        ):
            with pytest.raises(UsageError, match=complaint):
                choose_served(name, [server.port])
        with pytest.raises(ModelUnavailable, match="no tei server"):
            choose_served("tei:bge", [server.port])


def test_ollama_is_asked_in_its_own_words() -> None:
    with servers.model_server(servers.ollama()) as server:
        llm = OllamaLLM(model="qwen3:4b", url=f"{server.url}/v1", context_length=9000, think=False)
        llm.warm_up()
        schema = {"type": "object", "properties": {"tide": {"type": "string"}}}
        sampling = Sampling(max_tokens=20, seed=3, stop=("\n",), repetition_penalty=1.1)
        assert list(llm.stream(ASK, sampling)) == ["High ", "tide."]
        body = server.bodies("POST /api/chat")[-1]
        assert body["messages"] == [{"role": "user", "content": "Is it low tide?"}]
        assert (body["think"], body["stream"]) == (False, True)
        options = body["options"]
        assert (options["num_ctx"], options["num_predict"], options["seed"]) == (9000, 20, 3)
        assert (options["stop"], options["repeat_penalty"]) == (["\n"], 1.1)
        with pytest.raises(RagcoreError):  # the server's words are no JSON of that schema
            list(llm.stream(ASK, constraint=Constraint(json_schema=schema)))
        assert server.bodies("POST /api/chat")[-1]["format"] == schema
        for bad in (
            lambda: llm.stream(ASK, constraint=Constraint(regex="a+")),
            lambda: llm.stream(ASK, adapter="legal"),
            lambda: llm.stream(ASK, Sampling(banned_words=("sea",))),
        ):
            with pytest.raises(UsageError):
                list(bad())
        with pytest.raises(ModelUnavailable, match="`ollama pull mistral`"):
            OllamaLLM(model="mistral", url=server.url).warm_up()
        with pytest.raises(RagcoreError, match="model 'mistral' not found"):
            list(OllamaLLM(model="mistral", url=server.url).stream(ASK))


def test_an_answer_of_ollama_that_broke_off_is_no_answer() -> None:
    half = [{"message": {"content": "High "}, "done": False}]
    failed = [*half, {"error": "out of memory"}]
    for lines, error, reason in (
        (half, ModelUnavailable, "in the middle of an answer"),
        (failed, RagcoreError, "out of memory"),
    ):
        with (
            servers.model_server(servers.ollama(lambda _, lines=lines: lines)) as server,
            pytest.raises(error, match=reason),
        ):
            list(OllamaLLM(model="qwen3:4b", url=server.url).stream(ASK))


def test_ollama_embeds() -> None:
    with servers.model_server(servers.ollama()) as server:
        encoder = OllamaTextEncoder(
            model="nomic-embed-text",
            options={"url": server.url, "query_prompt": "search_query: ", "revision": "6e6f"},
        )
        made = encoder.encode(["abba", "hedge"], kind="query")
        assert (encoder.space.dimension, encoder.space.name[:21]) == (8, "nomic-embed-text@6e6f")
        sent = server.bodies("POST /api/embed")[-1]
        assert sorted(sent["input"]) == ["search_query: abba", "search_query: hedge"]
        expected = np.array([servers.vector("search_query: abba")], np.float32)
        np.testing.assert_allclose(made[:1], expected / np.linalg.norm(expected), atol=1e-6)
        with pytest.raises(UsageError, match="no option dialect"):
            OllamaTextEncoder(model="m", options={"url": server.url, "dialect": "vllm"})


def test_rerankers_of_two_dialects_score_in_the_passages_order() -> None:
    passages = ["ccc", "a", "bb", "dddd", "eeeee", "f"]
    with servers.model_server(servers.tei("reranker")) as server:
        made = ServedReranker(
            model="m", options={"url": server.url, "dialect": "tei", "batch_size": 4}
        )
        assert made.scores("q", passages).tolist() == [3, 1, 2, 4, 5, 1]
        assert [len(body["texts"]) for body in server.bodies("POST /rerank")] == [4, 2]
        assert made.scores("q", []).shape == (0,)
    with servers.model_server(servers.vllm("reranking")) as server:
        made = ServedReranker(model="m", options={"url": f"{server.url}/v1"})
        assert made.scores("q", passages).argmax() == 1
    short = {"POST /v1/rerank": lambda _: {"results": [{"index": 0, "relevance_score": 1.0}]}}
    with (
        servers.model_server(short) as server,
        pytest.raises(RagcoreError, match="no score for some of 2"),
    ):
        ServedReranker(model="m", options={"url": server.url}).scores("q", ["a", "b"])
    with pytest.raises(UsageError, match="needs the option url"):
        ServedReranker(model="m", options={})


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_images_are_sent_as_each_server_takes_them(kind: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (3000, 1500), "teal")

    def sse(body: object) -> object:
        return 400, {"error": {"message": "only looked at"}}

    routes = {**servers.ollama(), "POST /v1/chat/completions": sse}
    with servers.model_server(routes) as server:
        url = server.url if kind == "ollama" else f"{server.url}/v1"
        path = tmp_path / "mine.toml"
        path.write_text(
            f'name = "m"\n[llm]\nweights = "llava:7b"\nkind = "{kind}"\n'
            f'options = {{ url = "{url}", images = true }}\n'
        )
        made = Models(Settings(profile=str(path))).vision_llm()
        assert isinstance(made, VisionLLM)
        if kind == "ollama":
            assert made.captions([image]) == ["High tide."]
            encoded = server.bodies("POST /api/chat")[-1]["messages"][0]["images"][0]
        else:
            with pytest.raises(RagcoreError, match="only looked at"):
                made.captions([image])
            parts = server.bodies("POST /v1/chat/completions")[-1]["messages"][0]["content"]
            encoded = parts[0]["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
        sent = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert (sent.format, sent.size) == ("JPEG", (1024, 512))
        with pytest.raises(UsageError, match="the question is empty"):
            list(made.stream_image(image, " "))


def test_a_served_model_becomes_a_part_of_the_profile(settings: Settings) -> None:
    with servers.model_server(servers.ollama()) as server, Library(settings) as library:
        ports = [server.port]
        chat = load_profile(
            _with(settings, library.models.write_served("ollama:qwen3:4b", ports=ports))
        )
        assert (chat.llm.name, chat.llm.kind, chat.llm.otherwise) == ("qwen3:4b", "ollama", None)
        assert chat.llm.options == {"url": server.url, "context_length": 16384, "think": False}
        assert chat.text_encoder == library.models.profile.text_encoder
        path = library.models.write_served("ollama:nomic-embed-text", ports=ports)
        text = load_profile(_with(settings, path)).text_encoder
        assert (text.kind, text.options["passage_prompt"]) == ("ollama", "search_document: ")
        assert Models(_with(settings, path)).text_encoder().space.dimension == 8
        vision = load_profile(
            _with(settings, library.models.write_served("ollama:llava:7b", ports=ports))
        )
        assert vision.llm.options["images"]
        assert vision.vision_llm is None
        with pytest.raises(UsageError, match="a model for chat: it can be llm"):
            library.models.write_served("ollama:llava:7b", part="reranker", ports=ports)
    with servers.model_server(servers.tei("reranker")) as server, Library(settings) as library:
        path = library.models.write_served("tei:BAAI/bge-reranker", ports=[server.port])
        reranker = Models(_with(settings, path)).reranker()
        assert reranker is not None
        assert reranker.scores("q", ["aa", "b"]).tolist() == [2, 1]


def test_llama_server_answers_as_llama_cpp_in_this_process(
    cpp_llm: object, tiny_gguf: Path
) -> None:
    from ragcore.llm.llamacpp import LlamaCppLLM

    assert isinstance(cpp_llm, LlamaCppLLM)
    server = servers.llama_cpp(tiny_gguf)
    port = int(server.listening_address.rpartition(":")[2])
    one, model = choose_served(f"llama-server:{_only(port)}", [port])
    assert (model.task, model.context_length) == ("chat", 512)
    llm = OpenAILLM(model=model.name, url=f"{one.url}/v1", dialect="llama.cpp", think=False)
    llm.warm_up()
    sampling = Sampling(max_tokens=12)
    assert "".join(llm.stream(ASK, sampling)) == "".join(cpp_llm.stream(ASK, sampling))


def test_embeddings_of_llama_server_equal_those_in_this_process(tiny_gguf: Path) -> None:
    server = servers.llama_cpp(tiny_gguf, embedding=True)
    port = int(server.listening_address.rpartition(":")[2])
    one, model = choose_served(f"llama-server:{_only(port)}", [port])
    assert model.task == "embedding"
    texts = ["a heron waits for fish", "flour, water, salt", "Ebbe und Flut"]
    encoder = OpenAITextEncoder(model=model.name, options={"url": f"{one.url}/v1"})
    direct = server.handle_embeddings({"model": model.name, "input": texts})
    rows = np.array([row["embedding"] for row in direct["data"]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(texts), rows, atol=1e-5)
    assert encoder.space.dimension == 64


def _only(port: int) -> str:
    [one] = [one for one in find_servers([port]) if one.url.endswith(f":{port}")]
    return one.models[0].name


def _with(settings: Settings, path: Path) -> Settings:
    return settings.model_copy(update={"profile": str(path)})


@pytest.mark.full
@pytest.mark.starter_models
def test_answers_with_citations_by_llama_server_and_by_ollamas_protocol(
    settings: Settings, starter_weights: WeightStore, tmp_path: Path
) -> None:
    import httpx

    model = read_gguf(find_gguf(starter_weights.ensure("qwen2.5-0.5b-gguf")))
    folder = starter_weights.ensure("grounded-qa-qwen")
    adapter = adapter_gguf(folder, model, tmp_path / "adapters", name="grounded-qa-qwen")
    native = servers.llama_cpp(model.path, context=4096, adapter=adapter)
    address = native.listening_address

    def chat(body: dict) -> list[dict]:
        """Ollama's protocol before the same llama.cpp."""
        asked = {"messages": body["messages"], "max_tokens": body["options"]["num_predict"],
                 "temperature": 0}  # fmt: skip
        said = httpx.post(f"{address}/v1/chat/completions", json=asked, timeout=300).json()
        return [{"message": said["choices"][0]["message"], "done": True}]

    note = tmp_path / "handbook.txt"
    note.write_text("Dogs may come into the reading room on a lead. It opens at nine.\n")
    port = int(address.rpartition(":")[2])
    with servers.model_server(servers.ollama(chat)) as ollama:
        names = ((f"llama-server:{_only(port)}", port), ("ollama:qwen3:4b", ollama.port))
        for name, at in names:
            with Library(settings) as library:
                path = library.models.write_served(name, ports=[at])
            with Library(_with(settings, path)) as library:
                library.ingest([note])
                answer = library.ask("When does the reading room open?")
            assert not answer.abstained, name
            assert "nine" in answer.text
            assert "nine" in answer.citations[0].quote
