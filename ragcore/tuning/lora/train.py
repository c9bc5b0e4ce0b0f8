"""Low-rank adaptation of a frozen causal language model (Hu et al. 2021).

`tune_lora` runs one recipe from start, or from the last checkpoint of its run folder, and
leaves there: `log.jsonl`, `curves.png`, `checkpoint/` (adapter, optimizer, position) and
`adapter/` (float16 safetensors and adapter_config.json, as peft and vLLM read them).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.models import Models
from ragcore.tuning.lora.base import fingerprint, load_base, load_start, with_adapter
from ragcore.tuning.lora.curves import draw_curves
from ragcore.tuning.lora.packing import (
    Example,
    Pack,
    make_packs,
    read_examples,
    register_attention,
    to_batch,
    to_tensors,
)
from ragcore.tuning.lora.recipe import LoraRecipe
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    import torch

    from ragcore.settings import Settings


@dataclass(slots=True)
class LoraReport:
    """What a run did. `dev` are the last scores; `loss` is the mean of the last 50 steps."""

    name: str
    adapter: Path
    steps: int
    examples: int
    tokens: int
    seconds: float
    loss: float
    trainable: int
    base_unchanged: bool
    decay_from: int | None = None
    dev: dict[str, float] = field(default_factory=dict)
    cancelled: bool = False


@dataclass(slots=True)
class _Position:
    """Where a run stands; saved with each checkpoint."""

    step: int = 0
    pack: int = 0
    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    decay_from: int | None = None


def tune_lora(
    recipe: Path | LoraRecipe,
    *,
    settings: Settings,
    models: Models | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> LoraReport:
    """Train an adapter as the recipe says; the base stays as it is, and that is checked.

    A cancelled run keeps its checkpoint and is taken up again by the next call. `models` defaults
    to those of the settings. Raises UsageError for a recipe or data that do not fit,
    ModelUnavailable for a missing base.
    """
    require_extra("train", "training runs")
    if not isinstance(recipe, LoraRecipe):
        recipe = LoraRecipe.load(Path(recipe))
    models = models or Models(settings)
    return _Run(recipe, settings, models, progress, cancel or CancelToken()).go(resume=resume)


def _build_if_missing(recipe: LoraRecipe, models: Models) -> None:
    """Make the training and dev files where the recipe says how and they are not there."""
    build = recipe.build
    if build is None or recipe.train.exists():
        return
    from ragcore.tuning.lora.grounded_qa import build_dev, build_groups, write_examples

    encoder = models.text_encoder()
    groups = build_groups(
        build.train,
        build.dev,
        groups=build.groups,
        seed=build.seed,
        held_out=build.held_out,
        every_question=build.every_question,
        encode=lambda texts: encoder.encode(texts),
        processes=os.cpu_count() or 1,
    )
    if recipe.dev is not None:
        dev = build_dev(build.dev, contexts=build.dev_contexts, seed=build.seed)
        write_examples(dev, recipe.dev)
    write_examples((example for group in groups for example in group), recipe.train)


class _Run:
    def __init__(
        self,
        recipe: LoraRecipe,
        settings: Settings,
        models: Models,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.models = models
        self.progress = progress
        self.cancel = cancel
        self.rank, self.world = _join()
        self.position = _Position()
        self.losses: list[float] = []
        self.dev_scores: dict[str, float] = {}

    def go(self, *, resume: bool) -> LoraReport:
        import torch

        r = self.recipe
        _build_if_missing(r, self.models)
        examples = read_examples(r.train)
        dev = read_examples(r.dev)[: r.dev_limit] if r.dev else []
        r.output.mkdir(parents=True, exist_ok=True)
        if not resume:
            shutil.rmtree(r.output / "checkpoint", ignore_errors=True)
            (r.output / "log.jsonl").unlink(missing_ok=True)
        torch.manual_seed(r.seed)
        base, self.tokenizer = load_base(
            r.base, self.settings, four_bit=r.four_bit, precision=r.precision
        )
        before = fingerprint(base)
        if r.gradient_checkpointing:
            base.gradient_checkpointing_enable()
            base.enable_input_require_grads()
        base.set_attn_implementation(self._attention(base))
        self.model = with_adapter(base, r)
        weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            weights, lr=r.learning_rate, weight_decay=r.weight_decay, betas=(0.9, 0.98)
        )
        if r.start is not None:
            load_start(self.model, r.start)
        self._load_checkpoint()
        packs = make_packs(
            self.tokenizer, examples, max_tokens=r.max_tokens, shared=r.packing != "none"
        )
        if not packs:
            raise UsageError(f"no example of {r.train} fits into max_tokens = {r.max_tokens}")
        self._train(packs, dev, weights)
        unchanged = abs(fingerprint(base) - before) <= 1e-9 * abs(before)
        if not self.cancel.cancelled:
            self._score(dev)
        adapter = self._export()
        self._calibrate(adapter)
        p = self.position
        report = LoraReport(
            name=r.name,
            adapter=adapter,
            steps=p.step,
            examples=p.examples,
            tokens=p.tokens,
            seconds=p.seconds,
            loss=sum(self.losses[-50:]) / max(len(self.losses[-50:]), 1),
            trainable=sum(w.numel() for w in weights),
            base_unchanged=unchanged,
            decay_from=p.decay_from,
            dev=self.dev_scores,
            cancelled=self.cancel.cancelled,
        )
        if self.rank:
            return report
        summary = {**asdict(report), "adapter": adapter.name}
        (r.output / "report.json").write_text(json.dumps(summary, indent=2) + "\n")
        draw_curves(r.output)
        return report

    def _attention(self, base: Any) -> str:
        """A GPU takes packs as one padded batch under a mask, a CPU without padding."""
        import torch

        if base.device.type != "cuda":
            return register_attention()
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans again for every length, for 0.1 s
        return "sdpa"

    # --- the loop ---

    def _order(self, packs: list[Pack]) -> Iterator[Pack]:
        """Packs from the current position on; the first pass in file order, then shuffled."""
        while True:
            turn, start = divmod(self.position.pack, len(packs))
            order = list(range(len(packs)))
            if turn:
                random.Random(self.recipe.seed + turn).shuffle(order)
            for i in order[start:]:
                self.position.pack += 1
                yield packs[i]

    def _done(self) -> float:
        """How much of the run is over, by steps or by the clock, in [0, 1]."""
        by_steps = self.position.step / self.recipe.steps
        limit = self.recipe.max_minutes
        return max(by_steps, self.position.seconds / 60 / limit if limit else 0.0)

    def _rate(self) -> float:
        """Warm-up, constant, then a straight line to zero over the last `decay` of the run."""
        r, done = self.recipe, self._done()
        factor = min(1.0, (self.position.step + 1) / max(r.warmup_steps, 1))
        if r.decay and done > 1 - r.decay:
            if self.position.decay_from is None:
                self.position.decay_from = self.position.step
            factor *= max(0.0, (1 - done) / r.decay)
        return r.learning_rate * factor

    def _train(self, packs: list[Pack], dev: list[Example], weights: list[Any]) -> None:
        import torch

        r, p = self.recipe, self.position
        source = self._order(packs)
        saved = time.monotonic()
        self.model.train()
        while self._done() < 1 and not self.cancel.cancelled:
            started = time.monotonic()
            rate = self._rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            batch = [next(source) for _ in range(r.packs_per_step * self.world)]
            total = sum(len(a) for pack in batch for a in pack.answers)
            own = batch[self.rank :: self.world]
            loss = sum(self._backward(part, total) for part in self._parts(own))
            loss = self._reduce(weights, loss)
            torch.nn.utils.clip_grad_norm_(weights, r.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            p.step += 1
            p.examples += sum(len(pack.answers) for pack in batch)
            p.tokens += sum(pack.tokens for pack in batch)
            p.seconds = self._agree(p.seconds + time.monotonic() - started)
            self.losses.append(loss)
            self._log(step=p.step, loss=round(loss, 4), lr=rate, examples=p.examples,
                      tokens=p.tokens, seconds=round(p.seconds, 1))  # fmt: skip
            self._tell()
            if r.dev_every and p.step % r.dev_every == 0:
                self._score(dev)
                self.model.train()
            if time.monotonic() - saved > 60 * r.checkpoint_minutes:
                self._save_checkpoint()
                saved = time.monotonic()
        self._save_checkpoint()

    def _reduce(self, weights: list[Any], loss: float) -> float:
        """Sum gradients and loss over all processes of a distributed run."""
        if self.world == 1:
            return loss
        import torch
        from torch import distributed

        flat = torch.cat([w.grad.flatten() for w in weights] + [weights[0].new_tensor([loss])])
        distributed.all_reduce(flat)
        position = 0
        for w in weights:
            w.grad.copy_(flat[position : position + w.numel()].view_as(w))
            position += w.numel()
        return float(flat[-1])

    def _agree(self, seconds: float) -> float:
        """The first process's clock: all must decay and stop at the same step."""
        if self.world == 1:
            return seconds
        import torch
        from torch import distributed

        clock = torch.tensor([seconds], dtype=torch.float64, device=self.model.device)
        distributed.broadcast(clock, 0)
        return float(clock)

    def _parts(self, packs: list[Pack]) -> list[list[Pack]]:
        """What goes through the model at once: on a GPU as many packs as `batch_tokens` holds."""
        limit = self.recipe.batch_tokens if self.model.device.type == "cuda" else 0
        parts: list[list[Pack]] = []
        for pack in sorted(packs, key=lambda p: p.tokens) if limit else packs:
            if not parts or (len(parts[-1]) + 1) * pack.tokens > limit:  # padded to the longest
                parts.append([])
            parts[-1].append(pack)
        return parts

    def _backward(self, packs: list[Pack], total: int) -> float:
        """Gradient of the mean answer-token loss over the step's `total` answer tokens."""
        import torch
        from torch.nn import functional

        device = self.model.device
        if device.type == "cuda":
            base, batch = self.model.get_base_model(), to_batch(packs, device, self.model.dtype)
            with torch.autocast("cuda", torch.bfloat16):
                states = base.get_decoder()(**batch.inputs()).last_hidden_state
                logits = base.get_output_embeddings()(states.flatten(0, 1)[batch.keep])
            targets = batch.targets
        else:
            dtype = self.model.dtype  # of the base; the adapter is float32
            row = to_tensors(packs, device=device, dtype=dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                logits, targets = self.model(**row.inputs()).logits[0], row.targets
        loss: torch.Tensor = (
            functional.cross_entropy(logits.float(), targets, reduction="sum") / total
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    def _score(self, dev: list[Example]) -> None:
        if not dev or self.rank:
            return
        from ragcore.tuning.lora.scores import score_examples

        with self._answering():
            self.dev_scores = score_examples(self.model, self.tokenizer, dev, cancel=self.cancel)
        self._log(step=self.position.step, examples=self.position.examples, dev=self.dev_scores)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Within the block the model generates: ordinary attention, no dropout."""
        implementation = self.model.config._attn_implementation
        self.model.eval()
        self.model.set_attn_implementation("sdpa")
        try:
            yield
        finally:
            self.model.set_attn_implementation(implementation)

    def _calibrate(self, adapter: Path) -> None:
        """Fit `calibration.json` beside the adapter on the contexts that were kept back."""
        build = self.recipe.build
        wanted = self.recipe.calibrate and build is not None and build.held_out
        if not wanted or build is None or self.rank or self.cancel.cancelled:
            return
        from ragcore.tuning.lora.calibration import calibrate_held_out

        found, scores = calibrate_held_out(
            self.recipe, build, adapter, settings=self.settings, models=self.models,
            progress=self.progress, cancel=self.cancel,
        )  # fmt: skip
        self._log(step=self.position.step, held_out=scores, passages=found.passages)

    def _tell(self) -> None:
        if self.progress is None or self.rank:
            return
        p = self.position
        left = p.seconds * (1 / max(self._done(), 1e-9) - 1)
        total = max(p.step, round(p.step / max(self._done(), 1e-9)))
        rate = p.examples / max(p.seconds, 1e-9)
        self.progress(Progress("tune", p.step, total, rate, left, f"loss {self.losses[-1]:.3f}"))

    def _log(self, **values: Any) -> None:
        if self.rank:
            return
        with (self.recipe.output / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(values) + "\n")

    # --- what is kept ---

    def _save_checkpoint(self) -> None:
        """Write beside the old checkpoint and swap, so that a crash leaves one that is whole."""
        if self.rank:
            return
        import torch
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        final = self.recipe.output / "checkpoint"
        new, old = final.with_name("checkpoint.new"), final.with_name("checkpoint.old")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        state = {k: v.contiguous() for k, v in get_peft_model_state_dict(self.model).items()}
        save_file(state, str(new / "adapter.safetensors"))
        torch.save(self.optimizer.state_dict(), new / "optimizer.pt")
        (new / "position.json").write_text(json.dumps(asdict(self.position)))
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.replace(final, old)
        os.replace(new, final)
        shutil.rmtree(old, ignore_errors=True)

    def _load_checkpoint(self) -> None:
        import torch
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        folder = self.recipe.output / "checkpoint"
        if not folder.exists():
            folder = folder.with_name("checkpoint.old")  # a crash between the two renames
        if not (folder / "position.json").exists():
            return
        set_peft_model_state_dict(self.model, load_file(str(folder / "adapter.safetensors")))
        self.optimizer.load_state_dict(
            torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu")
        )
        self.position = _Position(**json.loads((folder / "position.json").read_text()))

    def _export(self) -> Path:
        """The adapter in float16, in peft's own layout."""
        from safetensors.torch import load_file, save_file

        folder = self.recipe.output / "adapter"
        self.model.peft_config["default"].base_model_name_or_path = self.recipe.base
        if self.rank:
            return folder
        self.model.save_pretrained(str(folder))
        file = str(folder / "adapter_model.safetensors")
        state = {k: v.half() for k, v in load_file(file).items()}
        save_file(state, file, metadata={"format": "pt"})
        return folder


def _join() -> tuple[int, int]:
    """(rank, processes): (0, 1), or as `torchrun` says, gradients then being summed."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), world
