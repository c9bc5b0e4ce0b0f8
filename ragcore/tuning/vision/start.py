"""What a projector starts from, in closed form and a minute: words that the image suggests.

Its inner layer begins as detectors of the captions' most usual words (logistic regression on
the whole image's cell), its outer layer as those words' input embeddings, its straight part
as the ridge regression from the cell to the mean embedding of the captions' words. The
language model so reads, from the first step, embeddings near to those of fitting words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.datasets import words_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ragcore.llm.projector import Projector

RIDGE = 30.0  # of standardised features
DETECTOR_STEPS, DETECTOR_RATE, DETECTOR_SHRINK = 50, 3e-3, 0.06  # chosen on dev
SENSITIVITY = 1.5  # added to a detector's logit: a word of 20 % already counts
# Words that say nothing of what is seen.
_EMPTY = frozenset(
    words_of(
        "a an the and of in on at to is are with his her its their there it as by for from while "
        "that this be being has have one another other some into up out over through near behind "
        "front next off down around who which he she they him them very"
    )
)


def usual_words(captions: Sequence[Sequence[str]], count: int) -> list[str]:
    """The `count` words that most images' captions use (fewer if there are not so many)."""
    seen: Counter[str] = Counter()
    for several in captions:
        seen.update({w for c in several for w in words_of(c)} - _EMPTY)
    return [word for word, _ in sorted(seen.items(), key=lambda kv: (-kv[1], kv[0]))[:count]]


def start_projector(
    projector: Projector,
    cells: np.ndarray[Any, Any],
    captions: Sequence[Sequence[str]],
    embed: Callable[[str], torch.Tensor],
    typical: float,
) -> None:
    """Set the projector's weights from training cells [n, cells, channels], in place.

    `embed` gives a word's input embedding [width] and `typical` is the usual length of one.
    Draws on torch's random state where there are fewer words than inner units.
    """
    import torch

    whole = torch.from_numpy(cells[:, -1].astype("float32"))
    some = torch.from_numpy(cells[:2000].reshape(-1, cells.shape[-1]).astype("float32"))
    projector.mean.copy_(whole.mean(0))
    projector.scale.copy_(some.std(0).clamp_min(1e-3))
    x = (whole - projector.mean) / projector.scale
    words = usual_words(captions, projector.config.hidden)
    table = torch.stack([embed(word) for word in words]).float()
    number = {word: i for i, word in enumerate(words)}
    said = torch.zeros(len(captions), len(words))
    for row, several in enumerate(captions):
        for caption in several:
            for word in set(words_of(caption)) & number.keys():
                said[row, number[word]] += 1 / len(several)
    weight, bias = _detectors(x, (said > 0).float())
    with torch.no_grad():
        n = len(words)
        projector.inner.weight[:n].copy_(weight.T)
        projector.inner.bias[:n].copy_(bias + SENSITIVITY)
        projector.outer.weight.mul_(0.1)
        middle = table.mean(0)
        projector.outer.weight[:, :n].copy_((table - middle).T)
        target = said @ (table - middle) / said.sum(1, keepdim=True).clamp_min(1e-6)
        moment = x.T @ x + RIDGE * len(x) / x.shape[1] * torch.eye(x.shape[1])
        straight = torch.linalg.solve(moment, x.T @ (target - target.mean(0)))
        projector.straight.weight.copy_(straight.T)
        projector.straight.bias.copy_(target.mean(0))
        # lengths as the language model knows them: on average that of a word
        projector.place.zero_()
        grown = (typical / projector(whole[:256, None]).norm(dim=-1)).median()
        for part in (projector.outer.weight, projector.straight.weight, projector.straight.bias):
            part.mul_(grown)
        projector.straight.bias.add_(middle)


def _detectors(x: torch.Tensor, said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression, all words at once: weights [channels, words] and biases [words]."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    share = said.mean(0).clamp(1e-4, 1 - 1e-4)
    weight = torch.zeros(x.shape[1], said.shape[1], requires_grad=True)
    bias = torch.log(share / (1 - share)).requires_grad_()
    optimizer = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": DETECTOR_SHRINK / DETECTOR_RATE},
         {"params": [bias], "weight_decay": 0.0}],
        lr=DETECTOR_RATE,
    )  # fmt: skip
    for _ in range(DETECTOR_STEPS):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(x @ weight + bias, said)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return weight.detach(), bias.detach()
