"""A noise-aware classifier of latents (Dhariwal and Nichol 2021). Imports torch and diffusers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from ragcore.diffusion.networks import load_network
from ragcore.errors import UsageError

CLASSIFIER = "classifier"


class NoisyClassifier(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """log p(class | noisy latent, timestep) over the leaves of a two-level tree of classes.

    A group's probability is the sum of its leaves', so that one network knows "fruit" and
    "food & drink". `groups` gives the group of each leaf.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        leaves: list[str],
        groups: list[str],
        latent_channels: int = 16,
        channels: tuple[int, ...] = (96, 160),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        width, norm_groups = 4 * channels[0], math.gcd(16, *channels)
        self.time = Timesteps(channels[0], True, 0)
        self.time_embedding = TimestepEmbedding(channels[0], width)
        self.conv_in = nn.Conv2d(latent_channels, channels[0], 3, padding=1)
        blocks: list[Any] = []
        for before, after in zip((channels[0], *channels), channels, strict=False):
            if blocks:
                blocks.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
            for first in (before, after):
                blocks.append(
                    ResnetBlock2D(
                        in_channels=first,
                        out_channels=after,
                        temb_channels=width,
                        groups=norm_groups,
                        dropout=dropout,
                    )
                )
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(norm_groups, channels[-1])
        self.head = nn.Linear(channels[-1], len(leaves))

    def forward(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        """Logits [n, leaves] of noisy latents [n, c, h, w] at timesteps [n]."""
        embedded = self.time_embedding(self.time(timesteps).to(latents.dtype))
        hidden = self.conv_in(latents)
        for block in self.blocks:
            is_block = isinstance(block, ResnetBlock2D)
            hidden = block(hidden, embedded) if is_block else block(hidden)
        pooled = torch.nn.functional.silu(self.norm(hidden)).mean(dim=(2, 3))
        logits: Tensor = self.head(pooled)
        return logits

    @property
    def class_names(self) -> list[str]:
        """Every name that `class_rows` takes: groups, then leaves."""
        return [*dict.fromkeys(self.config.groups), *self.config.leaves]

    def class_rows(self, name: str) -> list[int]:
        """Leaves of a class or group. Raises UsageError for an unknown name."""
        wanted = " ".join(name.lower().split())
        for names in (self.config.leaves, self.config.groups):
            rows = [row for row, known in enumerate(names) if known.lower() == wanted]
            if rows:
                return rows
        raise UsageError(f"unknown class {name!r}: use one of {', '.join(self.class_names)}")


def leaves_of(
    described: Sequence[tuple[str, str]], smallest: int
) -> tuple[list[str], list[str], list[int]]:
    """(leaves, group of each leaf, leaf of each row) of rows of (group, subgroup).

    A subgroup with fewer than `smallest` rows goes into its group's "other GROUP".
    """
    counts: dict[tuple[str, str], int] = {}
    for pair in described:
        counts[pair] = counts.get(pair, 0) + 1
    named = [
        (group, sub if sub and counts[group, sub] >= smallest else f"other {group}")
        for group, sub in described
    ]
    tree = sorted(set(named))
    number = {pair: row for row, pair in enumerate(tree)}
    return [leaf for _, leaf in tree], [group for group, _ in tree], [number[p] for p in named]


def load_classifier(model: Path, device: str = "cpu") -> NoisyClassifier:
    """Raises ModelUnavailable if the model folder has none that can be loaded."""
    network: NoisyClassifier = load_network(NoisyClassifier, model / CLASSIFIER)
    network.to(device).eval().requires_grad_(False)
    return network
