"""Losses against open_clip's own, and gradient caching against one plain backward pass."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from ragcore.tuning.clip.losses import cached_gradients, clip_loss, siglip_loss  # noqa: E402


def unit(seed: int, rows: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, 8, generator=generator), dim=-1)


def test_losses_agree_with_open_clip() -> None:
    from open_clip.loss import ClipLoss, SigLipLoss

    images, texts = unit(0), unit(1)
    scale, bias = torch.tensor(7.0), torch.tensor(-3.0)
    theirs = ClipLoss()(images, texts, scale)
    torch.testing.assert_close(clip_loss(images, texts, scale), theirs)
    theirs = SigLipLoss()(images, texts, scale, bias)
    torch.testing.assert_close(siglip_loss(images, texts, scale, bias), theirs)


def test_cached_gradients_equal_those_of_the_whole_batch() -> None:
    data = unit(2)
    one, two = (torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh()) for _ in range(2))
    weights = [*one.parameters(), *two.parameters()]
    scale = torch.tensor(5.0, requires_grad=True)

    def loss_of(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return clip_loss(images, texts, scale)

    loss_of(one(data), two(data)).backward()
    expected = [w.grad.clone() for w in weights] + [scale.grad.clone()]
    for weight in [*weights, scale]:
        weight.grad = None
    encoders = [lambda i: one(data[4 * i : 4 * i + 4]), lambda i: two(data[4 * i : 4 * i + 4])]
    cached_gradients(encoders, 3, loss_of)
    for weight, wanted in zip([*weights, scale], expected, strict=True):
        torch.testing.assert_close(weight.grad, wanted)


def test_cached_gradients_replay_dropout() -> None:
    data, layer = unit(3), torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5))
    seen: list[torch.Tensor] = []

    def encode(part: int) -> torch.Tensor:
        seen.append(layer(data[6 * part : 6 * part + 6]))
        return seen[-1]

    cached_gradients([encode], 2, lambda vectors: vectors.square().sum())
    torch.testing.assert_close(seen[0], seen[2])
    torch.testing.assert_close(seen[1], seen[3])
