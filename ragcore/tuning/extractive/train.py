"""Training of the extractive reader: spans and passages, over several windows at once."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.tuning.extractive.data import Exercise, Exercises, split_articles
from ragcore.tuning.extractive.recipe import ExtractiveRecipe
from ragcore.tuning.questions import questions_among
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Average, Trainer, TrainingPlan, half_cosine, warm_up
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    import torch

    from ragcore.settings import Settings
    from ragcore.tuning.extractive.scores import ReadQuestion

_SCALED = 400  # held-out questions by which it is fitted how sure a span is


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What a run did.

    `loss` is the mean of the last 50 steps; `held_out` are the scores of
    `ragcore.tuning.extractive.scores` on articles that were not trained on.
    """

    base: str
    output: str
    steps: int
    questions: int
    tokens: int
    seconds: float
    loss: float
    trained_weights: int
    held_out: Mapping[str, float]
    resumed: bool = False


def tune_reader(
    recipe: str | Path | ExtractiveRecipe,
    *,
    settings: Settings,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ReaderReport:
    """Train as the recipe says; write log, curves, checkpoint and model into its `output`.

    A run that was stopped goes on from its last checkpoint unless `resume` is False, and ends
    with the same weights as one that was not, where the recipe has no `max_minutes`.

    Raises UsageError for a wrong recipe or data, or a checkpoint of another recipe;
    ModelUnavailable for a missing base; Cancelled if `cancel` was set (a checkpoint is kept).
    """
    read = read_recipe(recipe, ExtractiveRecipe)
    return _ReaderRun(read, settings, progress, cancel or CancelToken()).train(resume)


class _ReaderRun(Trainer):
    """One training run: network, examples, optimizer."""

    stage = "reader"

    def __init__(
        self,
        recipe: ExtractiveRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        import torch

        from ragcore.encoders import WindowMaker
        from ragcore.models import place
        from ragcore.tuning.extractive.network import SpanNetwork
        from ragcore.weights import WeightStore

        self.recipe = recipe
        self.tokens = 0
        self.scores: dict[str, float] = {}
        placed = place(settings)
        self.device, self.precision = placed.device, placed.precision
        path = recipe.path(recipe.base)
        local = path if (path / "tokenizer.json").is_file() else None
        self.base_folder = local or WeightStore(settings).ensure(recipe.base)
        torch.manual_seed(recipe.seed)
        self.network = SpanNetwork(self.base_folder, frozen_layers=recipe.frozen_layers)
        self.network.to(self.device)
        self.maker = WindowMaker(self.base_folder, recipe.window)
        train, held_out = split_articles(recipe)
        self.asked = questions_among(held_out, [*held_out, *train])
        self.exercises = Exercises(train, self.maker, recipe)
        if not len(self.exercises):
            raise UsageError("the training data have fewer questions than one batch")
        steps = max(1, round(recipe.epochs * len(self.exercises)))
        plan = TrainingPlan.of(recipe, steps, recipe.key())
        folder = RunFolder(recipe.path(recipe.output))
        super().__init__(plan, folder, progress=progress, cancel=cancel)
        self.averaged = Average(list(self._trained().values()), recipe.average)
        heads = [*self.network.span.parameters()]
        known = {id(p) for p in heads}
        layers = [p for p in self.network.parameters() if p.requires_grad and id(p) not in known]
        self.optimize(
            [(layers, recipe.learning_rate), (heads, recipe.head_learning_rate)],
            weight_decay=recipe.weight_decay,
        )

    def _trained(self) -> dict[str, torch.Tensor]:
        """The weights that change, by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def train(self, resume: bool) -> ReaderReport:
        if not resume:
            self.folder.clear()
        resumed = self.resume()
        self._scored = time.monotonic()
        self.run()
        return self._finish(resumed)

    def rate(self) -> float:
        """A warm-up, then a half cosine to zero over the whole run."""
        return warm_up(self.step, self.recipe.warmup_steps) * half_cosine(self.done())

    def backward(self) -> float:
        """One batch of questions, each with its windows."""
        import torch

        self.network.train()
        batch = self.exercises.batch(self.step)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def after_update(self) -> None:
        self.averaged.update(self.step - 1)

    def after_step(self) -> None:
        r = self.recipe
        if self.step % r.log_every == 0:
            self.folder.log(
                step=self.step,
                loss=round(self.recent_loss(r.log_every), 4),
                learning_rate=self.learning_rate,
                tokens=self.tokens,
                seconds=round(self.seconds, 1),
            )
        if time.monotonic() - self._scored > 60 * r.score_minutes:
            self._score()
            self._scored = time.monotonic()

    def _loss(self, batch: Sequence[Exercise]) -> torch.Tensor:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        from ragcore.encoders import SpanInputs
        from ragcore.tuning.extractive.network import on_device

        rows = [
            (self.maker.question(exercise.question), self.exercises.windows[number])
            for exercise in batch
            for number in exercise.windows
        ]
        inputs = SpanInputs(rows)
        self.tokens += int(inputs.mask.sum())
        starts, ends, passages = self.network(*on_device(inputs, self.network.span.weight.device))
        allowed = torch.zeros_like(starts, dtype=torch.bool)
        for at, (question, window) in enumerate(rows):
            text = len(question) + window.first
            allowed[at, text : text + len(window.offsets)] = True
        allowed[:, 0] = True
        starts = starts.float().masked_fill(~allowed, -torch.inf)
        ends = ends.float().masked_fill(~allowed, -torch.inf)
        first = 0
        losses, right = [], torch.zeros_like(passages, dtype=torch.float32)
        for exercise in batch:
            part = slice(first, first + len(exercise.windows))
            before = len(rows[first][0])
            spans = [(start + before, end + before) for start, end in exercise.spans]
            losses.append(span_loss(starts[part], ends[part], spans))
            right[first] = float(bool(spans))
            first = part.stop
        holds = binary_cross_entropy_with_logits(passages.float(), right)
        return torch.stack(losses).mean() + self.recipe.passage_weight * holds

    def _score(self) -> None:
        """Scores of the averaged weights."""
        from ragcore.tuning.extractive.scores import scores

        with self._averaged():
            self.scores = scores(self._read(self.recipe.score_limit, self.recipe.seed))
        self.folder.log(step=self.step, **self.scores)

    def _read(self, limit: int, seed: int) -> list[ReadQuestion]:
        """Held-out questions, as the network reads them now."""
        from ragcore.encoders import ExtractiveReader
        from ragcore.tuning.extractive.scores import read_all

        self.network.eval()
        asked = random.Random(seed).sample(self.asked, min(limit, len(self.asked)))
        return read_all(ExtractiveReader(self.network.outputs, self.maker), asked)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The network with a moving average over the last steps, or over all while they are few.

        It is as good as weights at the end of a decayed run, at any time.
        """
        import torch

        trained = list(self._trained().values())
        current = [p.detach().clone() for p in trained]
        with torch.no_grad():
            for p, value in zip(trained, self.averaged.values, strict=True):
                p.copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value in zip(trained, current, strict=True):
                    p.copy_(value)

    # --- what is stored ---

    def state(self) -> dict[str, Any]:
        return {
            "weights": {name: p.detach() for name, p in self._trained().items()},
            "averaged": dict(zip(self._trained(), self.averaged.values, strict=True)),
            "tokens": self.tokens,
            "scores": self.scores,
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        self.network.load_state_dict(saved["weights"], strict=False)
        self.averaged.values = [saved["averaged"][name].to(self.device) for name in self._trained()]
        self.tokens, self.scores = saved["tokens"], saved["scores"]

    def _finish(self, resumed: bool) -> ReaderReport:
        from ragcore.encoders import save_extractive
        from ragcore.tuning.extractive.scores import fit_scale

        self._score()
        self.save()
        with self._averaged():
            scale = fit_scale(self._read(_SCALED, self.recipe.seed + 1))
            save_extractive(
                self.folder.path / "model",
                self.base_folder,
                self.network.tensors(),
                self.network.config(),
                window=self.recipe.window,
                scale=scale,
            )
        report = ReaderReport(
            base=self.recipe.base,
            output=str(self.folder.path / "model"),
            steps=self.step,
            questions=self.step * self.recipe.batch_size,
            tokens=self.tokens,
            seconds=round(self.seconds, 1),
            loss=round(self.recent_loss(), 4),
            trained_weights=sum(p.numel() for p in self._trained().values()),
            held_out=self.scores,
            resumed=resumed,
        )
        scores = ["f1", "contains", "passage", "auc"]
        self.folder.draw_curves({"loss": ["loss"], "held out": scores, "rate": ["learning_rate"]})
        self.folder.write_report(dataclasses.asdict(report))
        return report


def span_loss(
    starts: torch.Tensor, ends: torch.Tensor, spans: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Negative log-probability of any of the `spans` (first and last token in the first window).

    `starts` and `ends` [windows, tokens] are normalized over all windows of the question. Without
    spans the first tokens of the windows, which stand for "no answer in this window", are right.
    """
    import torch

    start = starts.flatten().log_softmax(0).view_as(starts)
    end = ends.flatten().log_softmax(0).view_as(ends)
    if not spans:
        return -(start[:, 0].logsumexp(0) + end[:, 0].logsumexp(0))
    firsts = torch.tensor([first for first, _ in spans])
    lasts = torch.tensor([last for _, last in spans])
    return -(start[0, firsts] + end[0, lasts]).logsumexp(0)
