"""Many questions for the price of one prompt.

Questions about the same documents share everything up to the end of the last document. A pack
is that prefix once, followed by one branch (question and answer) a question. A branch attends
to the prefix and to itself only, and its positions go on from the prefix's end, so each branch
gets exactly the logits that it would get as a prompt of its own; the attention is the one of
tree decoding (Cai et al. 2024, Medusa, section 2.1.2).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.answers.prompt import Source, assemble
from ragcore.errors import UsageError
from ragcore.types import Message

if TYPE_CHECKING:
    import torch

IGNORED = -100  # label that cross_entropy leaves out


@dataclass(frozen=True, slots=True)
class Example:
    """One training question: `answer` is what the model is to say, citation marks included."""

    question: str
    sources: tuple[Source, ...]
    answer: str
    answers: tuple[str, ...] = ()  # accepted short forms, for scoring; empty: unanswerable
    gold: tuple[int, ...] = ()  # numbers of the documents that hold the answer, from 1


@dataclass(frozen=True, slots=True)
class Pack:
    """Token ids of one prefix and its branches; `answers[i]` ends branch i."""

    prefix: tuple[int, ...]
    questions: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        return len(self.prefix) + sum(map(len, self.questions)) + sum(map(len, self.answers))


def open_text(path: Path) -> Iterator[str]:
    """Lines of a text file, gzipped or not. Raises UsageError when it cannot be read."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as lines
        ):
            yield from lines
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def read_examples(path: Path) -> list[Example]:
    """Read a training file: one JSON object a line with question, passages, answer.

    A passage is {"text", "title"?, "page"?}; optional `answers` and `citations` serve scoring.
    Raises UsageError with the line number of the first line that does not fit.
    """
    examples = []
    for number, line in enumerate(open_text(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            sources = tuple(
                Source(p["text"], p.get("title") or "", p.get("page")) for p in row["passages"]
            )
            examples.append(
                Example(
                    row["question"],
                    sources,
                    row["answer"],
                    tuple(row.get("answers", ())),
                    tuple(row.get("citations", ())),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path}, line {number}: needs question, passages and answer ({error})"
            ) from error
    if not examples:
        raise UsageError(f"{path} holds no examples")
    return examples


def split_prompt(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, str]:
    """The rendered prompt cut where the question begins: (shared prefix, branch)."""
    text: str = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=False,
        add_generation_prompt=True,
    )
    cut = text.rindex("\n\nQuestion: ")
    return text[:cut], text[cut:]


def grouped(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Neighbours with the same documents in the same order."""
    for _, group in groupby(examples, key=lambda e: e.sources):
        yield list(group)


def make_packs(
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    max_tokens: int,
    shared: bool = True,
) -> list[Pack]:
    """Tokenise examples into packs of at most `max_tokens` tokens.

    A group that is too long is cut into several packs; a prompt too long by itself is left out.
    `shared=False` gives every example a pack of its own.
    """
    end = tokenizer.eos_token

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    packs: list[Pack] = []
    for group in grouped(examples) if shared else ([e] for e in examples):
        prefix: tuple[int, ...] = ()
        questions: list[tuple[int, ...]] = []
        answers: list[tuple[int, ...]] = []
        used = 0
        for example in group:
            head, tail = split_prompt(tokenizer, assemble(example.question, example.sources))
            prefix = prefix or ids(head)
            question, answer = ids(tail), ids(example.answer + end)
            size = len(question) + len(answer)
            if len(prefix) + size > max_tokens:
                continue
            if len(prefix) + used + size > max_tokens:
                packs.append(Pack(prefix, tuple(questions), tuple(answers)))
                questions, answers, used = [], [], 0
            questions.append(question)
            answers.append(answer)
            used += size
        if questions:
            packs.append(Pack(prefix, tuple(questions), tuple(answers)))
    return packs


@dataclass(slots=True)
class PackTensors:
    """A pack as the model takes it: [1, T] ids and positions, [1, 1, T, T] additive mask.

    `keep` are the positions whose next token is learnt, `targets` those tokens: the output
    layer, a fifth of a small model's work, runs on these alone.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor
    keep: torch.Tensor
    targets: torch.Tensor
    prefix_length: int


def to_tensors(pack: Pack, *, device: Any = "cpu", dtype: Any = None) -> PackTensors:
    """Lay a pack out as one sequence with restarted positions and a tree-shaped mask."""
    import torch

    ids, positions, branch = (
        list(pack.prefix),
        list(range(len(pack.prefix))),
        [0] * len(pack.prefix),
    )
    keep: list[int] = []
    targets: list[int] = []
    for number, (question, answer) in enumerate(zip(pack.questions, pack.answers, strict=True), 1):
        first = len(ids) + len(question) - 1  # the position that predicts the answer's first token
        keep += range(first, first + len(answer))
        targets += answer
        length = len(question) + len(answer)
        ids += (*question, *answer)
        positions += range(len(pack.prefix), len(pack.prefix) + length)
        branch += [number] * length
    owner = torch.tensor(branch)
    order = torch.arange(len(ids))
    seen = (order[:, None] >= order) & ((owner == owner[:, None]) | (owner == 0))
    dtype = dtype or torch.float32
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    return PackTensors(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        mask[None, None].to(device),
        torch.tensor(keep, device=device),
        torch.tensor(targets, device=device),
        len(pack.prefix),
    )


ATTENTION = "ragcore_shared_prefix"


def register_attention() -> str:
    """Teach transformers the pack's attention; returns its name.

    The prefix is plain causal attention (no mask, half the work); only the branches need the
    mask. Same result as dense attention under the whole mask, in about two thirds of its work.
    """
    from torch.nn import functional
    from transformers import AttentionInterface

    def attend(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        prefix_length: int = 0,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        import torch

        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        p = prefix_length
        if attention_mask is None:
            p = query.shape[2]
        parts = []
        if p:
            parts.append(
                functional.scaled_dot_product_attention(
                    query[:, :, :p],
                    key[:, :, :p],
                    value[:, :, :p],
                    dropout_p=dropout,
                    is_causal=True,
                    scale=scaling,
                )
            )
        if p < query.shape[2]:
            assert attention_mask is not None
            parts.append(
                functional.scaled_dot_product_attention(
                    query[:, :, p:],
                    key,
                    value,
                    attn_mask=attention_mask[:, :, p:],
                    dropout_p=dropout,
                    scale=scaling,
                )
            )
        return torch.cat(parts, 2).transpose(1, 2).contiguous(), None

    AttentionInterface.register(ATTENTION, attend)
    return ATTENTION
