"""How well a picture maker does what it is told, on icons with known names.

Seen names, unseen name/style pairs and unseen names by an independent judge; class guidance by
scale; edges with and without a ControlNet; time against the bare denoiser.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.diffusion import Imaginer, ImagineRequest, edge_f1
from ragcore.diffusion.conditions import canny
from ragcore.diffusion.model import LatentModel
from ragcore.errors import UsageError
from ragcore.evals.icon_judge import ClassJudge, FeatureMaker, NameJudge, diversity, frechet
from ragcore.tuning.diffusion_data import IconSet, read_icons, split, style_words
from ragcore.types import Progress, ProgressCallback

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ragcore.settings import Settings

    Pixels = NDArray[np.uint8]

SCALES = (0.0, 1.0, 2.0, 5.0, 10.0)
_AMONG, _NEAREST = 500, 10
_BATCH = 20


def evaluate_diffusion(
    folder: Path,
    *,
    settings: Settings,
    imaginer: Imaginer | None = None,
    prompts: int = 200,
    guided: int = 96,
    controlled: int = 48,
    steps: int = 25,
    scale: float = 3.0,
    seed: int = 0,
    pictures: Path | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Metrics by name. `folder` holds the icons that the model was trained on.

    `pictures` is a folder for sheets of what was made, each seen name beside its nearest
    training picture. Raises UsageError if the model does not know what it was trained on.
    """
    from ragcore.diffusion.loader import imaginer as of_profile

    test = _Test(folder, imaginer or of_profile(settings), settings, steps, scale, seed, progress)
    result: dict[str, Any] = {"model": test.imaginer.model.card.name, "steps": steps}
    result |= {"scale": scale, **test.judged()}
    result |= test.names(prompts, pictures)
    result["guidance"] = test.guidance(guided, pictures)
    if controlled and "canny" in test.imaginer.model.control_kinds:
        result["edge_f1"] = test.edges(controlled, pictures)
    return result | test.speed()


@dataclass
class _Test:
    """Data, judge and picture maker of one evaluation."""

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
        self.parts = split(
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
        """Pictures that the judge may know: all but the name/style pairs that are held out."""
        return [*self.parts["train"], *self.parts["unseen_names"]]

    def judged(self) -> dict[str, Any]:
        """The judge's own accuracy on real pictures that it has never seen: the ceiling."""
        rows = self.parts["unseen_pairs"][:500]
        if not rows:
            return {}
        return {"judge": {f"name@{_NEAREST}of{_AMONG}": self._hits(self.real[rows], rows)}}

    def names(self, count: int, pictures: Path | None) -> dict[str, Any]:
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
            if pictures is not None:
                self._sheet(pictures / f"names-{part}.png", made[:48], rows[:48], features[:48])
        return result

    def guidance(self, count: int, pictures: Path | None) -> dict[str, dict[str, float]]:
        """By scale of the class guide, with an empty prompt: accuracy, Fréchet, diversity.

        Classes are the groups of icons, asked for in turn.
        """
        import numpy as np

        known = set(self.model.classifier.config.groups)
        named = [icon.group if icon.group in known else "" for icon in self.icons.icons]
        rows = [row for row in self.parts["train"] if named[row]]
        judge = ClassJudge(self.real[rows], [named[row] for row in rows])
        kinds = sorted({named[row] for row in rows})
        wanted = [kinds[number % len(kinds)] for number in range(count)]
        held = [r for r in self.parts["unseen_names"] if named[r] in kinds]
        table: dict[str, dict[str, float]] = {
            "real": {"class_accuracy": judge.accuracy(self.real[held], [named[r] for r in held])}
            if held
            else {}
        }
        sheets = []
        for scale in SCALES:
            made = self._make(f"guide {scale:g}", [""] * count, scale=1.0, classes=(wanted, scale))
            features = self.features(made)
            table[f"{scale:g}"] = {
                "class_accuracy": judge.accuracy(features, wanted),
                "frechet": frechet(self.real[self.parts["train"]], features),
                "diversity": diversity(features),
            }
            sheets.append(made[:16])
        if pictures is not None:
            _save(pictures / "guidance.png", np.concatenate(sheets), 16)
        return table

    def edges(self, count: int, pictures: Path | None) -> dict[str, float]:
        """Edge F1 between condition and result, on icons whose names were never seen."""
        import numpy as np

        rows = self._drawn("unseen_names", count)
        conditions = [canny(self.icons.pixels[row]) for row in rows]
        result, sheets = {}, [self.icons.pixels[rows], np.stack(conditions)]
        for control in (True, False):
            for prompt in (True, False):
                name = f"{'with' if control else 'without'}_control"
                name += "" if prompt else "_no_prompt"
                made = self._make(
                    f"edges {name}",
                    self._prompts(rows) if prompt else [""] * len(rows),
                    scale=self.scale if prompt else 1.0,
                    conditions=np.stack(conditions) if control else None,
                )
                scores = [edge_f1(c, canny(m)) for c, m in zip(conditions, made, strict=True)]
                result[name] = float(np.mean(scores))
                sheets.append(made)
        if pictures is not None:
            shown = [sheet[:16] for sheet in sheets]
            _save(pictures / "edges.png", np.concatenate(shown), 16)
        return result

    def speed(self) -> dict[str, float]:
        """Seconds for one picture, and the same against the bare denoiser calls in it."""
        import torch

        model = self.model
        request = ImagineRequest(prompt="red apple", seed=1, steps=self.steps, scale=self.scale)
        self.imaginer.imagine(request)
        words = model.words(["", "red apple"])
        latents = torch.randn(2, *latent_shape(model))
        whole, bare = [], []
        for _ in range(5):
            began = time.perf_counter()
            self.imaginer.imagine(request)
            whole.append(time.perf_counter() - began)
            began = time.perf_counter()
            with torch.no_grad():
                for step in range(self.steps):
                    model.denoiser(latents, 999 - step, **words.inputs())
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
        """Name and style, as the picture maker joins them."""
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
        conditions: Pixels | None = None,
    ) -> Pixels:
        """One picture for each prompt in batches, seeds counted up, as the picture maker would."""
        import numpy as np

        pictures = []
        for start in range(0, len(prompts), _BATCH):
            self._say(stage, start, len(prompts))
            part = slice(start, start + _BATCH)
            pictures.append(
                sample_batch(
                    self.model,
                    prompts[part],
                    seed=self.seed + start,
                    steps=self.steps,
                    scale=scale,
                    classes=(classes[0][part], classes[1]) if classes else None,
                    conditions=None if conditions is None else conditions[part],
                )
            )
        return np.concatenate(pictures)

    def _sheet(self, path: Path, made: Pixels, rows: Sequence[int], features: Any) -> None:
        """Made, asked for, nearest picture of the training set: three lines for each sixteen."""
        import numpy as np

        train = self.parts["train"]
        unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (features, self.real[train])]
        nearest = [train[place] for place in (unit[0] @ unit[1].T).argmax(axis=1)]
        lines = []
        for start in range(0, len(made), 16):
            part = slice(start, start + 16)
            lines += [made[part], self.icons.pixels[list(rows[part])]]
            lines.append(self.icons.pixels[nearest[part]])
        _save(path, np.concatenate(lines), 16)

    def _say(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total))


def sample_batch(
    model: LatentModel,
    prompts: Sequence[str],
    *,
    seed: int,
    steps: int,
    scale: float,
    classes: tuple[Sequence[str], float] | None = None,
    conditions: Pixels | None = None,
) -> Pixels:
    """RGB uint8 [n, h, w, 3] of different prompts at once; number i has the seed `seed + i`.

    `classes` are a class for each picture with the guide's scale, `conditions` Canny edges.
    """
    import torch

    from ragcore.diffusion.guides import ClassGuide
    from ragcore.diffusion.networks import as_pixels
    from ragcore.diffusion.sampling import ControlInput, Plan, denoise

    scheduler = model.scheduler("dpm++")
    scheduler.set_timesteps(steps)
    guides = []
    if classes is not None and classes[1]:
        rows = [model.classifier.class_rows(name) for name in classes[0]]
        guides.append(ClassGuide(model.classifier, rows, classes[1]))
    controls = []
    if conditions is not None:
        condition = torch.from_numpy(conditions).permute(0, 3, 1, 2).float() / 255
        controls.append(ControlInput(model.controlnet("canny"), condition))
    plan = Plan(
        prompt=model.words(prompts),
        empty=model.words([""] * len(prompts)),
        scale=scale,
        guides=guides,
        controls=controls,
    )
    shape = latent_shape(model)
    dice = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
    latents = torch.stack([torch.randn(shape, generator=one) for one in dice])
    for step in denoise(model.denoiser, scheduler, latents, scheduler.timesteps, plan):
        latents = step.latents
    with torch.no_grad():
        return as_pixels(model.autoencoder.decode(latents))


def latent_shape(model: LatentModel) -> tuple[int, int, int]:
    """Channels, height and width of the latents of one picture."""
    side = model.card.size // model.autoencoder.factor
    return model.autoencoder.channels, side, side


def _save(path: Path, pictures: Pixels, columns: int) -> None:
    """A sheet of pictures [n, h, w, 3], `columns` in a line."""
    import numpy as np
    from PIL import Image

    count = -len(pictures) % columns
    blank = np.full((count, *pictures.shape[1:]), 255, np.uint8)
    cells = np.pad(np.concatenate([pictures, blank]), ((0, 0), (1, 1), (1, 1), (0, 0)))
    lines = [
        np.concatenate(list(cells[at : at + columns]), 1) for at in range(0, len(cells), columns)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, 0)).save(path)
