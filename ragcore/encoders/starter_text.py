"""The text side of starter-clip in NumPy: a search by words loads neither torch nor images."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.encoders.bert import unit
from ragcore.encoders.quick_text import load_bert
from ragcore.encoders.starter_space import (
    CLASSES,
    CONTEXT,
    MEMBERS,
    NAME_SHARPNESS,
    SEMANTIC_LENGTH,
)

if TYPE_CHECKING:
    from ragcore.types import FloatArray

_HEAD = "text.proj."


class StarterText:
    """MiniLM and `starter_heads.TextHead`; the same vectors as in torch, up to rounding.

    Raises ModelUnavailable if the folders do not hold these weights.
    """

    def __init__(self, minilm: Path, heads: Path) -> None:
        """`heads` is the file of the shipped weights."""
        import numpy as np
        from safetensors import safe_open

        self._bert = load_bert(minilm, CONTEXT)
        with safe_open(str(heads), "numpy") as file:
            self._head = {
                name.removeprefix(_HEAD): file.get_tensor(name).astype(np.float32)
                for name in file.keys()  # noqa: SIM118  # no mapping: it has only keys()
                if name.startswith(_HEAD)
            }

    @property
    def bytes(self) -> int:
        """Of the weights in memory."""
        return self._bert.bytes + sum(int(tensor.nbytes) for tensor in self._head.values())

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Float32 [n, DIMENSION], not normalized."""
        import numpy as np

        head = self._head
        direction = unit(self._bert.mean([_clean(text) for text in texts]))
        members = [unit(direction @ head[f"members.{i}.weight"].T) for i in range(MEMBERS)]
        learned = unit(np.concatenate(members, axis=-1) @ head["mix"])
        said = unit(direction - head["middle"])
        near = np.exp(NAME_SHARPNESS * (said @ head["names"].T - 1))
        near /= near.sum(-1, keepdims=True)
        classes = unit(near[:, :CLASSES] + near[:, CLASSES:] @ head["groups"])
        meant = unit(said @ head["semantic_weight"])
        return np.concatenate([learned, classes, SEMANTIC_LENGTH * meant], axis=-1)


def _clean(text: str) -> str:
    """As open_clip's tokenizers clean a text."""
    if not (text.isascii() and text.isprintable()):  # else there is nothing for ftfy to fix
        import ftfy

        text = ftfy.fix_text(text)
    return " ".join(html.unescape(html.unescape(text)).split())
