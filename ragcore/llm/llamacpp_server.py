"""llama.cpp in this process (the package xllamacpp): one loaded model, its slots and requests.

Beside the calls in process, llama.cpp opens an HTTP server on a free port of 127.0.0.1, which
cannot be switched off. It gets a random key; only we know it, and use it for what has no call in
process: tokens of a text, and the chat template.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragcore.errors import Cancelled, ModelUnavailable, RagcoreError, UsageError
from ragcore.extras import require_extra
from ragcore.redaction import remember
from ragcore.types import CancelToken

_BATCH = 256  # prompt tokens between two looks at a cancel; the usual 2,048 take 12 s on two cores
_LOOK_EVERY = 0.05  # seconds between two looks at the cancel token while waiting
_HTTP_SECONDS = 120.0  # for a text's tokens, beside whatever else the machine does


def native() -> Any:
    """The package xllamacpp. Raises MissingExtra, or ModelUnavailable where it cannot be loaded."""
    require_extra("llamacpp", "GGUF models")
    try:
        try:
            import xllamacpp
        except ImportError as error:
            if "libgomp" not in str(error):
                raise
            import torch  # noqa: F401 - it brings the OpenMP library that the system has not
            import xllamacpp
    except ImportError as error:
        reason = str(error).splitlines()[0]
        if "libgomp" in reason:
            reason = "the system library libgomp.so.1 is missing: apt-get install libgomp1"
        raise ModelUnavailable(f"llama.cpp cannot be started: {reason}") from error
    return xllamacpp


def has_gpu() -> bool:
    """Whether this build of llama.cpp computes on a GPU, and sees one."""
    package = native()
    cpu = package.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return any(device["type"] != cpu for device in package.get_device_info())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """`context` is tokens of one prompt with its answer, `slots` how many are in memory."""

    context: int
    slots: int
    threads: int
    gpu: bool


class LlamaServer:
    """One model in memory, with LoRA adapters (GGUF files) whose numbers are their places."""

    def __init__(self, model: Path, options: ServerOptions, adapters: Sequence[Path] = ()) -> None:
        package = native()
        key = secrets.token_urlsafe(32)
        remember(key)
        p = package.CommonParams()
        p.model.path = str(model)
        p.n_ctx = options.context * options.slots
        p.n_parallel, p.kv_unified = options.slots, True
        p.n_batch = p.n_ubatch = _BATCH
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = options.threads
        p.n_gpu_layers = -1 if options.gpu else 0
        p.fit_params = False
        # Prompts stay in their slots, which `Slots` chooses. llama.cpp's own cache beside them
        # does not ask which adapter a prompt was read with.
        p.cache_ram_mib, p.cache_idle_slots = 0, False
        p.api_keys, p.endpoint_slots, p.ui = [key], False, False
        p.verbosity, p.warmup = -1, False
        p.lora_adapters = [package.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters]
        try:
            self._server = package.Server(p)
        except RuntimeError as error:  # gives no reason
            what = f"{model} with its adapters" if adapters else str(model)
            raise ModelUnavailable(
                f"llama.cpp cannot load {what}: its architecture may be newer than this xllamacpp, "
                "or the memory too small"
            ) from error
        self._adapters = len(adapters)
        self._http = _client(self._server.listening_address, key)

    def tokens(self, text: str, *, marks: bool = False) -> list[int]:
        """Token ids of a text.

        With `marks` control tokens in it count as such, and it begins as a prompt of this model
        does.
        """
        body = {"content": _clean(text), "add_special": marks, "parse_special": marks}
        return [int(token) for token in self._post("/tokenize", body)["tokens"]]

    def pieces(self, text: str) -> list[tuple[int, bool]]:
        """Token ids of a text, and whether each is whole characters."""
        body = {"content": _clean(text), "with_pieces": True}
        found = self._post("/tokenize", body)["tokens"]
        return [(int(token["id"]), isinstance(token["piece"], str)) for token in found]

    def render(self, messages: Sequence[tuple[str, str]]) -> str:
        """The model's chat template on (role, content). Raises UsageError if it refuses them."""
        turns = [{"role": role, "content": _clean(content)} for role, content in messages]
        return str(self._post("/apply-template", {"messages": turns})["prompt"])

    def complete(
        self, body: dict[str, Any], adapter: int | None, on_event: Callable[[Any], bool]
    ) -> None:
        """Run a completion to its end; `on_event` gets each event, and ends it by True.

        Refusals come as an event, too: an object with "error". Raises RagcoreError.
        """
        # Without the whole list llama.cpp answers from what another adapter has cached.
        lora = [{"id": i, "scale": float(i == adapter)} for i in range(self._adapters)]
        request = {**body, "lora": lora, "stream": True, "return_progress": True}
        try:
            refused = self._server.handle_completions(request, on_event)
        except (TypeError, ValueError, RuntimeError) as error:
            raise RagcoreError(f"llama.cpp refused the request: {_line(error)}") from error
        if isinstance(refused, dict) and "error" in refused:
            on_event(refused)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        import httpx

        try:
            response = self._http.post(path, json=body)
            found = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RagcoreError(f"llama.cpp failed at {path}: {_line(error)}") from error
        if response.status_code != 200:
            raise UsageError(f"llama.cpp refused the messages: {refusal(found)}")
        return dict(found)


def refusal(event: Any) -> str:
    """The reason in an error of llama.cpp's, in one line."""
    error = event.get("error", event) if isinstance(event, dict) else event
    return _line(error.get("message", error) if isinstance(error, dict) else error)


def _client(address: str, key: str) -> Any:
    import httpx

    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=address, headers=headers, timeout=_HTTP_SECONDS, trust_env=False)


def _clean(text: str) -> str:
    """Text that can be sent as UTF-8: without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


# --- slots -------------------------------------------------------------------------


@dataclass(slots=True)
class Slot:
    """A place for one prompt in llama.cpp's memory: what was read there last, by which adapter."""

    number: int
    tokens: list[int] = field(default_factory=list)
    adapter: str | None = None
    used: int = 0


class Slots:
    """Which requests run where: in the order of asking, each where its prompt is read already."""

    def __init__(self, count: int) -> None:
        self._all = [Slot(number) for number in range(count)]
        self._free = list(self._all)
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._clock = 0

    def acquire(
        self, tokens: Sequence[int], adapter: str | None, cancel: CancelToken | None = None
    ) -> tuple[Slot, bool]:
        """A free slot, and whether what it has read may be used. Raises Cancelled in the wait."""
        with self._turn(lambda: bool(self._free), cancel):
            slot = self._choose(tokens, adapter)
            self._free.remove(slot)
            same = slot.adapter == adapter
            slot.tokens, slot.adapter = list(tokens), adapter
            return slot, same

    def release(self, slot: Slot) -> None:
        with self._changed:
            self._clock += 1
            slot.used = self._clock
            self._free.append(slot)
            self._changed.notify_all()

    @contextmanager
    def all(self, cancel: CancelToken | None = None) -> Iterator[None]:
        """Wait until no request runs, and let none begin in the block; the slots are empty then."""
        with self._turn(lambda: len(self._free) == len(self._all), cancel):
            self._free.clear()
        try:
            yield
        finally:
            with self._changed:
                for slot in self._all:
                    slot.tokens, slot.adapter = [], None
                self._free.extend(self._all)
                self._changed.notify_all()

    @contextmanager
    def _turn(self, ready: Callable[[], bool], cancel: CancelToken | None) -> Iterator[None]:
        """Hold the lock when it is our turn and `ready`."""
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                while not (self._waiting[0] is me and ready()):
                    if cancel is not None and cancel.cancelled:
                        raise Cancelled("the answer was cancelled")
                    self._changed.wait(_LOOK_EVERY)
                yield
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()

    def _choose(self, tokens: Sequence[int], adapter: str | None) -> Slot:
        """The slot of which the prompt uses most, if that is half of what it has read or more.

        Else the one that was not used for the longest time.
        """
        best = max(self._free, key=lambda slot: _shared(slot, tokens, adapter))
        if _shared(best, tokens, adapter) >= 0.5:
            return best
        return min(self._free, key=lambda slot: slot.used)


def _shared(slot: Slot, tokens: Sequence[int], adapter: str | None) -> float:
    """The share of what a slot has read with which the prompt begins as well."""
    if slot.adapter != adapter or not slot.tokens:
        return 0.0
    pairs = enumerate(zip(slot.tokens, tokens, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(slot.tokens), len(tokens)))
    return same / len(slot.tokens)
