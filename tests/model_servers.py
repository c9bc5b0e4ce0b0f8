"""Real HTTP servers on loopback ports that speak the dialects of model servers, and llama.cpp's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# By "METHOD /path": what is answered to a body. A list is JSON lines, one after another.
Routes = Mapping[str, Callable[[Any], Any]]
LETTERS = "abcdefgh"


class ModelServer(ThreadingHTTPServer):
    """Answers by a table of routes; what is not in it is 404."""

    daemon_threads = True

    def __init__(self, routes: Routes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = routes
        self.asked: list[tuple[str, Any]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bodies(self, route: str) -> list[Any]:
        return [body for asked, body in self.asked if asked == route]


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        self._answer(f"GET {self.path}", None)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(f"POST {self.path}", json.loads(data))

    def _answer(self, route: str, body: Any) -> None:
        self.server.asked.append((route, body))
        act = self.server.routes.get(route)
        found = {"error": "Unexpected endpoint or method"} if act is None else act(body)
        status = 404 if act is None else 200
        if isinstance(found, tuple):
            status, found = found
        lines = found if isinstance(found, list) and route == "POST /api/chat" else [found]
        data = "\n".join(json.dumps(line) for line in lines).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def model_server(routes: Routes) -> Iterator[ModelServer]:
    server = ModelServer(routes)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def vector(text: str) -> list[float]:
    """Counts of letters: texts with the same letters are near."""
    return [float(text.lower().count(letter)) + 0.1 for letter in LETTERS]


def ollama(answer: Callable[[Any], list[Any]] | None = None) -> Routes:
    """Ollama with a chat model that thinks, a vision model and an encoder."""
    shown = {
        "qwen3:4b": (["completion", "thinking", "tools"], "qwen3", 40960),
        "llava:7b": (["completion", "vision"], "llama", 4096),
        "nomic-embed-text:latest": (["embedding"], "nomic-bert", 2048),
    }
    tags = {"models": [{"name": name, "digest": f"{name[:4].encode().hex()}00"} for name in shown]}

    def show(body: Any) -> Any:
        abilities, architecture, context = shown[body["model"]]
        info = {"general.architecture": architecture, f"{architecture}.context_length": context}
        return {"capabilities": abilities, "model_info": info}

    def chat(body: Any) -> Any:
        if body["model"] not in shown:
            return 404, {"error": f"model '{body['model']}' not found"}
        pieces = [{"message": {"role": "assistant", "content": word}, "done": False}
                  for word in ("High ", "tide.")]  # fmt: skip
        return [*pieces, {"message": {"content": ""}, "done": True, "done_reason": "stop"}]

    return {
        "GET /api/tags": lambda _: tags,
        "GET /api/version": lambda _: {"version": "0.12.3"},
        "POST /api/show": show,
        "POST /api/chat": answer or chat,
        "POST /api/embed": lambda body: {"embeddings": [vector(text) for text in body["input"]]},
    }


def lm_studio() -> Routes:
    rows = [
        {"id": "qwen2-vl-7b-instruct", "type": "vlm", "max_context_length": 32768},
        {"id": "llama-3.1-8b", "type": "llm", "state": "loaded", "max_context_length": 131072,
         "loaded_context_length": 4096},
        {"id": "text-embedding-nomic", "type": "embeddings", "max_context_length": 2048},
    ]  # fmt: skip
    return {"GET /api/v0/models": lambda _: {"object": "list", "data": rows}}


def tei(kind: str) -> Routes:
    """Text Embeddings Inference with an "embedding" or a "reranker"."""
    info = {
        "model_id": f"BAAI/bge-{kind}", "model_sha": "0123456789abcdef", "model_dtype": "float32",
        "model_type": {kind: {"pooling": "cls"}}, "max_input_length": 512,
        "max_client_batch_size": 4, "version": "1.8.2",
    }  # fmt: skip

    def rerank(body: Any) -> Any:
        scores = [{"index": i, "score": float(len(t))} for i, t in enumerate(body["texts"])]
        return sorted(scores, key=lambda row: -row["score"])

    return {"GET /info": lambda _: info, "POST /rerank": rerank, **openai_embeddings()}


def openai_embeddings() -> Routes:
    def embed(body: Any) -> Any:
        rows = [{"index": i, "embedding": vector(t)} for i, t in enumerate(body["input"])]
        return {"object": "list", "data": rows}

    return {"POST /v1/embeddings": embed}


def vllm(task: str) -> Routes:
    """VLLM with one model for "chat", "embedding" or "reranking"."""

    def rerank(body: Any) -> Any:
        scores = [{"index": i, "relevance_score": 1 / (1 + len(t)), "document": {"text": t}}
                  for i, t in enumerate(body["documents"])]  # fmt: skip
        return {"model": body["model"], "results": scores}

    models = [{"id": f"org/{task}", "owned_by": "vllm", "max_model_len": 8192}]
    routes: dict[str, Callable[[Any], Any]] = {
        "GET /v1/models": lambda _: {"object": "list", "data": models},
        "GET /version": lambda _: {"version": "0.20.0"},
    }
    if task != "chat":
        routes["POST /v1/rerank"] = rerank  # its encoders rerank, too
    return routes | (dict(openai_embeddings()) if task == "embedding" else {})


def llama_cpp(
    model: Path, *, embedding: bool = False, context: int = 512, adapter: Path | None = None
) -> Any:
    """llama.cpp itself with one model; `listening_address` is where it answers, without a key."""
    from ragcore.llm.llamacpp_server import native

    package = native()
    params = package.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel = context, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params, params.warmup, params.verbosity = False, False, -1
    params.ui, params.embedding = False, embedding
    if adapter is not None:
        params.lora_adapters = [package.CommonAdapterLoraInfo(str(adapter), 1.0)]
    if embedding:
        params.pooling_type = package.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return package.Server(params)
