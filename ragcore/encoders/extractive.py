"""The network of the extractive reader: where in the passages the answer to a question stands.

A BERT encoder of which the lower layers read question and passage apart and the upper ones both
together (Cao et al. 2020, "DeFormer"). The lower layers are a text encoder's own and stay
frozen, so that only the upper ones are trained and shipped. Long passages are read in windows;
the logits of all windows of a question compare with each other (Clark and Gardner 2018, "Simple
and Effective Multi-Paragraph Reading Comprehension").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QUESTION_TOKENS = 48  # a longer question loses its beginning, which asks less than its end
TITLE_TOKENS = 16
_STOPS = frozenset(".!?")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network, as in its config.json; `window` are the tokens read at once."""

    base: str
    hidden: int = 384
    heads: int = 12
    intermediate: int = 1536
    lower: int = 3
    upper: int = 3
    vocabulary: int = 30522
    positions: int = 512
    epsilon: float = 1e-12
    window: int = 128

    @classmethod
    def of_base(cls, name: str, folder: Path, *, lower: int, window: int) -> Shape:
        """The shape of a reader over a BERT model's folder, its first `lower` layers frozen.

        Raises ValueError if the folder is not a BERT with more layers than that.
        """
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
        layers = int(config.get("num_hidden_layers", 0))
        if config.get("model_type") != "bert" or layers <= lower:
            raise ValueError(f"{name} is not a BERT encoder of more than {lower} layers")
        return cls(
            base=name,
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            lower=lower,
            upper=layers - lower,
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            epsilon=config["layer_norm_eps"],
            window=window,
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a passage as the network reads it: [CLS] title : text [SEP].

    `offsets` are the (start, end) characters in the passage of the tokens from `first` on.
    """

    ids: tuple[int, ...]
    first: int
    offsets: tuple[tuple[int, int], ...]


class WindowMaker:
    """Questions and passages to token ids, with the tokenizer of the base's folder."""

    def __init__(self, folder: Path, size: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._size = size
        self._cls, self._sep, self._colon = map(self._id, ("[CLS]", "[SEP]", ":"))

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise UsageError(f"the base's tokenizer has no {token}: choose a BERT-like base")
        return int(number)

    def question(self, text: str) -> tuple[int, ...]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return (self._cls, *ids[2 - QUESTION_TOKENS :], self._sep)

    def windows(self, text: str, title: str = "") -> list[Window]:
        """Windows that together hold the whole text.

        They begin and end between sentences where these are short enough, and neighbours share a
        short sentence.
        """
        head = [self._cls]
        if title:
            named = self._tokenizer.encode(title, add_special_tokens=False).ids
            head += [*named[:TITLE_TOKENS], self._colon]
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = encoded.offsets
        room = self._size - len(head) - 1
        return [
            Window(
                (*head, *encoded.ids[start:end], self._sep), len(head), tuple(offsets[start:end])
            )
            for start, end in _stretches(_beginnings(text, offsets), len(offsets), room)
        ]


def _beginnings(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Tokens that begin a sentence or a line."""
    found = [0]
    for at in range(1, len(offsets)):
        before, start = offsets[at - 1][1], offsets[at][0]
        gap = text[before:start]
        if gap and (text[before - 1] in _STOPS or "\n" in gap):
            found.append(at)
    return found


def _stretches(beginnings: Sequence[int], count: int, room: int) -> Iterator[tuple[int, int]]:
    """(start, end) tokens of each window of at most `room` tokens."""
    start = 0
    while count - start > room:
        latest = start + room
        inside = [b for b in beginnings if start + room // 2 < b <= latest]
        end = inside[-1] if inside else latest
        yield start, end
        shared = [b for b in beginnings if max(start, end - room // 3) < b < end]
        start = shared[-1] if shared else end
        if count - start < room:  # the last window is a full one
            filled = [b for b in beginnings if count - room <= b <= start]
            start = filled[0] if filled else start
    yield start, count


class _Embeddings(nn.Module):
    """Words, positions and the first segment, normalized: as BERT reads one text."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Embedding(shape.positions, shape.hidden)
        self.segments = nn.Embedding(2, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        summed = self.words(ids) + self.positions(places) + self.segments.weight[0]
        normalized: Tensor = self.norm(summed)
        return normalized


def _layers(shape: Shape, count: int) -> nn.ModuleList:
    """BERT's layers. Without dropout: one pass over the data does not overfit."""
    return nn.ModuleList(
        nn.TransformerEncoderLayer(
            shape.hidden,
            shape.heads,
            shape.intermediate,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=shape.epsilon,
            batch_first=True,
        )
        for _ in range(count)
    )


class FrozenLayers(nn.Module):
    """The frozen part: embeddings and lower layers of a text encoder."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = _Embeddings(shape)
        self.layers = _layers(shape, shape.lower)
        self.requires_grad_(False)

    def forward(self, ids: Tensor, padding: Tensor) -> Tensor:
        """States [n, tokens, hidden] of texts read by themselves; `padding` is True there."""
        states: Tensor = self.embeddings(ids)
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=padding)
        return states


class SpanHead(nn.Module):
    """The trained part: upper layers and the outputs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.segments = nn.Parameter(torch.zeros(2, shape.hidden))
        self.layers = _layers(shape, shape.upper)
        self.span = nn.Linear(shape.hidden, 2)
        self.passage = nn.Linear(shape.hidden, 1)

    def forward(
        self, question: Tensor, question_padding: Tensor, window: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of each pair of question and window, from the states of both.

        Returns start and end logits [n, tokens of the window], where the first token stands for
        "no answer in this window", and logits [n] that the window holds the answer.
        """
        states = torch.cat([question + self.segments[0], window + self.segments[1]], dim=1)
        ignored = torch.cat([question_padding, padding], dim=1)
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=ignored)
        read = states[:, question.shape[1] :]
        spans = self.span(read)
        return spans[..., 0], spans[..., 1], self.passage(read[:, 0]).squeeze(-1)


_PARTS = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def base_weights(folder: Path, shape: Shape) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of `FrozenLayers` and the first ones of `SpanHead`'s layers, from a BERT's folder."""
    from safetensors.torch import load_file

    given = {k.removeprefix("bert."): v for k, v in load_file(folder / "model.safetensors").items()}
    lower = {
        f"embeddings.{ours}": given[f"embeddings.{theirs}"].float()
        for ours, theirs in (
            ("words.weight", "word_embeddings.weight"),
            ("positions.weight", "position_embeddings.weight"),
            ("segments.weight", "token_type_embeddings.weight"),
            ("norm.weight", "LayerNorm.weight"),
            ("norm.bias", "LayerNorm.bias"),
        )
    }
    upper: dict[str, Tensor] = {}
    for number in range(shape.lower + shape.upper):
        target, at = (lower, number) if number < shape.lower else (upper, number - shape.lower)
        for name, value in _layer(given, f"encoder.layer.{number}.").items():
            target[f"layers.{at}.{name}"] = value.float()
    return lower, upper


def _layer(given: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """One layer's weights under the names of nn.TransformerEncoderLayer."""
    found = {}
    for kind in ("weight", "bias"):
        parts = [given[f"{prefix}attention.self.{p}.{kind}"] for p in ("query", "key", "value")]
        found[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        for theirs, ours in _PARTS.items():
            found[f"{ours}.{kind}"] = given[f"{prefix}{theirs}.{kind}"]
    return found


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids [n, longest] and where they are only padding."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    padding = torch.ones(len(rows), longest, dtype=torch.bool)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        padding[at, : len(row)] = False
    return ids, padding
