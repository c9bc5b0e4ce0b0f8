"""Which attributes are linear in an image's latent: probes from latents to attributes.

    python -m recipes.icon_probes DIR --save FOLDER

A probe is a linear model fitted on some icons and tested on others (Alain and Bengio 2016,
arXiv:1610.01644). Beside each stand the same probe on raw pixels, and one fitted on shuffled
labels, which must fail.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets.icons import read_icons
from ragcore.diffusion.latents import PROBES, Probe, save_probes
from ragcore.diffusion.latents import encode as encode_pixels
from ragcore.diffusion.model import LatentModel
from ragcore.errors import UsageError
from ragcore.types import Progress, ProgressCallback
from recipes.console import one_line_errors, print_json
from recipes.icon_scenes import Scenes, make_scenes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.models import Models

    Table = NDArray[np.float32]

_TEST = 0.25  # of the icons; all scenes of an icon, in every style, are on one side
_ICONS = 3  # at least, to fit and to test on
_ALPHAS = tuple(10.0**power for power in range(-1, 6))
_FLAT = 1e-2  # a number that varies less than this share of the liveliest is not blown up
_AXES = 512  # principal axes of raw pixels: more of them does not help, and takes long


def evaluate_probe(
    folder: Path,
    *,
    models: Models,
    model: LatentModel | None = None,
    count: int = 4000,
    seed: int = 0,
    save: Path | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """R² (numbers) and accuracy (classes) on icons not fitted on, by attribute and representation.

    `folder` holds icons in the layout of `ragcore tune diffusion`. With `save` the probes of the
    latents are written there for Studio. Raises UsageError for too few icons, or an image maker
    without an autoencoder of ours.
    """
    report = progress or (lambda _: None)
    model = model or _model_of(models)
    known = model.card.data or {}
    icons = read_icons(folder, known.get("styles", ()), leave_out=known.get("leave_out", ()))
    report(Progress("scenes", 0, 1))
    scenes = make_scenes(icons, count, seed=seed)
    test = _held_out(scenes.concepts)
    sides = [
        {c for c, t in zip(scenes.concepts, test, strict=True) if t == side} for side in (0, 1)
    ]
    if min(map(len, sides)) < _ICONS:
        raise UsageError(f"{len(set(scenes.concepts))} icons are too few to fit and to test on")
    encoders: dict[str, Callable[[], Table]] = {
        "latents": lambda: encode_pixels(model, scenes.pixels),
        "image_encoder": lambda: _embeddings(scenes, models),
        "pixels": lambda: _axes(scenes.pixels.reshape(len(scenes.pixels), -1), ~test),
    }
    result: dict[str, Any] = {"model": model.card.name, "scenes": len(test),
                              "tested": int(test.sum()), "r2": {}, "accuracy": {}}  # fmt: skip
    fitted: dict[str, Probe] = {}
    for number, (name, encode) in enumerate(encoders.items()):
        report(Progress("probes", number, len(encoders), current=name))
        probing = _Probing(encode(), test, seed)
        ours = name == "latents"
        _enter(result, name, scenes, probing, control=ours)
        if ours:
            fitted = probing.probes(scenes.numbers)
    report(Progress("probes", len(encoders), len(encoders)))
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        save_probes(fitted, save / PROBES)
    return result


def _model_of(models: Models) -> LatentModel:
    model = models.diffuser()
    if not isinstance(model, LatentModel):
        raise UsageError("only latents of models that ragcore has trained are probed")
    return model


def _enter(
    result: dict[str, Any], name: str, scenes: Scenes, probing: _Probing, *, control: bool
) -> None:
    """Add a representation's column to the table, with `control` also that of shuffled labels."""
    kinds = {name: False, "shuffled": True} if control else {name: False}
    for column, shuffled in kinds.items():
        for attribute, value in probing.r2(scenes.numbers, shuffled=shuffled).items():
            result["r2"].setdefault(attribute, {})[column] = value
        for attribute, labels in scenes.classes.items():
            row = result["accuracy"].setdefault(attribute, {})
            row[column] = probing.accuracy(labels, shuffled=shuffled)
            if shuffled:
                row["most_frequent"] = _most_frequent(labels, probing.test)


@dataclass
class _Probing:
    """Vectors [n, d], standardized by those fitted on, and which of them are for testing."""

    vectors: Table
    test: NDArray[np.bool_]
    seed: int
    _fitted: dict[bool, Any] = field(default_factory=dict)  # shuffled or not

    def __post_init__(self) -> None:
        fit = self.vectors[~self.test]
        self.middle, spread = fit.mean(axis=0), fit.std(axis=0)
        self.spread = spread.clip(max(float(spread.max()) * _FLAT, 1e-6))
        scaled = (self.vectors - self.middle) / self.spread
        self.fit_on, self.test_on = scaled[~self.test], scaled[self.test]

    def r2(self, numbers: Mapping[str, Table], *, shuffled: bool = False) -> dict[str, float]:
        """Share of each attribute's variance that its probe explains on held-out icons."""
        predicted = self._ridge(numbers, shuffled).predict(self.test_on)
        true = _stacked(numbers)[self.test]
        left = ((true - predicted) ** 2).sum(axis=0)
        shares = 1 - left / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
        return dict(zip(numbers, map(float, shares), strict=True))

    def accuracy(self, labels: Sequence[str], *, shuffled: bool = False) -> float:
        """Share of the held-out scenes whose class the probe says."""
        import numpy as np
        from sklearn.linear_model import RidgeClassifierCV

        given = np.array(labels)
        wanted = self._shuffled(given[~self.test], shuffled)
        model = RidgeClassifierCV(_ALPHAS).fit(self.fit_on, wanted)
        return float((model.predict(self.test_on) == given[self.test]).mean())

    def probes(self, numbers: Mapping[str, Table]) -> dict[str, Probe]:
        """Probes in the vectors' own units, and the directions along which vectors change."""
        import numpy as np

        model = self._ridge(numbers, shuffled=False)
        r2 = self.r2(numbers)
        wanted = _stacked(numbers)[~self.test]
        deviations = wanted.std(axis=0)
        centered = (wanted - wanted.mean(axis=0)) / deviations
        directions = centered.T @ (self.vectors[~self.test] - self.middle) / len(centered)
        found = {}
        for row, name in enumerate(numbers):
            weight = model.coef_[row] / self.spread
            found[name] = Probe(
                name,
                weight.astype(np.float32),
                directions[row].astype(np.float32),
                float(model.intercept_[row] - weight @ self.middle),
                float(deviations[row]),
                r2[name],
            )
        return found

    def _ridge(self, numbers: Mapping[str, Table], shuffled: bool) -> Any:
        """One fit for all attributes, each with a penalty of its own (leave-one-out)."""
        from sklearn.linear_model import RidgeCV

        if shuffled not in self._fitted:
            wanted = self._shuffled(_stacked(numbers)[~self.test], shuffled)
            model = RidgeCV(_ALPHAS, alpha_per_target=True)
            self._fitted[shuffled] = model.fit(self.fit_on, wanted)
        return self._fitted[shuffled]

    def _shuffled(self, values: Any, shuffled: bool) -> Any:
        import numpy as np

        return np.random.default_rng(self.seed).permutation(values) if shuffled else values


def _stacked(numbers: Mapping[str, Table]) -> Table:
    import numpy as np

    return np.stack(list(numbers.values()), axis=1)


def _held_out(concepts: Sequence[str]) -> NDArray[np.bool_]:
    """Which scenes are for testing: decided by a hash of the icon."""
    import numpy as np

    digests = (hashlib.sha256(f"probe {concept}".encode()).digest() for concept in concepts)
    return np.array([digest[0] < 256 * _TEST for digest in digests])


def _axes(pixels: NDArray[np.uint8], fit: NDArray[np.bool_]) -> Table:
    """Raw pixels on their principal axes, found on the images that are fitted on."""
    import numpy as np
    from sklearn.decomposition import PCA

    scaled = pixels.astype(np.float32) / 255
    axes = min(_AXES, int(fit.sum()) - 1, scaled.shape[1])
    found: Table = PCA(axes, svd_solver="randomized", random_state=0).fit(scaled[fit]).transform(
        scaled
    )  # fmt: skip
    return found


def _embeddings(scenes: Scenes, models: Models) -> Table:
    from PIL import Image

    found: Table = models.image_text_encoder().encode_images(
        [Image.fromarray(scene) for scene in scenes.pixels]
    )
    return found


def _most_frequent(labels: Sequence[str], test: NDArray[np.bool_]) -> float:
    """Accuracy of always saying the class that is most frequent among those fitted on."""
    import numpy as np

    given = np.array(labels)
    names, counts = np.unique(given[~test], return_counts=True)
    return float((given[test] == names[counts.argmax()]).mean())


def main() -> None:
    from ragcore.models import Models
    from ragcore.settings import Settings

    parser = argparse.ArgumentParser(prog="python -m recipes.icon_probes")
    parser.add_argument("folder", type=Path, metavar="DIR", help="STYLE.npz and STYLE.jsonl")
    parser.add_argument("--count", type=int, default=4000, help="scenes: icons set down somewhere")
    parser.add_argument("--seed", type=int, default=0, help="another draw of scenes")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the probes for Studio")
    print_json(evaluate_probe(models=Models(Settings()), **vars(parser.parse_args())))


if __name__ == "__main__":
    with one_line_errors():
        main()
