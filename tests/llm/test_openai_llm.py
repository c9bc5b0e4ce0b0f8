"""Against a real server on loopback, which serves one of our own models over the protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ragcore.errors import Cancelled, ModelUnavailable, RagcoreError, UsageError
from ragcore.llm.openai_llm import OpenAILLM
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import Constraint, Sampling
from ragcore.types import CancelToken, Message

ASK = [Message("user", "Name three colors.")]


class Server(ThreadingHTTPServer):
    """Chat completions over server-sent events; models: "tiny" and the adapter "left"."""

    daemon_threads = True

    def __init__(self, llm: TransformersLLM, key: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.llm, self.key = llm, key
        self.bodies: list[dict] = []
        self.broken = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._json(200, {"data": [{"id": "tiny"}, {"id": "left"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            return self._json(401, {"error": {"message": "bad key"}})
        if body["model"] not in ("tiny", "left"):
            return self._json(404, {"error": {"message": f"no model {body['model']}"}})
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        pieces = self.server.llm.stream(
            [Message(m["role"], m["content"]) for m in body["messages"]],
            Sampling(
                max_tokens=body["max_tokens"],
                temperature=body["temperature"],
                seed=body.get("seed"),
                stop=tuple(body.get("stop", ())),
            ),
            constraint=Constraint(json_schema=schema) if schema else None,
            adapter="left" if body["model"] == "left" else "none",
        )
        try:
            for piece in pieces:
                delta = {"choices": [{"delta": {"content": piece}}]}
                self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.broken.set()  # the other side went away
            pieces.close()

    def _json(self, code: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tiny_llm: TransformersLLM) -> Iterator[Server]:
    made = Server(tiny_llm)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_answers_are_the_servers_models(server: Server, tiny_llm: TransformersLLM) -> None:
    llm = OpenAILLM(model="tiny", url=server.url)
    llm.warm_up()
    sampling = Sampling(max_tokens=16)
    expected = "".join(tiny_llm.stream(ASK, sampling))
    pieces = list(llm.stream(ASK, sampling))
    assert "".join(pieces) == expected
    assert len(pieces) > 3  # as they come, not at the end
    adapted = "".join(llm.stream(ASK, sampling, adapter="left"))
    assert adapted == "".join(tiny_llm.stream(ASK, sampling, adapter="left")) != expected


def test_sampling_and_schema_travel(server: Server) -> None:
    llm = OpenAILLM(model="tiny", url=server.url)
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
              "additionalProperties": False}  # fmt: skip
    sampling = Sampling(max_tokens=30, temperature=0.7, seed=5, stop=("###",))
    text = "".join(llm.stream(ASK, sampling, constraint=Constraint(json_schema=schema)))
    assert isinstance(json.loads(text)["ok"], bool)
    body = server.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (30, 0.7, 5)
    assert body["stop"] == ["###"]


def test_cancel_drops_the_request(server: Server) -> None:
    llm = OpenAILLM(model="tiny", url=server.url)
    cancel = CancelToken()
    pieces = llm.stream(ASK, Sampling(max_tokens=1500), cancel=cancel)
    next(pieces)
    cancel.cancel()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        list(pieces)
    assert time.monotonic() - started < 20  # all 1,500 tokens take minutes
    assert server.broken.wait(120)


def test_key_is_sent_and_its_refusal_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "secret"
    llm = OpenAILLM(model="tiny", url=server.url, key_variable="TEST_LLM_KEY")
    with pytest.raises(RagcoreError, match="TEST_LLM_KEY"):
        list(llm.stream(ASK))
    monkeypatch.setenv("TEST_LLM_KEY", "secret")
    assert "".join(llm.stream(ASK, Sampling(max_tokens=4)))


def test_errors_are_clear(server: Server) -> None:
    with pytest.raises(UsageError, match="http"):
        OpenAILLM(model="tiny", url="localhost")
    with pytest.raises(UsageError, match="dialect"):
        OpenAILLM(model="tiny", url=server.url, dialect="other")
    with pytest.raises(ModelUnavailable, match="it has tiny, left"):
        OpenAILLM(model="huge", url=server.url).warm_up()
    with pytest.raises(RagcoreError, match="no model huge"):
        list(OpenAILLM(model="huge", url=server.url).stream(ASK))
    with pytest.raises(ModelUnavailable, match="no LLM server"):
        list(OpenAILLM(model="tiny", url="http://127.0.0.1:9/v1").stream(ASK))
    with pytest.raises(UsageError, match="no such constraint"):
        list(OpenAILLM(model="tiny", url=server.url).stream(ASK, constraint=Constraint(regex="a")))
