"""Low-rank adaptation of a frozen causal language model (Hu et al. 2021).

`tune_lora` runs one recipe from start, or from the last checkpoint of its run folder, and
leaves there: `log.jsonl`, `curves.png`, `checkpoint.pt` and `adapter/` (float16 safetensors and
adapter_config.json, as peft and vLLM read them).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, UsageError
from ragcore.extras import require_extra
from ragcore.tuning.lora.base import fingerprint, load_base, load_start, with_adapter
from ragcore.tuning.lora.packing import (
    Pack,
    make_packs,
    read_examples,
    register_attention,
    to_batch,
    to_tensors,
)
from ragcore.tuning.lora.recipe import LoraRecipe
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Processes, Trainer, TrainingPlan
from ragcore.types import CancelToken, ProgressCallback

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


def tune_lora(
    recipe: Path | LoraRecipe,
    *,
    settings: Settings,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> LoraReport:
    """Train an adapter as the recipe says; the base stays as it is, and that is checked.

    A cancelled run keeps its checkpoint and is taken up again by the next call. Raises
    UsageError for a recipe or data that do not fit, ModelUnavailable for a missing base.
    """
    require_extra("train", "training runs")
    recipe = read_recipe(recipe, LoraRecipe)
    return _LoraRun(recipe, settings, progress, cancel or CancelToken()).go(resume=resume)


class _LoraRun(Trainer):
    """One run: base, adapter, packs of examples."""

    stage = "tune"

    def __init__(
        self,
        recipe: LoraRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        plan = TrainingPlan.of(recipe, recipe.steps, None)
        super().__init__(
            plan, RunFolder(recipe.output), progress=progress, cancel=cancel,
            processes=Processes.joined(),
        )  # fmt: skip
        self.recipe = recipe
        self.settings = settings
        self.read = 0  # packs
        self.examples = self.tokens = 0
        self.decay_from: int | None = None
        self.dev_scores: dict[str, float] = {}

    def go(self, *, resume: bool) -> LoraReport:
        import torch

        r = self.recipe
        examples = read_examples(r.train)
        self.dev = read_examples(r.dev)[: r.dev_limit] if r.dev else []
        earlier = r.output / "checkpoint"  # as earlier versions stored it
        if not resume:
            self.folder.clear()
            shutil.rmtree(earlier, ignore_errors=True)
        elif earlier.is_dir():
            raise UsageError(
                f"{r.output} holds a run of an earlier version, which cannot be resumed: start "
                "again (--fresh), or change output"
            )
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
        self.optimize([(weights, r.learning_rate)], weight_decay=r.weight_decay)
        if r.start is not None:
            load_start(self.model, r.start)
        self.resume()
        packs = make_packs(
            self.tokenizer, examples, max_tokens=r.max_tokens, shared=r.packing != "none"
        )
        if not packs:
            raise UsageError(f"no example of {r.train} fits into max_tokens = {r.max_tokens}")
        self.packs = self._order(packs)
        self.model.train()
        with suppress(Cancelled):
            self.run()
            self.save()
        unchanged = abs(fingerprint(base) - before) <= 1e-9 * abs(before)
        return self._finish(unchanged)

    def _finish(self, unchanged: bool) -> LoraReport:
        r = self.recipe
        if not self.cancel.cancelled:
            self._score()
        adapter = self._export()
        report = LoraReport(
            name=r.name,
            adapter=adapter,
            steps=self.step,
            examples=self.examples,
            tokens=self.tokens,
            seconds=self.seconds,
            loss=self.recent_loss(),
            trainable=sum(w.numel() for w in self.weights),
            base_unchanged=unchanged,
            decay_from=self.decay_from,
            dev=self.dev_scores,
            cancelled=self.cancel.cancelled,
        )
        if self.processes.rank:
            return report
        self.folder.write_report({**asdict(report), "adapter": adapter.name})
        self.folder.draw_curves({"loss": ["loss"], "dev": list(self.dev_scores), "rate": ["lr"]})
        return report

    def _attention(self, base: Any) -> str:
        """A GPU takes packs as one padded batch under a mask, a CPU without padding."""
        import torch

        if base.device.type != "cuda":
            return register_attention()
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans again for every length, for 0.1 s
        return "sdpa"

    # --- a step ---

    def _order(self, packs: list[Pack]) -> Iterator[Pack]:
        """Packs from the current position on; the first pass in file order, then shuffled."""
        while True:
            turn, start = divmod(self.read, len(packs))
            order = list(range(len(packs)))
            if turn:
                random.Random(self.recipe.seed + turn).shuffle(order)
            for i in order[start:]:
                self.read += 1
                yield packs[i]

    def rate(self) -> float:
        """Warm-up, constant, then a straight line to zero over the last `decay` of the run."""
        r, done = self.recipe, self.done()
        factor = min(1.0, (self.step + 1) / max(r.warmup_steps, 1))
        if r.decay and done > 1 - r.decay:
            if self.decay_from is None:
                self.decay_from = self.step
            factor *= max(0.0, (1 - done) / r.decay)
        return factor

    def backward(self) -> float:
        """The packs of one step, those of this process."""
        count = self.recipe.packs_per_step * self.processes.count
        batch = [next(self.packs) for _ in range(count)]
        total = sum(len(a) for pack in batch for a in pack.answers)
        self.examples += sum(len(pack.answers) for pack in batch)
        self.tokens += sum(pack.tokens for pack in batch)
        own = batch[self.processes.rank :: self.processes.count]
        return sum(self._gradients(part, total) for part in self._parts(own))

    def after_step(self) -> None:
        self._log(step=self.step, loss=round(self.losses[-1], 4), lr=self.learning_rate,
                  examples=self.examples, tokens=self.tokens,
                  seconds=round(self.seconds, 1))  # fmt: skip
        if self.recipe.dev_every and self.step % self.recipe.dev_every == 0:
            self._score()
            self.model.train()

    def _parts(self, packs: list[Pack]) -> list[list[Pack]]:
        """What goes through the model at once: on a GPU as many packs as `batch_tokens` holds."""
        limit = self.recipe.batch_tokens if self.model.device.type == "cuda" else 0
        parts: list[list[Pack]] = []
        for pack in sorted(packs, key=lambda p: p.tokens) if limit else packs:
            if not parts or (len(parts[-1]) + 1) * pack.tokens > limit:  # padded to the longest
                parts.append([])
            parts[-1].append(pack)
        return parts

    def _gradients(self, packs: list[Pack], total: int) -> float:
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

    def _score(self) -> None:
        if not self.dev or self.processes.rank:
            return
        from ragcore.tuning.lora.scores import score_examples

        with self._answering():
            self.dev_scores = score_examples(
                self.model, self.tokenizer, self.dev, cancel=self.cancel
            )
        self._log(step=self.step, examples=self.examples, **self.dev_scores)

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

    def _log(self, **values: Any) -> None:
        if not self.processes.rank:
            self.folder.log(**values)

    # --- what is stored ---

    def state(self) -> dict[str, Any]:
        from peft import get_peft_model_state_dict

        return {
            "adapter": get_peft_model_state_dict(self.model),
            "packs": self.read,
            "examples": self.examples,
            "tokens": self.tokens,
            "decay_from": self.decay_from,
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.model, saved["adapter"])
        self.read, self.examples, self.tokens = saved["packs"], saved["examples"], saved["tokens"]
        self.decay_from = saved["decay_from"]

    def _export(self) -> Path:
        """The adapter in float16, in peft's own layout."""
        from safetensors.torch import load_file, save_file

        folder = self.recipe.output / "adapter"
        self.model.peft_config["default"].base_model_name_or_path = self.recipe.base
        if self.processes.rank:
            return folder
        self.model.save_pretrained(str(folder))
        file = str(folder / "adapter_model.safetensors")
        state = {k: v.half() for k, v in load_file(file).items()}
        save_file(state, file, metadata={"format": "pt"})
        return folder
