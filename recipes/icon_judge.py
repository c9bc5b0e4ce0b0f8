"""An independent judge of icons: features of an ImageNet network, and what is solved over them.

Nothing of the image maker goes into it: EfficientNet-Lite0 as its package has it, linear
discriminants over real icons by name, and a logistic regression over real icons by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.settings import Settings

    Pixels = NDArray[np.uint8]
    Features = NDArray[np.float32]

_SIDE, _BATCH = 96, 64  # icons have 64 pixels: a larger image would hold no more
_SHRINK = 0.3  # of the within-name covariance towards its mean variance
_FRECHET_AXES = 64


class FeatureMaker:
    """Pooled features [n, 1280] of images by EfficientNet-Lite0 (timm)."""

    def __init__(self, settings: Settings) -> None:
        import timm
        from safetensors.torch import load_file

        from ragcore.weights import WeightStore

        folder = WeightStore(settings).ensure("efficientnet-lite0")
        network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        network.load_state_dict(load_file(folder / "model.safetensors"))
        network.reset_classifier(0)
        self._network = network.eval().requires_grad_(False)

    def __call__(self, pixels: Pixels) -> Features:
        """Of RGB uint8 [n, h, w, 3]."""
        import numpy as np
        import torch
        from torch.nn import functional

        parts = []
        with torch.inference_mode():
            for start in range(0, len(pixels), _BATCH):
                batch = torch.from_numpy(pixels[start : start + _BATCH]).permute(0, 3, 1, 2)
                scaled = functional.interpolate(
                    batch.float() / 127.5 - 1, size=(_SIDE, _SIDE), mode="bilinear"
                )
                parts.append(self._network(scaled).numpy())
        features: Features = np.concatenate(parts).astype(np.float32)
        return features


class NameJudge:
    """Which of many names an icon shows: nearest class mean among linear discriminants.

    The same name in other styles shows which directions mean nothing; they are divided out
    (Fisher's discriminants with a shrunken within-class covariance).
    """

    def __init__(self, features: Features, names: Sequence[str]) -> None:
        import numpy as np

        self.names = sorted(set(names))
        number = {name: row for row, name in enumerate(self.names)}
        rows = np.array([number[name] for name in names])
        counts = np.bincount(rows)[:, None]
        means = np.zeros((len(self.names), features.shape[1]))
        np.add.at(means, rows, features)
        means /= counts
        inner = features - means[rows]
        covariance = inner.T @ inner / len(features)
        shrunken = (1 - _SHRINK) * covariance + _SHRINK * np.eye(len(covariance)) * np.trace(
            covariance
        ) / len(covariance)
        values, vectors = np.linalg.eigh(shrunken)
        self._whiten = vectors / np.sqrt(values)
        self._middle = means.mean(axis=0)
        self._means = self._unit(means)

    def ranks(
        self, features: Features, wanted: Sequence[str], among: Sequence[str]
    ) -> NDArray[np.int64]:
        """Place of each wanted name, from 1, among `among`, which holds all that are wanted."""
        import numpy as np

        number = {name: row for row, name in enumerate(self.names)}
        columns = {name: place for place, name in enumerate(among)}
        scores = self._unit(features) @ self._means[[number[name] for name in among]].T
        own = scores[np.arange(len(wanted)), [columns[name] for name in wanted]]
        ranks: NDArray[np.int64] = 1 + (scores > own[:, None]).sum(axis=1)
        return ranks

    def _unit(self, features: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        turned: NDArray[Any] = (features - self._middle) @ self._whiten
        unit: NDArray[Any] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        return unit


class ClassJudge:
    """Which class an icon belongs to: logistic regression over standardised features."""

    def __init__(self, features: Features, classes: Sequence[str]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        self._model.fit(features, list(classes))

    def accuracy(self, features: Features, wanted: Sequence[str]) -> float:
        """Part of the images that are taken for what is wanted."""
        return float(self._model.score(features, list(wanted)))


def frechet(real: Features, made: Features) -> float:
    """Fréchet distance of two Gaussians over the main axes of the real features.

    The measure of FID (Heusel et al. 2017, arXiv:1706.08500) in this judge's features, on so
    few axes that some hundred images fill the covariance: compare it only with itself.
    """
    import numpy as np
    from scipy.linalg import sqrtm

    middle = real.mean(axis=0)
    axes = np.linalg.svd(real - middle, full_matrices=False)[2][:_FRECHET_AXES].T
    one, two = (real - middle) @ axes, (made - middle) @ axes
    gap = one.mean(axis=0) - two.mean(axis=0)
    first, second = np.cov(one.T), np.cov(two.T)
    root = np.real(sqrtm(first @ second))
    return float(gap @ gap + np.trace(first + second - 2 * root))


def diversity(features: Features) -> float:
    """Mean cosine distance between all pairs."""
    import numpy as np

    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    count = len(unit)
    return float(1 - (np.square(unit.sum(axis=0)).sum() - count) / (count * (count - 1)))
