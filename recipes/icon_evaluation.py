"""How well an image generator follows its prompts, on icons with known names.

    python -m recipes.icon_evaluation DIR --images sheets

Seen names, unseen name/style pairs and unseen names by an independent judge; class guidance by
scale; edges with and without a ControlNet; time against the bare denoiser.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets.icons import IconSet, read_icons, split_icons, style_words
from ragcore.diffusion import Imaginer, ImagineRequest, condition_error, extract
from ragcore.diffusion.factories import imaginer_of
from ragcore.diffusion.model import LatentModel
from ragcore.errors import UsageError
from ragcore.models import Models
from ragcore.types import Progress, ProgressCallback
from recipes.console import one_line_errors, print_json
from recipes.icon_judge import ClassJudge, FeatureMaker, NameJudge, diversity, frechet
from recipes.icon_samples import latent_shape, rebuilt, sample_batch, save_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.settings import Settings

    Pixels = NDArray[np.uint8]

SCALES = (0.0, 1.0, 2.0, 5.0, 10.0)
_AMONG, _NEAREST = 500, 10
_BATCH = {"cpu": 20, "cuda": 256}
_BOTH = ("canny", "segmentation")  # the two controls that are put together


def evaluate_diffusion(
    folder: Path,
    *,
    settings: Settings,
    models: Models | None = None,
    imaginer: Imaginer | None = None,
    prompts: int = 200,
    guided: int = 96,
    controlled: int = 48,
    steps: int = 25,
    scale: float = 3.0,
    seed: int = 0,
    images: Path | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Metrics by name. `folder` holds the icons that the model was trained on.

    `images` is a folder for sheets of what was made, each seen name beside its nearest
    training image. `models` defaults to those of the settings. Raises UsageError if the model
    does not know what it was trained on.
    """
    imaginer = imaginer or imaginer_of(models or Models(settings))
    test = _Test(folder, imaginer, settings, steps, scale, seed, progress)
    result: dict[str, Any] = {"model": test.imaginer.model.card.name, "steps": steps}
    result |= {"scale": scale, **test.judged()}
    result |= test.names(prompts, images)
    result["guidance"] = test.guidance(guided, images)
    if controlled and "canny" in test.imaginer.model.control_kinds:
        result["edge_f1"] = test.edges(controlled, images)
    if controlled and set(_BOTH) <= set(test.imaginer.model.control_kinds):
        result["control_error"] = test.two_controls(controlled, images)
    return result | test.speed()


@dataclass
class _Test:
    """Data, judge and image maker of one evaluation."""

    folder: Path
    imaginer: Imaginer
    settings: Settings
    steps: int
    scale: float
    seed: int
    progress: ProgressCallback | None
    icons: IconSet = field(init=False)
    parts: dict[Any, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.imaginer.model, LatentModel):
            raise UsageError("only models that were trained on named icons are evaluated here")
        self.model = self.imaginer.model
        known = self.model.card.data
        if not known:
            raise UsageError("the model does not say what it was trained on (model.json, data)")
        self.icons = read_icons(self.folder, known["styles"], leave_out=known["leave_out"])
        self.parts = split_icons(
            self.icons.icons,
            seed=known["seed"],
            names=known["unseen_names"],
            pairs=known["unseen_pairs"],
        )
        self.features = FeatureMaker(self.settings)
        self._say("features", 0, 1)
        self.real = self.features(self.icons.pixels)
        self.judge = NameJudge(
            self.real[self._known_rows], [self.icons.icons[r].concept for r in self._known_rows]
        )

    @property
    def _known_rows(self) -> list[int]:
        """Images that the judge may know: all but the name/style pairs that are held out."""
        return [*self.parts["train"], *self.parts["unseen_names"]]

    def judged(self) -> dict[str, Any]:
        """Two ceilings: real images that the judge has never seen, and the same rebuilt."""
        rows = self.parts["unseen_pairs"][:500]
        if not rows:
            return {}
        key = f"name@{_NEAREST}of{_AMONG}"
        again = rebuilt(self.model, self.icons.pixels[rows])
        return {
            "judge": {key: self._hits(self.real[rows], rows)},
            "autoencoder": {key: self._hits(self.features(again), rows)},
        }

    def names(self, count: int, images: Path | None) -> dict[str, Any]:
        """Whether what was asked for by name and style is among the nearest names."""
        result: dict[str, Any] = {}
        for part, key in (
            ("train", f"name@{_NEAREST}of{_AMONG}"),
            ("unseen_pairs", "unseen_pairs"),
            ("unseen_names", "unseen_names"),
        ):
            rows = self._drawn(part, count)
            if not rows:
                continue
            made = self._make(f"names {part}", self._prompts(rows), scale=self.scale)
            features = self.features(made)
            result[key] = self._hits(features, rows)
            if images is not None:
                self._sheet(images / f"names-{part}.png", made[:48], rows[:48], features[:48])
        return result

    def guidance(self, count: int, images: Path | None) -> dict[str, dict[str, float]]:
        """By scale of class guidance, with an empty prompt: accuracy, Fréchet, diversity.

        Classes are asked for in turn: first the groups of icons, then the fine classes.
        """
        import numpy as np

        groups, fine = self._classes("group"), self._classes("subgroup")
        table: dict[str, dict[str, float]] = {"real": {}}
        for key, classes in (("class_accuracy", groups), ("fine_class_accuracy", fine)):
            if (accuracy := classes.on_real_images()) is not None:
                table["real"][key] = accuracy
        sheets = []
        for scale in SCALES:
            wanted = groups.in_turn(count)
            made = self._guided(f"guidance {scale:g}", wanted, scale)
            features = self.features(made)
            finely = fine.in_turn(count)
            others = self.features(self._guided(f"fine guidance {scale:g}", finely, scale))
            table[f"{scale:g}"] = {
                "class_accuracy": groups.judge.accuracy(features, wanted),
                "fine_class_accuracy": fine.judge.accuracy(others, finely),
                "frechet": frechet(self.real[self.parts["train"]], features),
                "diversity": diversity(features),
            }
            sheets.append(made[:16])
        if images is not None:
            save_sheet(images / "guidance.png", np.concatenate(sheets), 16)
        return table

    def _guided(self, stage: str, wanted: Sequence[str], scale: float) -> Pixels:
        return self._make(stage, [""] * len(wanted), scale=1.0, classes=(wanted, scale))

    def _classes(self, level: str) -> _Classes:
        """Groups or fine classes that the classifier knows, with a judge of their own."""
        config = self.model.classifier.config
        known = set(config.groups if level == "group" else config.leaves)
        named = [getattr(icon, level) for icon in self.icons.icons]
        rows = [row for row in self.parts["train"] if named[row] in known]
        held_out = [row for row in self.parts["unseen_names"] if named[row] in known]
        if not rows:  # every fine class is a group's "other"
            return self._classes("group")
        return _Classes(self.real, named, rows, held_out)

    def edges(self, count: int, images: Path | None) -> dict[str, float]:
        """Edge F1 between condition and result, on icons whose names were never seen.

        "autoencoder" is that of the icons themselves, rebuilt: what the latents can show at most.
        """
        import numpy as np

        rows = self._drawn("unseen_names", count)
        conditions = [extract("canny", self.icons.pixels[row]) for row in rows]
        result, sheets = {}, [self.icons.pixels[rows], np.stack(conditions)]
        again = rebuilt(self.model, self.icons.pixels[rows])
        result["autoencoder"] = 1 - _mean_error("canny", np.stack(conditions), again)
        for control in (True, False):
            for prompt in (True, False):
                name = f"{'with' if control else 'without'}_control"
                name += "" if prompt else "_no_prompt"
                made = self._make(
                    f"edges {name}",
                    self._prompts(rows) if prompt else [""] * len(rows),
                    scale=self.scale if prompt else 1.0,
                    conditions={"canny": np.stack(conditions)} if control else None,
                )
                result[name] = 1 - _mean_error("canny", np.stack(conditions), made)
                sheets.append(made)
        if images is not None:
            shown = [sheet[:16] for sheet in sheets]
            save_sheet(images / "edges.png", np.concatenate(shown), 16)
        return result

    def two_controls(self, count: int, images: Path | None) -> dict[str, dict[str, float]]:
        """Errors to both conditions under one control, the other, both and none; no prompt."""
        import numpy as np

        rows = self._drawn("unseen_names", count)
        real = self.icons.pixels[rows]
        conditions = {kind: np.stack([extract(kind, one) for one in real]) for kind in _BOTH}
        table: dict[str, dict[str, float]] = {}
        sheets = [real, *conditions.values()]
        for name, kinds in {**{k: (k,) for k in _BOTH}, "both": _BOTH, "none": ()}.items():
            on = {kind: conditions[kind] for kind in kinds}
            made = self._make(f"control {name}", [""] * len(rows), scale=1.0, conditions=on)
            table[name] = {kind: _mean_error(kind, conditions[kind], made) for kind in _BOTH}
            sheets.append(made)
        if images is not None:
            save_sheet(images / "controls.png", np.concatenate([s[:16] for s in sheets]), 16)
        return table

    def speed(self) -> dict[str, float]:
        """Seconds for one image, and the same against the bare denoiser calls in it."""
        import torch

        model = self.model
        request = ImagineRequest(prompt="red apple", seed=1, steps=self.steps, scale=self.scale)
        self.imaginer.imagine(request)
        embeddings = model.embed_prompts(["", "red apple"])
        latents = torch.randn(2, *latent_shape(model)).to(model.device)
        whole, bare = [], []
        for _ in range(5):
            began = time.perf_counter()
            self.imaginer.imagine(request)
            whole.append(time.perf_counter() - began)
            began = time.perf_counter()
            with torch.no_grad():
                for step in range(self.steps):
                    model.denoiser(latents, 999 - step, **embeddings.inputs())
            bare.append(time.perf_counter() - began)
        return {
            "seconds_per_image": round(min(whole), 4),
            "ratio_to_denoiser": round(min(whole) / min(bare), 4),
        }

    def _hits(self, features: Any, rows: Sequence[int]) -> float:
        """Part of the rows whose own name is among the nearest of a fixed number of names."""
        icons = self.icons.icons
        wanted = [icons[row].concept for row in rows]
        others = [name for name in self.judge.names if name not in set(wanted)]
        more = random.Random(self.seed).sample(others, max(0, min(len(others), _AMONG)))
        among = list(dict.fromkeys(wanted))
        hits = 0
        for start in range(0, len(rows), _AMONG // 2):
            part = slice(start, start + _AMONG // 2)
            chosen = list(dict.fromkeys(wanted[part]))
            among = (chosen + [n for n in more if n not in chosen])[:_AMONG]
            hits += int((self.judge.ranks(features[part], wanted[part], among) <= _NEAREST).sum())
        return hits / len(rows)

    def _prompts(self, rows: Sequence[int]) -> list[str]:
        """Name and style, as the image maker joins them."""
        icons = (self.icons.icons[row] for row in rows)
        return [f"{icon.name}, {style_words(icon.style)}" for icon in icons]

    def _drawn(self, part: str, count: int) -> list[int]:
        """At most `count` rows of a part of the data, one of each concept."""
        rows = list(self.parts[part])
        random.Random(self.seed).shuffle(rows)
        first: dict[str, int] = {}
        for row in rows:
            first.setdefault(self.icons.icons[row].concept, row)
        return list(first.values())[:count]

    def _make(
        self,
        stage: str,
        prompts: Sequence[str],
        *,
        scale: float,
        classes: tuple[Sequence[str], float] | None = None,
        conditions: Mapping[str, Pixels] | None = None,
    ) -> Pixels:
        """One image for each prompt in batches, seeds counted up, as the image maker would."""
        import numpy as np

        images, size = [], _BATCH.get(self.model.device, _BATCH["cpu"])
        for start in range(0, len(prompts), size):
            self._say(stage, start, len(prompts))
            part = slice(start, start + size)
            images.append(
                sample_batch(
                    self.model,
                    prompts[part],
                    seed=self.seed + start,
                    steps=self.steps,
                    scale=scale,
                    classes=(classes[0][part], classes[1]) if classes else None,
                    conditions={k: rows[part] for k, rows in (conditions or {}).items()},
                )
            )
        return np.concatenate(images)

    def _sheet(self, path: Path, made: Pixels, rows: Sequence[int], features: Any) -> None:
        """Made, asked for, nearest image of the training set: three lines for each sixteen."""
        import numpy as np

        train = self.parts["train"]
        unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (features, self.real[train])]
        nearest = [train[place] for place in (unit[0] @ unit[1].T).argmax(axis=1)]
        lines = []
        for start in range(0, len(made), 16):
            part = slice(start, start + 16)
            lines += [made[part], self.icons.pixels[list(rows[part])]]
            lines.append(self.icons.pixels[nearest[part]])
        save_sheet(path, np.concatenate(lines), 16)

    def _say(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total))


class _Classes:
    """Classes at one level with their judge, who has learned them on the training images."""

    def __init__(
        self, real: Any, named: Sequence[str], rows: Sequence[int], held_out: Sequence[int]
    ) -> None:
        self.judge = ClassJudge(real[list(rows)], [named[row] for row in rows])
        self.names = sorted({named[row] for row in rows})
        self._held_out = (real[list(held_out)], [named[row] for row in held_out])

    def in_turn(self, count: int) -> list[str]:
        """The classes one after the other, again and again."""
        return [self.names[number % len(self.names)] for number in range(count)]

    def on_real_images(self) -> float | None:
        """The judge's accuracy on real icons of unseen names."""
        features, wanted = self._held_out
        return self.judge.accuracy(features, wanted) if wanted else None


def _mean_error(kind: str, conditions: Pixels, made: Pixels) -> float:
    errors = [condition_error(kind, c, m) for c, m in zip(conditions, made, strict=True)]
    return sum(errors) / len(errors)


def main() -> None:
    from ragcore.settings import Settings

    parser = argparse.ArgumentParser(prog="python -m recipes.icon_evaluation")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="STYLE.npz and STYLE.jsonl that the model knows"
    )
    parser.add_argument("--prompts", type=int, default=200, help="names asked for, of each kind")
    parser.add_argument("--guided", type=int, default=96, help="images for each scale of guidance")
    parser.add_argument("--controlled", type=int, default=48, help="images with edges; 0: none")
    parser.add_argument("--steps", type=int, default=25, help="denoising steps")
    parser.add_argument("--scale", type=float, default=3.0, help="weight of the prompt")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="keep sheets of what is made")
    given = parser.parse_args()
    print_json(evaluate_diffusion(settings=Settings(), **vars(given)))


if __name__ == "__main__":
    with one_line_errors():
        main()
