"""Contrastive losses over matching rows of image and text vectors, and gradient caching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[[int], "Tensor"]


def clip_loss(images: Tensor, texts: Tensor, scale: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Symmetric cross-entropy over all pairs of the batch.

    `images` and `texts` are unit vectors [n, d] whose rows match; `scale` is the inverse
    temperature. Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
    Supervision", figure 3.
    """
    import torch
    from torch.nn import functional

    logits = scale * images @ texts.T
    target = torch.arange(len(images), device=images.device)
    rows = functional.cross_entropy(logits, target, label_smoothing=smoothing)
    columns = functional.cross_entropy(logits.T, target, label_smoothing=smoothing)
    return (rows + columns) / 2


def siglip_loss(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """A sigmoid for each pair on its own, summed over the batch, mean over its images.

    Shapes as for `clip_loss`. Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training",
    algorithm 1.
    """
    import torch
    from torch.nn import functional

    logits = scale * images @ texts.T + bias
    sign = 2 * torch.eye(len(images), device=images.device) - 1
    return -functional.logsigmoid(sign * logits).sum() / len(images)


def cached_gradients(
    encoders: Sequence[Encode],
    parts: int,
    loss_of: Callable[..., Tensor],
    *,
    scaler: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Tensor:
    """One backward pass of a large batch in the memory of a small one (GradCache).

    Each encoder maps a part's number (0 … parts - 1) to its vectors [m, d]. All parts are
    encoded without a graph; `loss_of(*all_vectors)` is differentiated with respect to the
    vectors alone; then each part is encoded again and their gradients flow into the weights.
    Random state is replayed, so dropout is the same both times. Returns the loss, detached.
    Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
    """
    import torch

    states: list[list[Tensor]] = []
    vectors: list[list[Tensor]] = []
    with torch.no_grad():
        for encode in encoders:
            states.append([])
            vectors.append([])
            for part in range(parts):
                states[-1].append(torch.get_rng_state())
                vectors[-1].append(encode(part))
    leaves = [torch.cat(chunk).detach().requires_grad_() for chunk in vectors]
    loss = loss_of(*leaves)
    scaler(loss).backward()  # type: ignore[no-untyped-call]
    after = torch.get_rng_state()
    for encode, saved, chunks, leaf in zip(encoders, states, vectors, leaves, strict=True):
        assert leaf.grad is not None
        sizes = [len(chunk) for chunk in chunks]
        gradients = torch.split(leaf.grad, sizes)
        for part, gradient in enumerate(gradients):
            torch.set_rng_state(saved[part])
            encode(part).backward(gradient)  # type: ignore[no-untyped-call]
    torch.set_rng_state(after)
    return loss.detach()
