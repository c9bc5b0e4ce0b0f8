"""Questions about images, asked of a model behind a server that takes images in a message."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.llm.logits import check_sampling
from ragcore.llm.ollama_llm import OllamaLLM
from ragcore.llm.openai_llm import OpenAILLM
from ragcore.llm.vision_llm import asked_captions, check_question
from ragcore.models import Sampling
from ragcore.types import Message

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.types import CancelToken

CAPTION_QUESTION = "Describe the image in one sentence."
_LONGEST = 1024  # pixels of the longer side that are sent: models scale down to about that
_QUALITY = 92


class OpenAIVisionLLM(OpenAILLM):
    """A chat model of an OpenAI-compatible server that reads images: a `VisionLLM`, too."""

    def stream_image(
        self,
        image: Image,
        question: str,
        sampling: Sampling = Sampling(max_tokens=60),
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[str]:
        """Yield the answer in pieces. Errors as of `stream`; UsageError for an empty question."""
        check_sampling(sampling)
        text = check_question(question)
        body = self._body([Message("user", text)], sampling, None, None)
        body["messages"] = [self._image_message(text, jpeg(image))]
        yield from self._cancellable(body, cancel)

    def captions(self, images: Sequence[Image], *, cancel: CancelToken | None = None) -> list[str]:
        """One sentence about each image."""
        return asked_captions(self, images, CAPTION_QUESTION, cancel)

    def _image_message(self, text: str, encoded: str) -> dict[str, Any]:
        url = f"data:image/jpeg;base64,{encoded}"
        parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
        return {"role": "user", "content": parts}


class OllamaVisionLLM(OpenAIVisionLLM, OllamaLLM):
    """A vision model of Ollama."""

    def _image_message(self, text: str, encoded: str) -> dict[str, Any]:
        return {"role": "user", "content": text, "images": [encoded]}


def jpeg(image: Image) -> str:
    """An image as JPEG in base64, at most 1,024 pixels on its longer side."""
    small = image.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")
