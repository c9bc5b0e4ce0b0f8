"""How sure an answer is: several weak signals, one calibrated number.

The model's own urge to abstain is not enough evidence. With it are weighed how sure the model was
of each word it wrote, how much of the question stands in the passage and in the sentence that
the answer comes from, and how near question and sentence are as embeddings. The weights are a
logistic regression (Platt 1999) fitted on questions that the model was not trained on; they lie
beside an adapter as `calibration.json`, or in the library for a model of the user's own. A backend
that gives no probabilities is weighed by the other signals.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.answers.sentences import words
from ragcore.answers.tables import rows_as_text
from ragcore.errors import RagcoreError

if TYPE_CHECKING:
    from ragcore.answers.citations import Encode, Rerank
    from ragcore.settings import Settings
    from ragcore.types import Citation, Hit

CALIBRATION = "calibration.json"
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # the smaller, the nearer to 0 are the weights
_FOLDS = 10
_UNBOUND = 100.0
_NO_NAMES = frozenset({"I", "OK", "I'M", "I'D", "I'LL", "I'VE"})


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of one answer. Shares are in [0, 1].

    `abstains` is the log-odds of the abstention's first token and `fluency` the mean
    log-probability of a token of the answer (None: the backend does not report it), `passage` and
    `sentence` are the share of the question's words that stand in the cited passage and quote,
    `names` that of its names and numbers in the passage, `near` the cosine of question and
    quote, `rerank` the reranker's logit of the two and `relevance` that of question and cited
    passage (None without one).
    """

    abstains: float | None
    fluency: float | None
    passage: float
    sentence: float
    names: float
    near: float
    rerank: float | None = None
    relevance: float | None = None


def signals(
    question: str,
    *,
    abstention: float | None,
    likelihood: float | None,
    tokens: int,
    citations: Sequence[Citation],
    hits: Sequence[Hit],
    encode: Encode | None,
    rerank: Rerank | None = None,
) -> Signals:
    """Collect the signals.

    `abstention` and `likelihood` are the probabilities of the abstention's first token and of the
    whole answer, if the backend reports them.
    """
    cited = [hits[c.n - 1].text for c in citations]
    # A row of a table does not say what its columns are; the model got them, this check too.
    rows = [text_of_row for text in cited for text_of_row in rows_as_text(text, question)]
    quotes = [*(c.quote for c in citations), *rows]
    asked = set(words(question))
    near = 0.0
    if encode is not None and quotes:
        vectors = encode([question, *quotes])
        near = float((vectors[1:] @ vectors[0]).max())
    reranked = float(rerank(question, quotes).max()) if rerank is not None and quotes else None
    logits = [found for c in citations if (found := hits[c.n - 1].why.rerank) is not None]
    return Signals(
        abstains=None if abstention is None else _log_odds(abstention),
        fluency=(None if likelihood is None else math.log(max(likelihood, 1e-30)) / max(tokens, 1)),
        passage=_share(asked, cited),
        sentence=_share(asked, quotes),
        names=_share(_names(question), cited),
        near=near,
        rerank=reranked,
        relevance=max(logits, default=None),
    )


def _log_odds(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def _share(wanted: set[str], texts: Sequence[str]) -> float:
    if not wanted or not texts:
        return 1.0 if texts else 0.0
    there = {w for text in texts for w in words(text)}
    return len(wanted & there) / len(wanted)


def _names(question: str) -> set[str]:
    """Stems of the question's capitalised words (not its first) and numbers."""
    tokens = question.split()[1:]
    return set(words(" ".join(filter(_is_name, tokens))))


def _is_name(token: str) -> bool:
    capital = token[:1].isupper() and token.rstrip(".,;:!?").upper() not in _NO_NAMES
    return capital or any(map(str.isdigit, token))


@dataclass(frozen=True, slots=True)
class ConfidenceCalibration:
    """Weights of the signals; none mean 1 - P(abstention), or `UNTOLD` where that is not known.

    `passages` is how many of the found passages the model reads well at once (0: all).
    `without_reranker` is the calibration for where there is no reranker, if it differs.
    """

    intercept: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    passages: int = 0
    without_reranker: ConfidenceCalibration | None = None

    @classmethod
    def load(cls, path: Path) -> ConfidenceCalibration:
        """Of a `calibration.json`; the plain one where there is none."""
        if not path.is_file():
            return cls()
        try:
            return cls._of(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RagcoreError(f"{path} is no calibration: {error}") from error

    @classmethod
    def _of(cls, data: Mapping[str, Any]) -> ConfidenceCalibration:
        """Raises ValueError for an unknown signal."""
        weights = {str(k): float(v) for k, v in data.get("weights", {}).items()}
        unknown = set(weights) - set(Signals.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown signals {sorted(unknown)}")
        other = data.get("without_reranker")
        return cls(
            float(data.get("intercept", 0)),
            weights,
            int(data.get("passages", 0)),
            None if other is None else cls._of(other),
        )

    def confidence(self, found: Signals) -> float:
        """Probability in [0, 1] that the passages hold the answer."""
        values = {name: value for name, value in asdict(found).items() if value is not None}
        if not set(self.weights) <= set(values):
            return UNTOLD.confidence(found)
        if self.weights:
            total = self.intercept + sum(w * values[name] for name, w in self.weights.items())
        elif found.abstains is not None:
            total = -found.abstains
        else:
            return UNTOLD.confidence(found)
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, total))))


# For a backend that gives no probabilities and was not calibrated. Set by hand, not fitted: an
# answer whose passage and quote hold most of the question's words passes the threshold 0.5.
UNTOLD = ConfidenceCalibration(-3.0, {"passage": 1.0, "sentence": 1.0, "names": 1.0, "near": 3.0})


def calibration_file(settings: Settings, model: str, adapter: str) -> Path:
    """Where the library keeps its own calibration of a model with an adapter."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{model} {adapter}").strip("-.")
    return settings.home / "calibrations" / f"{name}.json"


def fit(rows: Sequence[Signals], answerable: Sequence[bool]) -> ConfidenceCalibration:
    """Fit the weights: logistic regression, balanced classes so that 0.5 is the middle.

    How strongly the weights are drawn to 0 is chosen by cross-validation, since the signals are
    alike and the questions some hundreds; a second regression, of one number, then makes the
    result a probability again (Platt 1999). Needs at least two rows of each class.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.preprocessing import StandardScaler

    names = [n for n in Signals.__dataclass_fields__ if all(asdict(r)[n] is not None for r in rows)]
    table = [[asdict(row)[name] for name in names] for row in rows]
    scaler = StandardScaler().fit(table)
    smallest = min(sum(answerable), len(answerable) - sum(answerable))
    model = LogisticRegressionCV(
        Cs=_STRENGTHS,
        l1_ratios=(0,),
        cv=min(_FOLDS, smallest),
        scoring="roc_auc",
        class_weight="balanced",
        use_legacy_attributes=False,
    ).fit(scaler.transform(table), answerable)
    drawn = np.asarray(table) @ (model.coef_[0] / scaler.scale_)
    platt = LogisticRegression(C=_UNBOUND, class_weight="balanced").fit(drawn[:, None], answerable)
    weights = model.coef_[0] / scaler.scale_ * platt.coef_[0, 0]
    intercept = float(platt.intercept_[0])
    return ConfidenceCalibration(
        intercept, {n: float(w) for n, w in zip(names, weights, strict=True)}
    )
