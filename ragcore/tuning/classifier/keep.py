"""The end of a run: the way that is kept, and everything that is shown of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragcore.encoders import (
    ClassifierCard,
    classifiers_folder,
    save_classifier,
    softmax,
)
from ragcore.files import atomic_write
from ragcore.tuning.classifier import plots
from ragcore.tuning.classifier.collection import owner_of
from ragcore.tuning.classifier.head import fit_head
from ragcore.tuning.classifier.review import proposals
from ragcore.tuning.classifier.scores import confusion, worst_mistakes

if TYPE_CHECKING:
    from ragcore.tuning.classifier.train import _ClassifierRun

RESULTS, CONFUSION, SUSPICIOUS = "results.json", "confusion.json", "suspicious.json"
PLOTS = ("confusion.png", "mistakes.png", "calibration.png", "curve.png")
_MISTAKES = 24
_EXCERPT = 300  # characters of a text


@dataclass(frozen=True, slots=True)
class SavedClassifier:
    """The folder of the classifier, its way, and how many labels are proposed for review."""

    folder: Path
    way: str
    suspicious: int


def keep(run: _ClassifierRun) -> SavedClassifier:
    """Choose a way, draw what there is to see, write the classifier."""
    way = _choose(run)
    whole = run.state.row(way, 0)
    assert whole is not None
    doubtful = _suspicious(run)
    _draw(run, way, whole["temperature"])
    results = {
        "kept": way,
        "rows": run.state.rows,
        "notes": run.notes,
        "split": {n: len(getattr(run.split, n)) for n in ("train", "dev", "test")},
        "examples": dict(Counter(item.label for item in run.features.examples.items)),
        "flipped": run.state.flipped,
        "strength": run.state.strength,
        "mistakes": _mistakes(run, way, whole["temperature"]),
        "seconds": run.state.seconds,
    }
    _write(run.folder.path / RESULTS, results)
    _write(run.folder.path / SUSPICIOUS, doubtful)
    target = classifiers_folder(run.settings) / run.recipe.name
    beside = (*PLOTS, RESULTS, CONFUSION, SUSPICIOUS)
    save_classifier(
        target,
        _card(run, way, whole),
        _weights(run, way),
        {name: run.folder.path / name for name in beside},
    )
    return SavedClassifier(target, way, len(doubtful))


def _choose(run: _ClassifierRun) -> str:
    """The cheapest way whose dev accuracy is within one standard error of the best one's.

    (The one-standard-error rule of Breiman et al. 1984.) Without a dev part: the cheapest.
    """
    if run.recipe.keep != "best" and run.recipe.keep in run.ways:
        return run.recipe.keep
    scores = {}
    for way in run.ways:
        row = run.state.row(way, 0)
        if row is not None and row["dev_accuracy"] is not None:
            scores[way] = float(row["dev_accuracy"])
    from ragcore.tuning.classifier.train import FEWEST_DEV

    count = len(run.split.dev)
    if count < FEWEST_DEV or not scores:
        return run.ways[0]
    best = max(scores.values())
    error = math.sqrt(best * (1 - best) / count)
    return next(way for way in run.ways if scores[way] >= best - error)


def _weights(run: _ClassifierRun, way: str) -> dict[str, Any]:
    """Those that were measured; the linear layer is trained again, on every example."""
    import torch

    if way != "features" or not run.recipe.refit:
        return run.weights(way)
    examples, vectors = run.features.examples, run.features.vectors
    head = fit_head(vectors, examples.labels, len(examples.classes), run.state.strength)
    return {
        "head.weight": torch.from_numpy(head.weight),
        "head.bias": torch.from_numpy(head.bias),
    }


def _card(run: _ClassifierRun, way: str, whole: dict[str, Any]) -> ClassifierCard:
    examples, lora = run.features.examples, run.recipe.lora
    shown = ("accuracy", "low", "high", "macro_f1", "ece_before", "ece", "tested")
    return ClassifierCard(
        name=run.recipe.name,
        labels=examples.classes,
        modality=examples.modality,
        way=way,  # type: ignore[arg-type]
        backbone=run.backbone.name,
        space=run.backbone.space,
        dimension=run.features.vectors.shape[1],
        temperature=float(whole["temperature"]),
        scores={name: whole[name] for name in shown},
        examples=len(examples.items),
        trained_weights=int(whole["trained_weights"]),
        lora={"rank": lora.rank, "alpha": lora.alpha} if way == "lora" else {},
        data=run.recipe.data.train,
        made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        collection_id=owner_of(run.settings, run.recipe.data.train),
    )


def _suspicious(run: _ClassifierRun) -> list[dict[str, Any]]:
    """Labels to look at again, the most doubtful first."""
    examples = run.features.examples
    found, chances = proposals(
        run.features.vectors, examples.labels, len(examples.classes), run.state.strength,
        folds=run.recipe.folds, seed=run.recipe.seed, check=run.check,
    )  # fmt: skip
    report = []
    for row in found.tolist():
        item, best = examples.items[row], int(chances[row].argmax())
        report.append(
            {
                "name": item.name,
                "item": item.item,
                "label": item.label,
                "proposed": examples.classes[best],
                "probability": round(float(chances[row, best]), 4),
                "probability_of_label": round(float(chances[row, examples.labels[row]]), 4),
                "text": item.text[:_EXCERPT],
            }
        )
    return report


def _mistakes(run: _ClassifierRun, way: str, temperature: float) -> list[dict[str, Any]]:
    examples = run.features.examples
    logits, labels = run.logits(way)[1], examples.labels[run.split.test]
    chances = softmax(logits / temperature)
    report = []
    for at in worst_mistakes(logits, labels, temperature)[:_MISTAKES].tolist():
        item = examples.items[int(run.split.test[at])]
        report.append(
            {
                "name": item.name,
                "item": item.item,
                "true": item.label,
                "chosen": examples.classes[int(chances[at].argmax())],
                "probability": round(float(chances[at].max()), 4),
                "text": item.text[:_EXCERPT],
            }
        )
    return report


def _draw(run: _ClassifierRun, way: str, temperature: float) -> None:
    examples, folder = run.features.examples, run.folder.path
    logits, labels = run.logits(way)[1], examples.labels[run.split.test]
    report = confusion(logits, labels, examples.classes)
    _write(folder / CONFUSION, report)
    plots.draw_confusion(report, folder / "confusion.png")
    plain = plots.pairs(softmax(logits), labels)
    warm = plots.pairs(softmax(logits / temperature), labels)
    plots.draw_calibration(plain, warm, folder / "calibration.png")
    plots.draw_curve(run.state.rows, folder / "curve.png")
    wrong = worst_mistakes(logits, labels, temperature)[:_MISTAKES].tolist()
    chances = softmax(logits / temperature)
    (folder / "mistakes.png").unlink(missing_ok=True)
    if wrong:
        sheet = []
        for at in wrong:
            item = examples.items[int(run.split.test[at])]
            chosen = examples.classes[int(chances[at].argmax())]
            sheet.append((item, item.label, chosen, float(chances[at].max())))
        limit = run.settings.max_megapixels
        plots.draw_mistakes(sheet, folder / "mistakes.png", max_megapixels=limit)


def _write(path: Path, value: Any) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(value, ensure_ascii=False, default=_plain), "utf-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
