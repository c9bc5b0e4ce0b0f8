"""Questions about an image: a projector in front of the language model.

`ProjectedLLM` runs what `ragcore tune projector` trains; `ragcore.llm.hub_vision` runs models of
the hub with a vision tower of their own. Both are a `VisionLLM`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.llm.image_prompt import prompt_parts
from ragcore.models import NO_ADAPTER, ModelMemory, Sampling, VisionLLM, Weights

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from ragcore.encoders import GridEncoder
    from ragcore.llm.projector import Projector
    from ragcore.llm.transformers_llm import TransformersLLM
    from ragcore.types import CancelToken

BEAMS = 3  # of a caption; answers are streamed and so greedy
CAPTION_TOKENS = 40
BATCH = 8  # images that are captioned at once
MOST_QUESTION = 2000  # characters


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """What a model says of an image. `model` is its name, `seconds` how long it took."""

    text: str
    model: str
    seconds: float


def check_question(question: str) -> str:
    """The question without space around it. Raises UsageError if it is empty or endless."""
    text = question.strip()
    if not text:
        raise UsageError("ask something about the image: the question is empty")
    if len(text) > MOST_QUESTION:
        raise UsageError(f"the question has {len(text)} characters; at most {MOST_QUESTION} fit")
    return text


def asked_captions(
    model: VisionLLM, images: Sequence[Image], question: str, cancel: CancelToken | None
) -> list[str]:
    """Captions by a model that has no other way than to be asked for each."""
    sampling = Sampling(max_tokens=CAPTION_TOKENS)
    texts = (
        "".join(model.stream_image(image, question, sampling, cancel=cancel)) for image in images
    )
    return [" ".join(text.split()) for text in texts]


class ProjectedLLM:
    """A language model that reads images through a projector (`ragcore.llm.projector`).

    `folder` holds the projector and, if one was trained, the adapter in peft's layout. The
    language model is shared with text questions: its adapter is put on for an image's turns.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        llm: TransformersLLM,
        encoder: GridEncoder,
        memory: ModelMemory | None = None,
    ) -> None:
        self._name = name
        self._llm = llm
        self._encoder = encoder
        self.weights: Weights[Projector] = (memory or ModelMemory()).weights(
            lambda: _projector(folder), part="vision_llm", name=name, precision="float32"
        )
        self._adapter = NO_ADAPTER
        if (folder / "adapter_config.json").is_file():
            self._adapter = name
            llm.add_adapter(name, folder)

    @property
    def name(self) -> str:
        return self._name

    @property
    def projector(self) -> Projector:
        """Loaded when first needed. Raises ModelUnavailable."""
        with self.weights.lease() as projector:
            return projector

    def stream_image(
        self,
        image: Image,
        question: str,
        sampling: Sampling = Sampling(max_tokens=60),
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        text = check_question(question)
        cells = self.cells([image])

        def prompt(model: Any) -> torch.Tensor:
            return self.embed(model, cells, text)

        yield from self._llm.stream_from(prompt, sampling, adapter=self._adapter, cancel=cancel)

    def captions(self, images: Sequence[Image], *, cancel: CancelToken | None = None) -> list[str]:
        said: list[str] = []
        for start in range(0, len(images), BATCH):
            said += self.captions_of(self.cells(images[start : start + BATCH]), cancel=cancel)
        return said

    def cells(self, images: Sequence[Image]) -> torch.Tensor:
        """What the tower sees of images: [n, cells, channels]."""
        import torch

        return torch.from_numpy(self._encoder.encode(images))

    def captions_of(
        self, cells: torch.Tensor, *, beams: int = BEAMS, cancel: CancelToken | None = None
    ) -> list[str]:
        """Captions from cells [n, cells, channels]; [n, 0, channels] is no image at all."""
        from ragcore.llm.image_batch import answer_batch

        if cancel is not None and cancel.cancelled:
            raise Cancelled("cancelled before the caption was written")
        with self._llm.acquire(self._adapter) as model:
            prompt = self.embed(model, cells, self.projector.config.caption_question)
            said = answer_batch(
                model,
                self._llm.tokenizer,
                prompt,
                beams=beams,
                max_tokens=CAPTION_TOKENS,
                cancel=cancel,
            )
        if cancel is not None and cancel.cancelled:
            raise Cancelled("cancelled while a caption was being written")
        return [" ".join(text.split()) for text in said]

    def prefers(self, cells: torch.Tensor, question: str, one: str, other: str) -> bool:
        """Whether the answer about one image's cells sooner begins with `one` than `other`."""
        import torch

        first, second = (
            self._llm.tokenizer(text, add_special_tokens=False)["input_ids"][0]
            for text in (one, other)
        )
        with self._llm.acquire(self._adapter) as model, torch.inference_mode():
            prompt = self.embed(model, cells, question)
            scores = model(inputs_embeds=prompt, use_cache=False, logits_to_keep=1).logits[0, -1]
        return bool(scores[first] > scores[second])

    def embed(self, model: Any, cells: torch.Tensor, question: str) -> torch.Tensor:
        """Input embeddings of a question around cells.

        Raises ModelUnavailable if the projector was made for another language model.
        """
        import torch

        from ragcore.llm.image_batch import embed_prompt

        width = model.get_input_embeddings().weight.shape[1]
        if width != self.projector.config.width:
            raise ModelUnavailable(
                f"{self.name} was made for {self.projector.config.base}, whose embeddings have "
                f"{self.projector.config.width} numbers; {self._llm.name} has {width}"
            )
        before, after = (
            self._llm.tokenizer(part, add_special_tokens=False)["input_ids"]
            for part in prompt_parts(self._llm.render, question)
        )
        with torch.inference_mode():
            seen = self.projector(cells) if cells.shape[1] else torch.zeros(len(cells), 0, width)
            return embed_prompt(model, before, seen, after)


def _projector(folder: Path) -> Projector:
    from ragcore.llm.projector import load_projector

    return load_projector(folder)
