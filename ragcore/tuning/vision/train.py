"""`ragcore tune projector`: questions about images for a frozen language model.

A projector turns what a frozen image tower sees into input embeddings of the language model
(LLaVA; Liu et al. 2023), in two stages: captions, with the projector alone; then captions and
simple questions made from them, with the projector and a low-rank adapter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.tuning.lora.base import fingerprint, load_base
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Trainer, TrainingPlan, half_cosine, warm_up
from ragcore.tuning.vision import data as projector_data
from ragcore.tuning.vision.packing import TreeMaker, to_batch
from ragcore.tuning.vision.recipe import ProjectorRecipe
from ragcore.tuning.vision.scores import score_images, tree_logits
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ragcore.llm.projector import Projector
    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class ProjectorReport:
    """What a run did.

    `dev` are the last scores, `start` those before training; `loss` is the mean of the last 50
    steps. The two `unchanged` say that the frozen parts are as before.
    """

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
    return _ProjectorRun(read, settings, progress, cancel or CancelToken()).train(resume)


class _ProjectorRun(Trainer):
    """One training run: frozen parts, projector, adapter, optimizer."""

    stage = "captions"

    def __init__(
        self,
        recipe: ProjectorRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        import torch

        from ragcore.encoders import GridEncoder

        steps = recipe.captions.steps + recipe.questions.steps
        plan = TrainingPlan.of(recipe, steps, recipe.key())
        folder = RunFolder(recipe.path(recipe.output))
        super().__init__(plan, folder, progress=progress, cancel=cancel)
        self.recipe, self.settings = recipe, settings
        self.tokens = 0
        self.start: dict[str, float] = {}  # scores before the first step
        self.dev: dict[str, float] = {}
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
        saved = self.checkpoint() if resume else None
        if saved is None:
            self.folder.clear()
        self._read_cells()
        self.projector = self._projector(started=saved is not None).to(self.device)
        if saved is not None:
            self.go_on(saved)
        else:
            self._optimize(self.recipe.captions.steps == 0)
            self.start = self._score()
        self.run()
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
        self.shuffled = projector_data.ShuffledBatches(self.train_items, views, self.recipe)
        self.train_cells = views[0]

    def _projector(self, *, started: bool) -> Projector:
        """With its start in closed form; a resumed run reads its weights instead."""
        from ragcore.encoders import CHANNELS, TOWER
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
        r = self.recipe
        rate = r.questions.projector_rate if second else r.captions.learning_rate
        groups: list[tuple[list[Any], float]] = [(list(self.projector.parameters()), rate)]
        if second:
            self._adapt()
            adapter = [p for n, p in self.model.named_parameters() if "lora_" in n]
            groups.append((adapter, r.questions.learning_rate))
        self.optimize(groups, weight_decay=r.weight_decay)

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
        self.adapted, self.stage = True, "captions and questions"

    # --- the loop ---

    def rate(self) -> float:
        """A warm-up in each stage; over the last `decay` of the run, a half cosine to zero."""
        r, done = self.recipe, self.done()
        step = self.step - (r.captions.steps if self.adapted else 0)
        factor = warm_up(step, r.warmup_steps)
        if r.decay and done > 1 - r.decay:
            factor *= half_cosine((done - 1 + r.decay) / r.decay)
        return factor

    def set_rates(self) -> None:
        if self.step >= self.recipe.captions.steps and not self.adapted:
            self._optimize(True)
        super().set_rates()

    def backward(self) -> float:
        """One batch: the mean loss over the tokens of answers."""
        import torch
        from torch.nn.functional import cross_entropy

        torch.manual_seed(self.recipe.seed + self.step)  # of dropout: a resumed run's too
        cells, asked = self.shuffled.batch(self.step, more=self.adapted)
        trees = [self.maker.make(one) for one in asked]
        t = to_batch(trees, device=self.device, dtype=self.model.dtype)
        self.model.train()
        with self._autocast():
            image = self.projector(torch.from_numpy(cells).to(self.device))
            logits = tree_logits(self.model, t, image)
        loss = cross_entropy(logits.float(), t.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.tokens += t.tokens
        return float(loss.detach())

    def after_step(self) -> None:
        r = self.recipe
        if self.step % r.log_every == 0:
            self.folder.log(
                step=self.step,
                stage=2 if self.adapted else 1,
                loss=round(self.recent_loss(r.log_every), 4),
                learning_rate=self.learning_rate,
                tokens=self.tokens,
                seconds=round(self.seconds, 1),
            )
        if self.step % r.dev_every == 0:
            self.dev = self._score()

    def _autocast(self) -> Any:
        import torch

        # bfloat16's range makes a gradient scaler unnecessary
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _score(self) -> dict[str, float]:
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
        self.folder.log(step=self.step, seconds=round(self.seconds, 1), **scores)
        return scores

    # --- what is stored ---

    def state(self) -> dict[str, Any]:
        from peft import get_peft_model_state_dict

        return {
            "projector": self.projector.state_dict(),
            "adapter": get_peft_model_state_dict(self.model) if self.adapted else None,
            "tokens": self.tokens,
            "start": self.start,
            "dev": self.dev,
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        from peft import set_peft_model_state_dict

        self.projector.load_state_dict(saved["projector"])
        self._optimize(saved["adapter"] is not None)
        if saved["adapter"] is not None:
            set_peft_model_state_dict(self.model, saved["adapter"])
        self.tokens, self.start, self.dev = saved["tokens"], saved["start"], saved["dev"]

    def _finish(self, resumed: bool) -> ProjectorReport:

        from ragcore.tuning.vision.export import export

        r = self.recipe
        self.dev = self._score()
        self.save()
        base = self.model.get_base_model() if self.adapted else self.model
        few = self.train_items[:2]
        again = self.encoder.encode([item.open() for item in few]).astype("float16")
        report = ProjectorReport(
            base=r.base,
            output=str(export(self, self.folder.path / "model")),
            steps=self.step,
            images=self.step * r.batch_size,
            tokens=self.tokens,
            seconds=round(self.seconds, 1),
            loss=round(self.recent_loss(), 4),
            trained_weights=sum(p.numel() for p in self.weights),
            base_unchanged=abs(fingerprint(base) - self.before) <= 1e-9 * abs(self.before),
            tower_unchanged=bool(abs(again - self.train_cells[: len(few)]).max() < 0.02),
            start=self.start,
            dev=self.dev,
            resumed=resumed,
        )
        scores = ["bleu4", "yes_no", "other_yes_no", "count", "colour"]
        self.folder.draw_curves({"loss": ["loss"], "dev": scores, "rate": ["learning_rate"]})
        self.folder.write_report(dataclasses.asdict(report))
        return report
