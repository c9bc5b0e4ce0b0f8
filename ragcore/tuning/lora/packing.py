"""Many questions for the price of one prompt.

Questions about the same documents share everything up to the end of the last document. A pack
is that prefix once, followed by one branch (question and answer) a question. A branch attends
to the prefix and to itself only, and its positions go on from the prefix's end, so each branch
gets exactly the logits that it would get as a prompt of its own; the attention is the one of
tree decoding (Cai et al. 2024, Medusa, section 2.1.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.answers import PromptDocument, assemble
from ragcore.datasets import open_text
from ragcore.errors import UsageError
from ragcore.types import Message

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class GroundedExample:
    """One training question: `answer` is what the model is to say, citation marks included."""

    question: str
    sources: tuple[PromptDocument, ...]
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


def read_examples(path: Path) -> list[GroundedExample]:
    """Read a training file: one JSON object a line with question, passages, answer.

    A passage is {"text", "title"?, "page"?}; optional `answers` and `citations` serve scoring.
    In place of `question` and `answer`, `questions` may hold several such objects about the
    same passages. Raises UsageError with the line number of the first line that does not fit.
    """
    examples = []
    for number, line in enumerate(open_text(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            sources = tuple(
                PromptDocument(p["text"], p.get("title") or "", p.get("page"))
                for p in row["passages"]
            )
            examples += [_example(asked, sources) for asked in row.get("questions", [row])]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path}, line {number}: needs question, passages and answer ({error})"
            ) from error
    if not examples:
        raise UsageError(f"{path} holds no examples")
    return examples


def _example(row: dict[str, Any], sources: tuple[PromptDocument, ...]) -> GroundedExample:
    return GroundedExample(
        row["question"],
        sources,
        row["answer"],
        tuple(row.get("answers", ())),
        tuple(row.get("citations", ())),
    )


def split_prompt(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, str]:
    """The rendered prompt cut where the question begins: (shared prefix, branch)."""
    text: str = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=False,
        add_generation_prompt=True,
    )
    cut = text.rindex("\n\nQuestion: ")
    return text[:cut], text[cut:]


def end_of_turn(tokenizer: Any) -> str:
    """What the chat template writes at the end of an answer: the token that stops generation.

    Not always `eos_token`: tokenizers converted from other formats may name another one.
    """
    said = "an answer"
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a question"}, {"role": "assistant", "content": said}],
        tokenize=False,
    )
    after = text[text.rindex(said) + len(said) :].strip()
    special: Iterator[str] = (t for t in tokenizer.all_special_tokens if after.startswith(t))
    return max(special, key=len, default=str(tokenizer.eos_token))


def grouped(examples: Iterable[GroundedExample]) -> Iterator[list[GroundedExample]]:
    """Neighbours with the same documents in the same order."""
    for _, group in groupby(examples, key=lambda e: e.sources):
        yield list(group)


def make_packs(
    tokenizer: Any,
    examples: Sequence[GroundedExample],
    *,
    max_tokens: int,
    shared: bool = True,
) -> list[Pack]:
    """Tokenise examples into packs of at most `max_tokens` tokens.

    A group that is too long is cut into several packs; a prompt too long by itself is left out.
    `shared=False` gives every example a pack of its own.
    """
    end = end_of_turn(tokenizer)

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


@dataclass(frozen=True, slots=True)
class _Row:
    """A pack as one line of tokens.

    `owner` is 0 in the prefix and n in its n-th branch; `keep` are the places that predict an
    answer's token, `targets` those tokens.
    """

    ids: list[int]
    positions: list[int]
    owner: list[int]
    keep: list[int]
    targets: list[int]


def _laid_out(pack: Pack) -> _Row:
    """Prefix and branches behind each other; every branch's positions go on from the prefix."""
    prefix = len(pack.prefix)
    row = _Row(list(pack.prefix), list(range(prefix)), [0] * prefix, [], [])
    branches = zip(pack.questions, pack.answers, strict=True)
    for number, (question, answer) in enumerate(branches, 1):
        first = len(row.ids) + len(question) - 1  # predicts the answer's first token
        row.keep.extend(range(first, first + len(answer)))
        row.targets.extend(answer)
        length = len(question) + len(answer)
        row.ids.extend((*question, *answer))
        row.positions.extend(range(prefix, prefix + length))
        row.owner.extend([number] * length)
    return row


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a pack lies in a row of several.

    [start, start + prefix) is its prefix, its branches follow up to `end`; `mask` [1, 1, end -
    start - prefix, end - start] is theirs, additive.
    """

    start: int
    prefix: int
    end: int
    mask: torch.Tensor


@dataclass(slots=True)
class PackTensors:
    """Packs as the model takes them: [1, T] ids and positions, one segment for each pack.

    `keep` are the positions whose next token is learnt, `targets` those tokens: the output
    layer, a fifth of a small model's work, runs on these alone.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segments: tuple[Segment, ...]
    keep: torch.Tensor
    targets: torch.Tensor

    def inputs(self) -> dict[str, Any]:
        """Arguments of a causal model whose attention is `register_attention`'s."""
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "logits_to_keep": self.keep,
            "use_cache": False,
            "segments": self.segments,
        }


def to_tensors(packs: Sequence[Pack], *, device: Any = "cpu", dtype: Any = None) -> PackTensors:
    """Lay packs out as one sequence with restarted positions; no pack sees another."""
    import torch

    rows = [_laid_out(pack) for pack in packs]
    starts = list(accumulate((len(row.ids) for row in rows), initial=0))
    segments = []
    for start, row in zip(starts, rows, strict=False):
        prefix = row.owner.count(0)
        mask = _branch_mask(row.owner[prefix:], prefix, dtype or torch.float32).to(device)
        segments.append(Segment(start, prefix, start + len(row.ids), mask))
    ids = [i for row in rows for i in row.ids]
    positions = [place for row in rows for place in row.positions]
    keep = [start + at for start, row in zip(starts, rows, strict=False) for at in row.keep]
    targets = [token for row in rows for token in row.targets]
    return PackTensors(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        tuple(segments),
        torch.tensor(keep, device=device),
        torch.tensor(targets, device=device),
    )


@dataclass(slots=True)
class PackBatch:
    """Packs padded to one length: [n, T] ids and positions, [n, 1, T, T] additive mask.

    `keep` are places in the flattened [n * T] whose next token is learnt, `targets` those tokens.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor
    keep: torch.Tensor
    targets: torch.Tensor

    def inputs(self) -> dict[str, Any]:
        """Arguments of a causal model's decoder."""
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "attention_mask": self.mask,
            "use_cache": False,
        }


def to_batch(packs: Sequence[Pack], device: Any, dtype: Any) -> PackBatch:
    """Lay packs out as rows: on a GPU one large call is quicker than many without padding."""
    import torch

    width = -(-max(pack.tokens for pack in packs) // 8) * 8
    rows = [_laid_out(pack) for pack in packs]
    rest = [width - len(row.ids) for row in rows]
    ids = [row.ids + [0] * pad for row, pad in zip(rows, rest, strict=True)]
    positions = [row.positions + [0] * pad for row, pad in zip(rows, rest, strict=True)]
    owner = [row.owner + [-1] * pad for row, pad in zip(rows, rest, strict=True)]
    keep = [number * width + at for number, row in enumerate(rows) for at in row.keep]
    targets = [token for row in rows for token in row.targets]
    own = torch.tensor(owner, device=device)
    order = torch.arange(width, device=device)
    seen = (order[:, None] >= order) & (
        (own[:, :, None] == own[:, None, :]) | (own[:, None, :] == 0)
    )
    mask = torch.zeros(seen.shape, dtype=dtype, device=device)
    mask.masked_fill_(~seen, torch.finfo(dtype).min)
    return PackBatch(
        torch.tensor(ids, device=device),
        torch.tensor(positions, device=device),
        mask[:, None],
        torch.tensor(keep, device=device),
        torch.tensor(targets, device=device),
    )


def _branch_mask(owner: Sequence[int], prefix: int, dtype: Any) -> torch.Tensor:
    """Additive [1, 1, b, prefix + b]: a branch sees the prefix and itself up to its own place."""
    import torch

    branch = torch.tensor(owner)
    order = torch.arange(len(owner))
    own = (order[:, None] >= order) & (branch[:, None] == branch)
    seen = torch.cat([torch.ones(len(owner), prefix, dtype=torch.bool), own], 1)
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    return mask[None, None]


ATTENTION = "ragcore_shared_prefix"


def register_attention() -> str:
    """Register the packs' attention with transformers; returns its name.

    A prefix is plain causal attention (no mask, half the work); only its branches need a mask.
    Same result as dense attention under the whole mask, in about two thirds of its work.
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
        segments: Sequence[Segment] = (),
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        import torch

        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        how: dict[str, Any] = {"dropout_p": dropout, "scale": scaling}
        parts = []
        for s in segments:
            split = s.start + s.prefix
            before, own = slice(s.start, split), slice(s.start, s.end)
            parts.append(
                functional.scaled_dot_product_attention(
                    query[:, :, before], key[:, :, before], value[:, :, before],
                    is_causal=True, **how,
                )
            )  # fmt: skip
            if split < s.end:
                parts.append(
                    functional.scaled_dot_product_attention(
                        query[:, :, split : s.end], key[:, :, own], value[:, :, own],
                        attn_mask=s.mask, **how,
                    )
                )  # fmt: skip
        return torch.cat(parts, 2).transpose(1, 2).contiguous(), None

    AttentionInterface.register(ATTENTION, attend)
    return ATTENTION
