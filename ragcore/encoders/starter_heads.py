"""The two heads of starter-clip: what its towers see and read, into one space of three parts.

- learned: several small heads trained on captions, side by side (an ensemble), then turned onto
  fewer dimensions;
- classes: which of ImageNet's 1,000 classes an image shows, and which of them a text means;
- semantic: a linear map from features to word vectors (Romera-Paredes and Torr 2015, "An
  Embarrassingly Simple Approach to Zero-Shot Learning").

Each part is a unit vector, so that a text says by its own weights how much each one counts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from ragcore.encoders.starter_space import (
    CLASSES,
    LEARNED,
    MEMBERS,
    NAME_SHARPNESS,
    SEMANTIC,
    SEMANTIC_LENGTH,
)

FEATURES, WORDS = 1280, 384  # what the towers give
HIDDEN, WIDTH = 1024, 512  # of the learned part

# A class counts from this logit on (chance is about 0, a sure class 8 and more), and softly
# below it; a share goes to the classes that win outright.
LOGIT_THRESHOLD, LOGIT_SLOPE = 2.5, 1.0
SOFTMAX_SHARE = 0.3


class Heads(nn.Module):
    """Common to both: members side by side, and the turn onto fewer dimensions.

    While `apart` is set (in training), only the members' outputs [n, MEMBERS * WIDTH] are
    given, each member a unit vector.
    """

    mix: Tensor

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.apart = False
        self.register_buffer("mix", torch.zeros(len(members) * WIDTH, LEARNED))

    def side_by_side(self, features: Tensor) -> Tensor:
        """The members' unit vectors [n, MEMBERS * WIDTH]."""
        return torch.cat([normalize(member(features), dim=-1) for member in self.members], dim=-1)

    def learned(self, features: Tensor) -> Tensor:
        return normalize(self.side_by_side(features) @ self.mix, dim=-1)


class ImageHead(Heads):
    """Features of the image tower [n, 1280] to vectors [n, DIMENSION]."""

    class_weight: Tensor
    class_bias: Tensor
    usual: Tensor
    semantic_weight: Tensor
    semantic_bias: Tensor

    def __init__(self) -> None:
        super().__init__(
            [
                nn.Sequential(
                    nn.Linear(FEATURES, HIDDEN),
                    nn.GELU(),
                    nn.Dropout(0.0),
                    nn.Linear(HIDDEN, WIDTH, bias=False),
                )
                for _ in range(MEMBERS)
            ]
        )
        self.register_buffer("class_weight", torch.zeros(CLASSES, FEATURES))
        self.register_buffer("class_bias", torch.zeros(CLASSES))
        self.register_buffer("usual", torch.zeros(CLASSES))
        self.register_buffer("semantic_weight", torch.zeros(SEMANTIC, FEATURES))
        self.register_buffer("semantic_bias", torch.zeros(SEMANTIC))

    def activations(self, features: Tensor) -> Tensor:
        """How much each class is seen [n, 1000], not yet compared with what is usual."""
        logits = features @ self.class_weight.T + self.class_bias
        soft = normalize(softplus(LOGIT_SLOPE * (logits - LOGIT_THRESHOLD)), dim=-1)
        sharp = normalize(logits.softmax(-1), dim=-1)
        return (1 - SOFTMAX_SHARE) * soft + SOFTMAX_SHARE * sharp

    def forward(self, features: Tensor) -> Tensor:
        if self.apart:
            return self.side_by_side(features)
        seen = normalize(self.activations(features) - self.usual, dim=-1)
        meant = normalize(features @ self.semantic_weight.T + self.semantic_bias, dim=-1)
        return torch.cat([self.learned(features), seen, SEMANTIC_LENGTH * meant], dim=-1)


class TextHead(Heads):
    """Pooled outputs of the text tower [n, 384] to vectors [n, DIMENSION]."""

    middle: Tensor
    names: Tensor
    groups: Tensor
    semantic_weight: Tensor

    def __init__(self, groups: int) -> None:
        """`groups` is the number of names that stand for several classes."""
        super().__init__([nn.Linear(WORDS, WIDTH, bias=False) for _ in range(MEMBERS)])
        self.register_buffer("middle", torch.zeros(WORDS))
        self.register_buffer("names", torch.zeros(CLASSES + groups, WORDS))
        self.register_buffer("groups", torch.zeros(groups, CLASSES))
        self.register_buffer("semantic_weight", torch.zeros(WORDS, SEMANTIC))

    def forward(self, pooled: Tensor) -> Tensor:
        direction = normalize(pooled, dim=-1)
        if self.apart:
            return self.side_by_side(direction)
        said = normalize(direction - self.middle, dim=-1)
        near = (NAME_SHARPNESS * said @ self.names.T).softmax(-1)
        classes = normalize(near[..., :CLASSES] + near[..., CLASSES:] @ self.groups, dim=-1)
        meant = normalize(said @ self.semantic_weight, dim=-1)
        return torch.cat([self.learned(direction), classes, SEMANTIC_LENGTH * meant], dim=-1)


def turn_together(
    image_head: ImageHead, text_head: TextHead, images: Tensor, texts: Tensor
) -> None:
    """Choose the LEARNED dimensions of both heads, in place.

    They are the main axes of the members' outputs for `images` and `texts` together
    ([n, MEMBERS * WIDTH] each): a rotation keeps all cosines, and leaving out axes without
    weight nearly so.
    """
    covariance = images.T @ images / len(images) + texts.T @ texts / len(texts)
    axes = torch.linalg.eigh(covariance.double())[1].flip(1)[:, :LEARNED].float()
    for head in (image_head, text_head):
        head.mix.copy_(axes)


def center(image_head: ImageHead, features: Tensor, *, share: float = 0.7) -> None:
    """Take what is usual in images from their features [n, 1280], in place.

    `share` of the mean features is taken off before the semantic map.
    """
    image_head.usual.copy_(image_head.activations(features).mean(0))
    weight = image_head.semantic_weight
    image_head.semantic_bias.copy_(-share * (features.mean(0) @ weight.T))
