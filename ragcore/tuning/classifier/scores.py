"""How good a classifier is: accuracy with its interval, macro F1, calibration, confusion."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ragcore.datasets import calibration_error
from ragcore.encoders import softmax

if TYPE_CHECKING:
    from ragcore.types import FloatArray, IdArray


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(right, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def measure(logits: FloatArray, labels: IdArray, temperature: float) -> dict[str, Any]:
    """Scores of one way of training, by name.

    "accuracy", its interval "low" and "high", "macro_f1" over the classes that are measured,
    calibration error before ("ece_before") and after ("ece") the temperature.
    """
    from sklearn.metrics import f1_score

    chosen = logits.argmax(1)
    right = chosen == labels
    low, high = wilson(int(right.sum()), len(labels))
    present = np.unique(labels)
    f1 = f1_score(labels, chosen, labels=present, average="macro", zero_division=0)
    before = softmax(logits).max(1)
    after = softmax(logits / temperature).max(1)
    return {
        "accuracy": float(right.mean()),
        "low": low,
        "high": high,
        "macro_f1": float(f1),
        "ece_before": calibration_error(list(zip(before.tolist(), right.tolist(), strict=True))),
        "ece": calibration_error(list(zip(after.tolist(), right.tolist(), strict=True))),
        "tested": len(labels),
    }


def confusion(logits: FloatArray, labels: IdArray, classes: Sequence[str]) -> dict[str, Any]:
    """What is taken for what: "labels", "matrix" [true][chosen] as counts, and "worst".

    What is most often taken for what, as {"true", "chosen", "count", "of"}.
    """
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(labels, logits.argmax(1), labels=range(len(classes)))
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:50]
    worst = [
        {
            "true": classes[row],
            "chosen": classes[column],
            "count": int(wrong[row, column]),
            "of": int(matrix[row].sum()),
        }
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column]
    ]
    return {"labels": list(classes), "matrix": matrix.tolist(), "worst": worst}


def worst_mistakes(logits: FloatArray, labels: IdArray, temperature: float) -> IdArray:
    """Rows that were taken for another class, the surest of it first."""
    chances = softmax(logits / temperature)
    wrong = np.flatnonzero(chances.argmax(1) != labels)
    order: IdArray = wrong[np.argsort(-chances[wrong].max(1), kind="stable")]
    return order


@dataclass(slots=True)
class ResourceUsage:
    """Within it.

    The seconds that pass, those of all processor cores together (what other work beside it does not
    lengthen), and the most memory that is held meanwhile, in bytes.

    On a GPU the memory is what torch had allocated there; on a CPU that of the whole process.
    """

    device: str = "cpu"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak: int = 0
    _cpu: float = 0.0
    _began: float = 0.0
    _stop: threading.Event | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._began, self._cpu = time.monotonic(), time.process_time()
        if self.device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
            return self
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._began
        self.cpu_seconds = time.process_time() - self._cpu
        if self._stop is None or self._thread is None:
            import torch

            self.peak = int(torch.cuda.max_memory_allocated())
            return
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        assert self._stop is not None
        while True:
            self.peak = max(self.peak, int(process.memory_info().rss))
            if self._stop.wait(0.05):
                return
