"""Vision-language models of the hub, through transformers' own classes for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, ModelUnavailable
from ragcore.llm.logits import check_sampling
from ragcore.llm.vision_llm import asked_captions, check_question
from ragcore.models import (
    ModelMemory,
    Sampling,
    Weights,
    check_loading,
    folder_bytes,
    loading_options,
    module_bytes,
    weight_share,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.models import Placement
    from ragcore.types import CancelToken

CAPTION_QUESTION = "Describe the picture in one sentence."


class HubVisionLLM:
    """Any model of AutoModelForImageTextToText, from a folder in the hub's layout.

    `quantization` and `device_map` as of `TransformersLLM`.

    One question runs at a time; others wait. Weights load on first use. Raises
    ModelUnavailable, then, for a folder that holds no such model.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str,
        placement: Placement,
        quantization: str = "",
        device_map: str = "",
        memory: ModelMemory | None = None,
    ) -> None:
        check_loading(name, quantization, device_map)
        self._quantization, self._device_map = quantization, device_map
        share = weight_share(quantization, placement.dtype.itemsize)
        self._folder = str(folder)
        self._name = name
        self._placement = placement
        self._lock = threading.RLock()
        self.weights: Weights[tuple[Any, Any]] = (memory or ModelMemory()).weights(
            self._load,
            part="vision_llm",
            name=name,
            device=placement.device,
            precision=placement.precision,
            size=lambda: int(folder_bytes(Path(folder), placement.dtype.itemsize) * share),
            measure=lambda loaded: module_bytes(loaded[0]),
        )

    @property
    def name(self) -> str:
        return self._name

    def stream_image(
        self,
        image: Image,
        question: str,
        sampling: Sampling = Sampling(max_tokens=60),
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        from transformers import TextIteratorStreamer

        check_sampling(sampling)
        text = check_question(question)
        with self.weights.lease() as (model, processor), self._lock:
            inputs = self._inputs(processor, image, text)
            pieces = TextIteratorStreamer(
                processor.tokenizer, skip_prompt=True, skip_special_tokens=True
            )
            stopped = threading.Event()
            failed: list[BaseException] = []

            def write() -> None:
                try:
                    stop = _any(cancel, stopped)
                    _generate(model, inputs, sampling, streamer=pieces, stop=stop)
                except Exception as error:  # handed on to the reader below
                    failed.append(error)
                finally:
                    pieces.end()

            writer = threading.Thread(target=write, name="ragcore-image", daemon=True)
            writer.start()
            try:
                yield from (piece for piece in pieces if piece)
            finally:
                stopped.set()
                writer.join()
            if failed:
                raise ModelUnavailable(f"{self.name} cannot answer: {_reason(failed[0])}")
            if cancel is not None and cancel.cancelled:
                raise Cancelled("the answer was cancelled")

    def captions(self, images: Sequence[Image], *, cancel: CancelToken | None = None) -> list[str]:
        return asked_captions(self, images, CAPTION_QUESTION, cancel)

    def _load(self) -> tuple[Any, Any]:
        """Model and processor."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        how = loading_options(self.name, self._placement, self._quantization, self._device_map)
        try:
            processor: Any = AutoProcessor.from_pretrained(
                self._folder, local_files_only=True, trust_remote_code=False
            )
            model = AutoModelForImageTextToText.from_pretrained(
                self._folder, trust_remote_code=False, **how
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelUnavailable(f"{self.name} cannot be loaded: {_reason(error)}") from error
        if not hasattr(processor, "tokenizer"):
            raise ModelUnavailable(f"{self.name} has no processor for images and words")
        if "device_map" not in how:
            model = model.to(self._placement.device)
        return model.eval(), processor

    def _inputs(self, processor: Any, image: Image, question: str) -> Any:
        """The processor's tensors of one question, by the model's chat form if it has one."""
        image = image.convert("RGB")
        if getattr(processor, "chat_template", None):
            parts = [{"type": "image"}, {"type": "text", "text": question}]
            text = processor.apply_chat_template(
                [{"role": "user", "content": parts}], add_generation_prompt=True
            )
        else:  # captioning models such as GIT and BLIP read the bare question
            text = question
        made = processor(images=image, text=text, return_tensors="pt")
        return made.to(self._placement.device, dtype=self._placement.dtype)


def _generate(model: Any, inputs: Any, sampling: Sampling, *, streamer: Any, stop: Any) -> None:
    import torch

    how: dict[str, Any] = {"do_sample": sampling.temperature > 0}
    if sampling.temperature > 0:
        how |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
    with torch.inference_mode():
        model.generate(
            **inputs,
            **how,
            max_new_tokens=sampling.max_tokens,
            repetition_penalty=sampling.repetition_penalty,
            streamer=streamer,
            stopping_criteria=stop,
        )


def _any(cancel: CancelToken | None, stopped: threading.Event) -> Any:
    """Stops when the answer is cancelled, or nobody reads it any more."""
    import torch
    from transformers import StoppingCriteriaList

    def stop(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        now = stopped.is_set() or (cancel is not None and cancel.cancelled)
        return torch.full((len(ids),), now, device=ids.device, dtype=torch.bool)

    return StoppingCriteriaList([stop])


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
