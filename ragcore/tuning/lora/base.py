"""The frozen model under an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.errors import UsageError

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.tuning.lora.recipe import LoraRecipe


def load_base(
    name: str,
    settings: Settings,
    *,
    four_bit: bool = False,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> tuple[Any, Any]:
    """The frozen model and its tokenizer, in the precision that trains well where it runs.

    `name` is one of the weights registry, or a model folder. `precision` "auto" is bfloat16 on
    a GPU and float32 on a CPU.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ragcore.weights import WeightStore

    folder = WeightStore(settings).folder_of(name)
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise UsageError("device is cuda, and there is no CUDA GPU; set device to auto or cpu")
    if precision == "auto":
        precision = "bfloat16" if cuda else "float32"
    options: dict[str, Any] = {"dtype": getattr(torch, precision)}
    if four_bit:
        if not cuda:
            raise UsageError("four_bit needs a CUDA GPU; leave it out")
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, **options
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if tokenizer.chat_template is None:
        raise UsageError(f"{name} has no chat template; take an instruction-tuned model")
    return model.to("cuda") if cuda and not four_bit else model, tokenizer


def with_adapter(base: Any, recipe: LoraRecipe) -> Any:
    """The base with a new adapter of the recipe's shape. UsageError for layers that it lacks."""
    from peft import LoraConfig, get_peft_model

    r, count = recipe, int(base.config.num_hidden_layers)
    if r.first_layer >= count:
        raise UsageError(f"first_layer = {r.first_layer}: {r.base} has {count} layers")
    config = LoraConfig(
        r=r.rank,
        lora_alpha=r.alpha,
        lora_dropout=r.dropout,
        target_modules=_targets(base, r),
        layers_to_transform=list(range(r.first_layer, count)) if r.first_layer else None,
        use_rslora=r.rslora,
        use_dora=r.dora,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def _targets(base: Any, recipe: LoraRecipe) -> list[str] | str:
    """As the recipe says; peft takes names, not "all-linear", where layers are chosen."""
    import torch

    if recipe.targets != "all-linear" or not recipe.first_layer:
        return recipe.targets
    linear = [n for n, m in base.get_decoder().named_modules() if isinstance(m, torch.nn.Linear)]
    return sorted({name.rsplit(".", 1)[-1] for name in linear})


def load_start(model: Any, folder: Path) -> None:
    """Begin with the weights of the adapter in `folder`; UsageError where its shape differs."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.exists():
        raise UsageError(f"start: {folder} holds no adapter_model.safetensors")
    state = {name: weight.float() for name, weight in load_file(str(file)).items()}
    try:
        found = set_peft_model_state_dict(model, state)
    except RuntimeError as error:
        raise UsageError(f"start: the adapter in {folder} has another rank or base") from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        raise UsageError(f"start: the adapter in {folder} tunes other layers than this recipe")


def fingerprint(model: Any) -> float:
    """A sum over all weights that are not an adapter's, to prove that none changed."""
    return float(
        sum(
            p.detach().double().sum().item()
            + p.detach().flatten()[::997].double().abs().sum().item()
            for name, p in model.named_parameters()
            if "lora_" not in name
        )
    )
