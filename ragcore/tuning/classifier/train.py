"""`ragcore tune classifier`: categories of one's own, in up to three ways on the same split."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragcore.encoders import WAYS, Backbone, runs_folder
from ragcore.errors import Cancelled, UsageError
from ragcore.files import atomic_write
from ragcore.models import Models
from ragcore.tuning.classifier import head as heads
from ragcore.tuning.classifier.collection import COLLECTION, ticked_examples
from ragcore.tuning.classifier.data import (
    LabelledExample,
    Split,
    gather,
    read_examples,
    shots,
    split,
)
from ragcore.tuning.classifier.features import FeatureCache, Features
from ragcore.tuning.classifier.recipe import ClassifierRecipe
from ragcore.tuning.classifier.review import Flipped, measure_flipped
from ragcore.tuning.classifier.scores import ResourceUsage, measure
from ragcore.tuning.classifier.tower import TowerRun
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.types import FloatArray

_STATE = "state.json"
FEWEST_DEV = 20  # examples below which nothing is chosen or fitted on dev


@dataclass(frozen=True, slots=True)
class ClassifierReport:
    """What a run did. `rows` is the table: one row a way and number of labels a class.

    Scores of a row are of the test part: accuracy with its 95 % interval "low" and "high",
    macro_f1, calibration error "ece_before" and "ece" (after the temperature), and of training:
    trained_weights, seconds, cpu_seconds, peak_bytes, bytes (on disk; where all labels were used).
    """

    name: str
    folder: str
    kept: str
    labels: tuple[str, ...]
    modality: str
    split: Mapping[str, int]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    suspicious: int
    flipped: Mapping[str, float]
    seconds: float
    resumed: bool = False


def tune_classifier(
    recipe: str | Path | ClassifierRecipe,
    *,
    settings: Settings,
    models: Models | None = None,
    examples: Sequence[LabelledExample] | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ClassifierReport:
    """Train as the recipe says, compare, and keep one classifier under <home>/classifiers/NAME.

    `examples` take the place of the recipe's training data; `models` defaults to those of the
    settings. A run that was stopped goes on from
    what it had finished, and within a long training from its last checkpoint, unless `resume` is
    False. Raises UsageError for a wrong recipe or data, or a run folder of another recipe;
    Cancelled if `cancel` was set (what was finished is kept).
    """
    from filelock import FileLock, Timeout

    read = read_recipe(recipe, ClassifierRecipe)
    run = _ClassifierRun(read, settings, models or Models(settings), examples, progress, cancel)
    run.folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run.folder.path / ".lock", timeout=0):
            return run.train(resume)
    except Timeout:
        raise UsageError(f"{read.name!r} is being trained already, in {run.folder.path}") from None


@dataclass(slots=True)
class ClassifierState:
    """What a run has finished; kept in state.json."""

    key: str = ""
    strength: float = 0.0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    flipped: dict[str, float] = field(default_factory=dict)
    done: bool = False

    def row(self, way: str, count: int) -> dict[str, Any] | None:
        wanted = (way, count)
        return next((row for row in self.rows if (row["way"], row["shots"]) == wanted), None)


class _ClassifierRun:
    """One run: examples, their features, the split, and the trainings one after the other."""

    def __init__(
        self,
        recipe: ClassifierRecipe,
        settings: Settings,
        models: Models,
        examples: Sequence[LabelledExample] | None,
        progress: ProgressCallback | None,
        cancel: CancelToken | None,
    ) -> None:
        self.recipe, self.settings, self.models = recipe, settings, models
        self.progress, self.cancel = progress, cancel
        self.given = examples
        inside = runs_folder(settings) / recipe.name
        self.folder = RunFolder(recipe.path(recipe.output) if recipe.output else inside)
        self.state = ClassifierState()
        self.backbone: Backbone
        self.features: Features
        self.split: Split

    # --- the whole run ---------------------------------------------------------

    def train(self, resume: bool) -> ClassifierReport:
        from ragcore.models import set_threads
        from ragcore.tuning.classifier.keep import keep

        set_threads(self.settings.threads)
        began = time.monotonic()
        self._prepare()
        resumed = self._resume(resume)
        before = self.state.seconds
        if not self.state.strength:
            self.state.strength = self._strength()
        for way in self.ways:
            for count in self._counts(way):
                if self.state.row(way, count) is None:
                    self._measure(way, count)
                    self.state.seconds = round(before + time.monotonic() - began, 1)
                    self._save()
        if self.recipe.data.flipped and not self.state.flipped:
            self.state.flipped = self._flipped()
        self._report("review", 0, 1)
        kept = keep(self)
        self.state.done = True
        self.state.seconds = round(before + time.monotonic() - began, 1)
        self._save()
        self._report("done", 1, 1)
        sizes = {name: len(getattr(self.split, name)) for name in ("train", "dev", "test")}
        return ClassifierReport(
            name=self.recipe.name,
            folder=str(kept.folder),
            kept=kept.way,
            labels=self.features.examples.classes,
            modality=self.features.examples.modality,
            split=sizes,
            rows=tuple(self.state.rows),
            notes=tuple(self.notes),
            suspicious=kept.suspicious,
            flipped=self.state.flipped,
            seconds=self.state.seconds,
            resumed=resumed,
        )

    @property
    def ways(self) -> list[str]:
        """In the order of their cost, features first: the others start from it."""
        return [way for way in WAYS if way in self.recipe.ways]

    def _prepare(self) -> None:
        found = self._read()
        examples = gather(found, self.recipe.data.train or "what was given")
        self.backbone = Backbone(self.recipe.backbone_name(), examples.modality, self.models)
        cache = FeatureCache(
            self.folder.path,
            self.backbone,
            self.settings.max_megapixels,
            self.progress,
            self.check,
        )
        self.features = cache.of(examples)
        data, examples = self.recipe.data, self.features.examples
        self.split = split(
            examples, test=data.test_fraction, dev=data.dev_fraction, seed=self.recipe.seed
        )
        self.notes = list(examples.notes)
        if not len(self.split.test):
            raise UsageError(
                "every class has one example: nothing is left to measure with; give two or more"
            )
        if len(self.split.dev) < FEWEST_DEV and set(self.ways) != {"features"}:
            self.notes.append(
                f"{len(self.split.dev)} dev example(s) are too few to choose a way by, or to fit "
                "temperatures of lora and full"
            )

    def _read(self) -> list[LabelledExample]:
        import dataclasses

        data = self.recipe.data
        if self.given is not None:
            found = list(self.given)
        elif not data.train:
            raise UsageError("the recipe names no examples: set train in its [data] table")
        elif data.train.startswith(COLLECTION):
            found = ticked_examples(
                self.settings,
                self.models,
                data.train.removeprefix(COLLECTION),
                self.recipe.name,
                self.recipe.backbone_name(),
                data.kind,
            )
        else:
            found = read_examples(self.recipe.path(data.train), data.kind)
        if not data.test:
            return found
        held_out = read_examples(self.recipe.path(data.test), data.kind)
        # first: of equal examples the first is kept, and what is measured must not be trained on
        return [*(dataclasses.replace(example, held_out=True) for example in held_out), *found]

    # --- one training ----------------------------------------------------------

    def _counts(self, way: str) -> list[int]:
        """Labels a class to train with; 0 stands for all."""
        labels = self.features.examples.labels[self.split.train]
        most = int(np.bincount(labels).max())
        some = self.recipe.curve if way in self.recipe.curve_ways else ()
        return [*sorted({count for count in some if count < most}), 0]

    def _strength(self) -> float:
        """The linear layer's penalty: by dev, or out of fold where dev is small."""
        recipe, examples, vectors = self.recipe, self.features.examples, self.features.vectors
        train, dev, classes = self.split.train, self.split.dev, len(self.features.examples.classes)
        labels = examples.labels
        if len(recipe.strengths) == 1:
            return recipe.strengths[0]
        if len(dev) >= FEWEST_DEV:
            return heads.choose_strength(
                vectors[train], labels[train], vectors[dev], labels[dev], classes,
                recipe.strengths, self.check,
            )  # fmt: skip
        losses = {}
        for strength in recipe.strengths:
            logits = heads.out_of_fold(
                vectors[train], labels[train], classes, strength,
                folds=recipe.folds, seed=recipe.seed, check=self.check,
            )  # fmt: skip
            temperature = heads.fit_temperature(logits, labels[train])
            losses[strength] = heads.log_loss(logits, labels[train], temperature)
        return min(losses, key=lambda one: (losses[one], one))

    def _measure(self, way: str, count: int) -> None:
        """Train one way with `count` labels a class, measure it, add the row to the table."""
        labels = self.features.examples.labels
        rows = self.split.train
        if count:
            rows = shots(labels, rows, count, self.recipe.seed)
        self._report(way, 0, 1)
        with ResourceUsage(self.backbone.device if way != "features" else "cpu") as usage:
            logits, trained, steps, before = self._train(way, count, rows)
        dev, test = logits
        temperature = self._temperature(way, dev, rows)
        row: dict[str, Any] = {
            "way": way,
            "shots": count,
            "per_class": round(len(rows) / len(np.unique(labels[rows])), 2),
            "train": len(rows),
            **measure(test, labels[self.split.test], temperature),
            "dev_accuracy": _accuracy(dev, labels[self.split.dev]),
            "temperature": temperature,
            "trained_weights": trained,
            "steps": steps,
            "seconds": round(before[0] + usage.seconds + len(rows) * self.features.seconds_each, 2),
            "cpu_seconds": round(
                before[1] + usage.cpu_seconds + len(rows) * self.features.cpu_seconds_each, 2
            ),
            "peak_bytes": usage.peak,
            "bytes": self._weights_file(way).stat().st_size if not count else 0,
        }
        if not count:
            with (self.folder.path / f"logits-{way}.npz").open("wb") as file:
                np.savez(file, dev=dev, test=test)
        self.state.rows.append(row)
        gc.collect()

    def _train(
        self, way: str, count: int, rows: Any
    ) -> tuple[tuple[FloatArray, FloatArray], int, int, tuple[float, float]]:
        """((dev logits, test logits), trained weights, steps, seconds before it was resumed).

        Saves the weights of a training with all labels.
        """
        import torch
        from safetensors.torch import save_file

        examples, vectors = self.features.examples, self.features.vectors
        labels, classes = examples.labels, len(examples.classes)
        head = heads.fit_head(vectors[rows], labels[rows], classes, self.state.strength)
        if way == "features":
            weights = {
                "head.weight": torch.from_numpy(head.weight),
                "head.bias": torch.from_numpy(head.bias),
            }
            trained, steps, before = head.weight.size + head.bias.size, 0, (0.0, 0.0)
            dev, test = (head.logits(vectors[part]) for part in (self.split.dev, self.split.test))
        else:
            limit = self.settings.max_megapixels
            run = TowerRun(
                self.recipe, examples, self.backbone, way, rows, head,
                f"{self.state.key} {way} {count}", self.folder, limit, self.progress, self.check,
            )  # fmt: skip
            made = run.train()
            weights, trained, steps = made.weights, made.trained_weights, made.steps
            before = made.before
            dev = made.logits(examples, self.split.dev, limit, self.check)
            test = made.logits(examples, self.split.test, limit, self.check)
        if not count:
            halves = {name: value.to(torch.float16).contiguous() for name, value in weights.items()}
            self.folder.path.mkdir(parents=True, exist_ok=True)
            save_file(halves, self._weights_file(way))
        return (dev, test), int(trained), steps, before

    def _temperature(self, way: str, dev: FloatArray, rows: Any) -> float:
        """Fitted on dev; where that is small, out of fold for features and 1 for the others."""
        labels = self.features.examples.labels
        if len(dev) >= FEWEST_DEV:
            return heads.fit_temperature(dev, labels[self.split.dev])
        if way != "features":
            return 1.0
        counts = np.bincount(labels[rows])
        if counts[counts > 0].min() < 2:
            return 1.0  # a class of one is never known out of fold: all would look unsure
        logits = heads.out_of_fold(
            self.features.vectors[rows], labels[rows], len(self.features.examples.classes),
            self.state.strength, folds=self.recipe.folds, seed=self.recipe.seed, check=self.check,
        )  # fmt: skip
        return heads.fit_temperature(logits, labels[rows])

    def _flipped(self) -> dict[str, float]:
        self._report("flipped", 0, 1)
        return measure_flipped(
            Flipped(
                self.features.vectors,
                self.features.examples.labels,
                len(self.features.examples.classes),
                self.split,
                self.recipe.data.flipped,
                self.recipe.strengths,
                self.recipe.folds,
                self.recipe.seed,
            ),
            self.check,
        )

    # --- keeping, resuming -----------------------------------------------------

    def _weights_file(self, way: str) -> Path:
        return self.folder.path / f"weights-{way}.safetensors"

    def weights(self, way: str) -> dict[str, Any]:
        """What a way trained with all labels."""
        from safetensors.torch import load_file

        return dict(load_file(self._weights_file(way)))

    def logits(self, way: str) -> tuple[FloatArray, FloatArray]:
        """(dev, test) logits of a way trained with all labels."""
        with np.load(self.folder.path / f"logits-{way}.npz", allow_pickle=False) as file:
            return file["dev"], file["test"]

    def _resume(self, resume: bool) -> bool:
        key = self.recipe.run_key(self.features.examples.digest())
        path = self.folder.path / _STATE
        saved: dict[str, Any] = {}
        if path.is_file():
            try:
                saved = json.loads(path.read_text("utf-8"))
            except ValueError:
                saved = {}
        if resume and saved.get("key") == key:
            self.state = ClassifierState(**saved)
            return True
        if resume and saved and self.recipe.output:
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe or other examples: start again "
                "with --fresh, or change output"
            )
        self.folder.clear()
        self.state = ClassifierState(key=key)
        return False

    def _save(self) -> None:
        import dataclasses

        path = self.folder.path / _STATE
        with atomic_write(path) as part:
            part.write_text(json.dumps(dataclasses.asdict(self.state)), "utf-8")

    def check(self) -> None:
        """Raises Cancelled if the caller's token is set."""
        if self.cancel is not None and self.cancel.cancelled:
            raise Cancelled(
                f"cancelled after {len(self.state.rows)} of the trainings, which are kept"
            )

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total))


def _accuracy(logits: FloatArray, labels: Any) -> float | None:
    return float((logits.argmax(1) == labels).mean()) if len(labels) else None
