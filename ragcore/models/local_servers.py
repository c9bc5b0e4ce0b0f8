"""Model servers on this computer: Ollama, LM Studio, llama-server, vLLM, TEI.

They are looked for when asked, on their usual ports of the loopback address, and nowhere else.
Which server answers is read from what it says of itself, since ports may be changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models.known_prompts import known_prompts

if TYPE_CHECKING:
    import httpx

ServerKind = Literal["ollama", "lmstudio", "llama-server", "vllm", "tei", "openai"]
Task = Literal["chat", "embedding", "reranking"]

HOST = "127.0.0.1"
# Ollama; LM Studio; llama-server; vLLM; Text Embeddings Inference, also in its docker examples.
USUAL_PORTS = (11434, 1234, 8080, 8000, 3000, 8081)
KINDS: tuple[ServerKind, ...] = ("ollama", "lmstudio", "llama-server", "vllm", "tei", "openai")

_MOST_CONTEXT = 16384  # tokens asked for, where a model could take more: they cost memory
_MOST_ANSWER = 8 << 20  # bytes of one answer
_CONNECT, _READ = 0.5, 5.0  # seconds
_DIMENSION_TEXT = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model of a server. `context_length` is tokens, 0 where the server does not say."""

    name: str
    task: Task
    vision: bool = False
    thinking: bool = False  # it can be asked not to think before it answers
    context_length: int = 0
    revision: str = ""
    batch_size: int = 0  # texts that one request may hold; 0: any

    @property
    def part(self) -> str:
        """The part of a profile that it can be."""
        return {"chat": "llm", "embedding": "text_encoder", "reranking": "reranker"}[self.task]


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server of this computer at `url` (without /v1), and what it has."""

    kind: ServerKind
    url: str
    version: str
    models: tuple[ServedModel, ...]

    def find(self, name: str) -> ServedModel | None:
        """The model called `name`, Ollama's tag "latest" may be left out."""
        names = (name, f"{name}:latest") if self.kind == "ollama" else (name,)
        return next((model for model in self.models if model.name in names), None)


def find_servers(ports: Sequence[int] = ()) -> list[LocalServer]:
    """The model servers that answer on the loopback address, in the order of ports.

    `ports` are looked at besides the usual ones. Raises UsageError for what is no port.
    """
    for port in ports:
        if not 0 < port < 65536:
            raise UsageError(f"{port} is no port: use a number from 1 to 65535")
    wanted = list(dict.fromkeys([*ports, *USUAL_PORTS]))
    with ThreadPoolExecutor(len(wanted), thread_name_prefix="model-servers") as pool:
        return [server for server in pool.map(_look, wanted) if server is not None]


def choose_served(name: str, ports: Sequence[int] = ()) -> tuple[LocalServer, ServedModel]:
    """The server and model that "KIND:NAME" means, as in "ollama:qwen3:4b".

    Raises UsageError for an unknown kind or model, ModelUnavailable where no such server answers.
    """
    kind, _, model = name.partition(":")
    if kind not in KINDS or not model:
        raise UsageError(f"{name!r} names no served model: write KIND:NAME with {', '.join(KINDS)}")
    servers = [server for server in find_servers(ports) if server.kind == kind]
    if not servers:
        raise ModelUnavailable(
            f"no {kind} server answers on its usual ports of {HOST}: start it, or name its port "
            "with --port"
        )
    for server in servers:
        if (found := server.find(model)) is not None:
            return server, found
    known = ", ".join(one.name for server in servers for one in server.models[:8]) or "none"
    raise UsageError(f"the {kind} server has no model {model!r}; it has {known}")


def served_part(server: LocalServer, model: ServedModel, part: str) -> tuple[str, dict[str, Any]]:
    """Kind and options with which a profile's `part` runs a served model.

    Raises UsageError for a part that the model cannot be.
    """
    parts = {"chat": ("llm", "vision_llm"), "embedding": ("text_encoder",)}
    allowed = parts.get(model.task, ("reranker",))
    if part not in allowed:
        raise UsageError(f"{model.name} is a model for {model.task}: it can be {allowed[0]}")
    if model.task == "chat":
        return _chat(server, model, images=model.vision or part == "vision_llm")
    if model.task == "embedding":
        return _embedding(server, model)
    return "server", {"url": server.url, "dialect": "tei" if server.kind == "tei" else "jina"}


def _chat(server: LocalServer, model: ServedModel, images: bool) -> tuple[str, dict[str, Any]]:
    context = min(model.context_length or _MOST_CONTEXT // 2, _MOST_CONTEXT)
    options: dict[str, Any] = {"url": server.url, "context_length": context}
    if images:
        options["images"] = True
    if model.thinking:
        options["think"] = False
    if server.kind == "ollama":
        return "ollama", options
    dialect = {"vllm": "vllm", "llama-server": "llama.cpp"}.get(server.kind)
    return "openai", {
        **options,
        "url": f"{server.url}/v1",
        **({"dialect": dialect} if dialect else {}),
    }


def _embedding(server: LocalServer, model: ServedModel) -> tuple[str, dict[str, Any]]:
    options: dict[str, Any] = {"url": server.url, **known_prompts(model.name)}
    if model.revision:
        options["revision"] = model.revision
    if model.batch_size:
        options["batch_size"] = model.batch_size
    if server.kind == "ollama":
        return "ollama", options
    if server.kind == "vllm":
        options["dialect"] = "vllm"
    return "openai", {**options, "url": f"{server.url}/v1"}


# --- looking ------------------------------------------------------------------------


def _look(port: int) -> LocalServer | None:
    """What answers on one port, if it is a model server."""
    import httpx

    timeout = httpx.Timeout(_READ, connect=_CONNECT)
    # No proxy of the environment stands between this computer and itself.
    with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=timeout, trust_env=False) as client:
        asked = _Asker(client)
        try:
            for read in (_ollama, _lm_studio, _tei, _openai):
                found = read(asked)
                if found is not None:
                    return found
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return None
    return None


class _Asker:
    """JSON of one server; what is no JSON object of success is an empty one."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.url = str(client.base_url).rstrip("/")

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        import httpx

        data = b""
        try:
            with self._client.stream(method, path, json=body) as reply:
                if not reply.is_success:
                    return {}
                for piece in reply.iter_bytes():
                    data += piece
                    if len(data) > _MOST_ANSWER:
                        return {}
            found = json.loads(data)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except (httpx.HTTPError, ValueError):
            return {}
        if isinstance(found, list):  # such as TEI's scores
            return {"data": found}
        return found if isinstance(found, dict) else {}


def _rows(found: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = found.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _number(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _ollama(asked: _Asker) -> LocalServer | None:
    tags = asked.get("/api/tags")
    if not isinstance(tags.get("models"), list):
        return None
    version = str(asked.get("/api/version").get("version", ""))
    rows = [row for row in _rows(tags, "models") if row.get("name")]
    return LocalServer(
        "ollama", asked.url, version, tuple(_ollama_model(asked, row) for row in rows)
    )


def _ollama_model(asked: _Asker, row: Mapping[str, Any]) -> ServedModel:
    name = str(row["name"])
    shown = asked.post("/api/show", {"model": name})
    abilities = shown.get("capabilities") or []
    info = shown.get("model_info") or {}
    context = _number(info.get(f"{info.get('general.architecture')}.context_length"))
    # Servers older than 0.6.4 list no abilities: encoders are known by their family.
    family = str((row.get("details") or {}).get("family", ""))
    embeds = "embedding" in abilities or (not abilities and "bert" in family)
    return ServedModel(
        name=name,
        task="embedding" if embeds else "chat",
        vision="vision" in abilities,
        thinking="thinking" in abilities,
        context_length=context,
        revision=str(row.get("digest", "")).removeprefix("sha256:")[:8],
    )


def _lm_studio(asked: _Asker) -> LocalServer | None:
    rows = [row for row in _rows(asked.get("/api/v0/models"), "data") if row.get("id")]
    if not rows:
        return None
    models = [
        ServedModel(
            name=str(row["id"]),
            task="embedding" if row.get("type") == "embeddings" else "chat",
            vision=row.get("type") == "vlm",
            context_length=_number(row.get("loaded_context_length"))
            or _number(row.get("max_context_length")),
        )
        for row in rows
    ]
    return LocalServer("lmstudio", asked.url, "", tuple(models))


def _tei(asked: _Asker) -> LocalServer | None:
    info = asked.get("/info")
    kinds = info.get("model_type")
    if not info.get("model_id") or not isinstance(kinds, dict):
        return None
    names = {str(kind).lower() for kind in kinds}
    models = []
    if names & {"embedding", "reranker"}:  # its third kind, a classifier, is of no use here
        models.append(
            ServedModel(
                name=str(info["model_id"]),
                task="embedding" if "embedding" in names else "reranking",
                context_length=_number(info.get("max_input_length")),
                revision=str(info.get("model_sha") or "")[:8],
                batch_size=_number(info.get("max_client_batch_size")),
            )
        )
    return LocalServer("tei", asked.url, str(info.get("version", "")), tuple(models))


def _openai(asked: _Asker) -> LocalServer | None:
    rows = [row for row in _rows(asked.get("/v1/models"), "data") if row.get("id")]
    if not rows:
        return None
    owners = {str(row.get("owned_by", "")).lower() for row in rows}
    if "llamacpp" in owners:
        return LocalServer("llama-server", asked.url, "", tuple(_llama_models(asked, rows)))
    if "vllm" in owners:
        version = str(asked.get("/version").get("version", ""))
        return LocalServer("vllm", asked.url, version, tuple(_vllm_models(asked, rows)))
    plain = tuple(
        ServedModel(name=str(row["id"]), task=_probed(asked, str(row["id"]))) for row in rows[:20]
    )
    return LocalServer("openai", asked.url, "", plain)


def _llama_models(asked: _Asker, rows: Sequence[Mapping[str, Any]]) -> Iterator[ServedModel]:
    """llama-server has one model; what it does was decided when it was started."""
    props = asked.get("/props")
    settings = props.get("default_generation_settings") or {}
    for row in rows[:1]:
        name = str(row["id"])
        task: Task = "reranking" if _reranks(asked, name) else _probed(asked, name)
        yield ServedModel(
            name=name,
            task=task,
            vision=bool((props.get("modalities") or {}).get("vision")),
            thinking=task == "chat",  # others than thinking models pass the request over
            context_length=_number(settings.get("n_ctx"))
            or _number((row.get("meta") or {}).get("n_ctx_train")),
        )


def _vllm_models(asked: _Asker, rows: Sequence[Mapping[str, Any]]) -> Iterator[ServedModel]:
    for row in rows[:20]:
        name = str(row["id"])
        # Encoders of vLLM rerank, too, by their vectors: embedding is asked about first.
        task = _probed(asked, name)
        if task == "chat" and _reranks(asked, name):
            task = "reranking"
        yield ServedModel(
            name=name,
            task=task,
            thinking=task == "chat",
            context_length=_number(row.get("max_model_len")),
        )


def _probed(asked: _Asker, name: str) -> Task:
    """Embedding where the server embeds a letter by that model, else chat."""
    body = {"model": name, "input": [_DIMENSION_TEXT], "encoding_format": "float"}
    rows = _rows(asked.post("/v1/embeddings", body), "data")
    return "embedding" if rows and rows[0].get("embedding") else "chat"


def _reranks(asked: _Asker, name: str) -> bool:
    body = {"model": name, "query": _DIMENSION_TEXT, "documents": [_DIMENSION_TEXT]}
    return bool(_rows(asked.post("/v1/rerank", body), "results"))
