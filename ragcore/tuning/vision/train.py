"""`ragcore tune projector`: questions about images for a frozen language model.

A projector turns what a frozen image tower sees into input embeddings of the language model
(LLaVA; Liu et al. 2023), in two stages: captions, with the projector alone; then captions and
simple questions made from them, with the projector and a low-rank adapter.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.lora.base import fingerprint, load_base
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.vision import data as projector_data
from ragcore.tuning.vision.packing import TreeMaker, to_batch
from ragcore.tuning.vision.recipe import ProjectorRecipe
from ragcore.tuning.vision.scores import score_images, tree_logits
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ragcore.llm.projector import Projector
    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class ProjectorReport:
    """What a run did. `dev` are the last scores, `start` those before training; `loss` is the
    mean of the last 50 steps. The two `unchanged` say that the frozen parts are as before."""

    base: str
    output: str
    steps: int
    images: int
    tokens: int
    seconds: float
    loss: float
    trained_weights: int
    base_unchanged: bool
    tower_unchanged: bool
    start: Mapping[str, float]
    dev: Mapping[str, float]
    resumed: bool = False


def tune_projector(
    recipe: str | Path | ProjectorRecipe,
    *,
    settings: Settings,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ProjectorReport:
    """Train as the recipe says; write log, curves, checkpoint and model into its `output`.

    The model folder holds the projector and the adapter in float16, as a profile or
    `ragcore.llm.vision_llm` takes them. A run that was stopped goes on from its last
    checkpoint unless `resume` is False.

    Raises UsageError for a wrong recipe or data, or a checkpoint of another recipe;
    ModelUnavailable for a missing base; Cancelled if `cancel` was set (a checkpoint is kept).
    """
    read = read_recipe(recipe, ProjectorRecipe)
    return _Run(read, settings, progress, cancel or CancelToken()).train(resume)


@dataclass(slots=True)
class _State:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    start: dict[str, float] = field(default_factory=dict)
    dev: dict[str, float] = field(default_factory=dict)


class _Run:
    """One training run: frozen parts, projector, adapter, optimizer."""

    def __init__(
        self,
        recipe: ProjectorRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        import torch

        from ragcore.encoders.grid import GridEncoder

        self.recipe, self.settings = recipe, settings
        self.progress, self.cancel = progress, cancel
        self.folder = RunFolder(recipe.path(recipe.output))
        self.state = _State()
        self.train_items, self.dev_items = projector_data.read_images(recipe, settings)
        self.dev_items = self.dev_items[: recipe.dev_limit]
        self.encoder = GridEncoder(recipe.side, settings=settings)
        base = recipe.base
        path = recipe.path(base)
        self.model, self.tokenizer = load_base(
            str(path) if (path / "config.json").is_file() else base, settings
        )
        self.model.requires_grad_(False)
        self.before = fingerprint(self.model)
        self.device = self.model.device
        torch.manual_seed(recipe.seed)
        self.maker = TreeMaker(self.tokenizer, self.encoder.cells)
        self.adapted = False

    def train(self, resume: bool) -> ProjectorReport:
        saved = self.folder.load_checkpoint() if resume else None
        if saved is not None and saved["recipe"] != self.recipe.key():
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe: start again, or change output"
            )
        if saved is None:
            self.folder.clear()
        self._read_cells()
        self.projector = self._projector(started=saved is not None).to(self.device)
        if saved is not None:
            self._resume(saved)
        else:
            self._optimize(self.state.step >= self.recipe.captions.steps)
            self.state.start = self._score(0)
        self._loop()
        return self._finish(saved is not None)

    # --- what is read and made before the first step ---

    def _read_cells(self) -> None:
        folder, key = self.folder.path, self.recipe.features_key()

        def cells(name: str, mirrored: bool = False) -> np.ndarray[Any, Any]:
            return projector_data.cached_cells(
                self.encoder,
                self.train_items if name == "train" else self.dev_items,
                folder / f"cells-{name}{'-mirrored' * mirrored}-{key}.npy",
                mirrored=mirrored,
                progress=self.progress,
                cancel=self.cancel,
            )

        self.dev_cells = cells("dev")
        views = [cells("train")]
        if self.recipe.mirror:
            views.append(cells("train", mirrored=True))
        self.turns = projector_data.Turns(self.train_items, views, self.recipe)
        self.train_cells = views[0]

    def _projector(self, *, started: bool) -> Projector:
        """With its start in closed form; a resumed run reads its weights instead."""
        from ragcore.encoders.grid import CHANNELS, TOWER
        from ragcore.llm.projector import Projector, ProjectorConfig
        from ragcore.tuning.vision.start import start_projector

        r = self.recipe
        table = self.model.get_input_embeddings().weight.detach().float().cpu()
        config = ProjectorConfig(
            base=r.base,
            tower=TOWER,
            side=r.side,
            channels=CHANNELS,
            hidden=r.hidden,
            width=table.shape[1],
            caption_question=r.caption_question,
        )
        projector = Projector(config)
        if started:
            return projector

        def embed(word: str) -> torch.Tensor:
            ids = self.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
            vector: torch.Tensor = table[ids].mean(0)
            return vector

        captions = [item.captions for item in self.train_items]
        typical = float(table.norm(dim=1).median())
        start_projector(projector, self.train_cells, captions, embed, typical)
        return projector

    def _optimize(self, second: bool) -> None:
        """The optimizer of a stage; the second one's begins with a fresh adapter."""
        import torch

        r = self.recipe
        rate = r.questions.projector_rate if second else r.captions.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": list(self.projector.parameters()), "base_rate": rate}
        ]
        if second:
            self._adapt()
            adapter = [p for n, p in self.model.named_parameters() if "lora_" in n]
            groups.append({"params": adapter, "base_rate": r.questions.learning_rate})
        self.optimizer = torch.optim.AdamW(
            groups, lr=rate, betas=(0.9, 0.98), weight_decay=r.weight_decay
        )
        self.weights = [p for group in groups for p in group["params"]]

    def _adapt(self) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        q = self.recipe.questions
        torch.manual_seed(self.recipe.seed)  # the same adapter also where stage 1 was resumed
        config = LoraConfig(
            r=q.rank,
            lora_alpha=q.alpha,
            lora_dropout=q.dropout,
            target_modules=q.targets,
            task_type="CAUSAL_LM",
        )
        self.model = get_peft_model(self.model, config)
        self.adapted = True

    # --- the loop ---

    def _done(self) -> float:
        """How much of the run is over, by steps or by the clock, in [0, 1]."""
        r = self.recipe
        by_steps = self.state.step / (r.captions.steps + r.questions.steps)
        by_clock = self.state.seconds / 60 / r.max_minutes if r.max_minutes else 0.0
        return max(by_steps, by_clock)

    def _set_rates(self, second: bool) -> None:
        """A warm-up in each stage; over the last `decay` of the run, a half cosine to zero."""
        r, done = self.recipe, self._done()
        step = self.state.step - (r.captions.steps if second else 0)
        factor = min(1.0, (step + 1) / (r.warmup_steps + 1))
        if r.decay and done > 1 - r.decay:
            factor *= (1 + math.cos(math.pi * (done - 1 + r.decay) / r.decay)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_rate"] * factor

    def _loop(self) -> None:
        r, state = self.recipe, self.state
        saved = time.monotonic()
        while self._done() < 1:
            if self.cancel.cancelled:
                self._checkpoint()
                raise Cancelled(f"cancelled after {state.step} steps, which are kept")
            began = time.monotonic()
            second = state.step >= r.captions.steps
            if second and not self.adapted:
                self._optimize(True)
            self._set_rates(second)
            state.losses = [*state.losses[-49:], self._step(second)]
            state.step += 1
            state.seconds += time.monotonic() - began
            self._tell()
            if state.step % r.log_every == 0:
                self._log_step()
            if state.step % r.dev_every == 0:
                state.dev = self._score(state.step)
            if time.monotonic() - saved > 60 * r.checkpoint_minutes:
                self._checkpoint()
                saved = time.monotonic()

    def _step(self, second: bool) -> float:
        """One batch: the mean loss over the tokens of answers."""
        import torch
        from torch.nn.functional import cross_entropy

        torch.manual_seed(self.recipe.seed + self.state.step)  # of dropout: a resumed run's too
        cells, asked = self.turns.batch(self.state.step, more=second)
        trees = [self.maker.make(one) for one in asked]
        t = to_batch(trees, device=self.device, dtype=self.model.dtype)
        self.model.train()
        with self._autocast():
            image = self.projector(torch.from_numpy(cells).to(self.device))
            logits = tree_logits(self.model, t, image)
        loss = cross_entropy(logits.float(), t.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.tokens += t.tokens
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError("the loss is not finite: lower the learning rates in the recipe")
        return value

    def _autocast(self) -> Any:
        import torch

        # bfloat16's range makes a gradient scaler unnecessary
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _score(self, step: int) -> dict[str, float]:
        import torch

        self.model.eval()
        with torch.inference_mode():
            seen = torch.from_numpy(self.dev_cells.astype("float32")).to(self.device)
            scores = score_images(
                self.model,
                self.maker,
                self.dev_items,
                self.projector(seen),
                self.recipe.caption_question,
                cancel=self.cancel,
            )
        self.folder.log(step=step, seconds=round(self.state.seconds, 1), **scores)
        return scores

    def _log_step(self) -> None:
        state, recent = self.state, self.state.losses[-self.recipe.log_every :]
        self.folder.log(
            step=state.step,
            stage=2 if self.adapted else 1,
            loss=round(sum(recent) / len(recent), 4),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            tokens=state.tokens,
            seconds=round(state.seconds, 1),
        )

    def _tell(self) -> None:
        if self.progress is None:
            return
        state = self.state
        total = max(state.step, round(state.step / max(self._done(), 1e-9)))
        rate = state.step / max(state.seconds, 1e-9)
        left = (total - state.step) / max(rate, 1e-9)
        stage = "captions" if not self.adapted else "captions and questions"
        self.progress(
            Progress(stage, state.step, total, rate, left, f"loss {state.losses[-1]:.3f}")
        )

    # --- what is kept ---

    def _checkpoint(self) -> None:
        from peft import get_peft_model_state_dict

        adapter = get_peft_model_state_dict(self.model) if self.adapted else None
        self.folder.save_checkpoint(
            {
                "recipe": self.recipe.key(),
                "projector": self.projector.state_dict(),
                "adapter": adapter,
                "optimizer": self.optimizer.state_dict(),
                "state": dataclasses.asdict(self.state),
            }
        )

    def _resume(self, saved: Mapping[str, Any]) -> None:
        from peft import set_peft_model_state_dict

        self.projector.load_state_dict(saved["projector"])
        self._optimize(saved["adapter"] is not None)
        if saved["adapter"] is not None:
            set_peft_model_state_dict(self.model, saved["adapter"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = _State(**saved["state"])
        self.folder.truncate_log(self.state.step)

    def _finish(self, resumed: bool) -> ProjectorReport:
        import json

        from ragcore.tuning.vision.export import export

        state, r = self.state, self.recipe
        state.dev = self._score(state.step)
        self._checkpoint()
        base = self.model.get_base_model() if self.adapted else self.model
        few = self.train_items[:2]
        again = self.encoder.encode([item.open() for item in few]).astype("float16")
        report = ProjectorReport(
            base=r.base,
            output=str(export(self, self.folder.path / "model")),
            steps=state.step,
            images=state.step * r.batch_size,
            tokens=state.tokens,
            seconds=round(state.seconds, 1),
            loss=round(sum(state.losses) / max(len(state.losses), 1), 4),
            trained_weights=sum(p.numel() for p in self.weights),
            base_unchanged=abs(fingerprint(base) - self.before) <= 1e-9 * abs(self.before),
            tower_unchanged=bool(abs(again - self.train_cells[: len(few)]).max() < 0.02),
            start=state.start,
            dev=state.dev,
            resumed=resumed,
        )
        scores = ["bleu4", "yes_no", "other_yes_no", "count", "colour"]
        self.folder.draw_curves({"loss": ["loss"], "dev": scores, "rate": ["learning_rate"]})
        text = json.dumps(dataclasses.asdict(report), indent=2) + "\n"
        (self.folder.path / "report.json").write_text(text, "utf-8")
        return report
