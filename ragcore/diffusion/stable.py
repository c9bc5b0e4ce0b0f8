"""The Stable Diffusion family from a folder in diffusers' layout, as a `Diffuser`.

The same loop, guidance and controls drive it: what differs is how prompts become inputs, how
latents are scaled, and that LoRA weights can be put on. Imports torch and diffusers when used.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.diffusion.base import Networks
from ragcore.diffusion.model import ModelCard
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.extras import require_extra
from ragcore.models import ModelMemory, Weights, folder_bytes, module_bytes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ragcore.diffusion.classifier import NoisyClassifier
    from ragcore.diffusion.prompt_embeddings import PromptEmbeddings

_INDEX = "model_index.json"


class StableModel:
    """A Stable Diffusion 1.x, 2.x or XL pipeline's parts, loaded when first needed.

    `controlnets` maps a kind of condition to a folder; `classifier` is the folder of a
    noise-aware classifier over this model's latents, for class guidance. On a GPU everything
    runs in half precision. `variant` is the part of the file names between "model" and the
    suffix ("fp16").
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        device: str = "cpu",
        controlnets: Mapping[str, Path] | None = None,
        classifier: Path | None = None,
        variant: str | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        require_extra("diffusion", "generated images")
        try:
            self._index = json.loads((folder / _INDEX).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelUnavailable(
                f"{folder} is no diffusers model: {_INDEX} cannot be read"
            ) from error
        self.folder, self.device, self.variant = folder, device, variant
        self._name = name
        self._controlnet_folders = dict(controlnets or {})
        self._classifier_folder = classifier
        self._lock = threading.RLock()
        self.exclusive = threading.Lock()  # LoRA weights sit in the shared denoiser
        self.weights: Weights[Networks] = (memory or ModelMemory()).weights(
            Networks,
            part="diffusion",
            name=name,
            device=device,
            size=lambda: folder_bytes(folder, self.dtype.itemsize),
            measure=Networks.bytes,
        )

    def in_use(self) -> AbstractContextManager[Networks]:
        return self.weights.lease()

    @property
    def pipeline(self) -> Any:
        """Diffusers' own pipeline: its encoders, denoiser, autoencoder, LoRA loading."""
        with self.weights.lease() as networks:
            return networks.get("pipeline", self._load_pipeline, _pipeline_bytes)

    def _load_pipeline(self) -> Any:
        from diffusers import DiffusionPipeline

        given: dict[str, Any] = {
            "torch_dtype": self.dtype,
            "local_files_only": True,
            "use_safetensors": True,
        }
        if self.variant:
            given["variant"] = self.variant
        if "safety_checker" in self._index:  # its weights are not fetched; see the model's license
            given |= {"safety_checker": None, "requires_safety_checker": False}
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                self.folder, trust_remote_code=False, **given
            )
        except (OSError, ValueError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelUnavailable(f"{self.folder} cannot be loaded: {reason}") from error
        pipeline.to(self.device)
        pipeline.set_progress_bar_config(disable=True)
        for part in (pipeline.unet, pipeline.vae):
            part.requires_grad_(False)
        return pipeline

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return torch.float16 if self.device == "cuda" else torch.float32

    @cached_property
    def card(self) -> ModelCard:
        unet = self._config("unet")
        size = int(unet.get("sample_size", 64)) * self._factor
        return ModelCard(self._name, size, (), "")

    @property
    def autoencoder(self) -> StableAutoencoder:
        return StableAutoencoder(self.pipeline.vae, self._factor)

    @property
    def denoiser(self) -> Any:
        return self.pipeline.unet

    @property
    def classifier(self) -> NoisyClassifier:
        """Raises UsageError where there is none, ModelUnavailable."""
        from ragcore.diffusion.classifier import load_classifier

        folder = self._classifier_folder
        if folder is None:
            raise UsageError(
                f"{self._name} has no noise-aware classifier: use a text guidance, or name one in "
                "the profile (also = […])"
            )
        with self.weights.lease() as networks:
            return networks.get("classifier", lambda: load_classifier(folder, self.device))

    @property
    def size_step(self) -> int:
        return self._factor

    @property
    def control_kinds(self) -> list[str]:
        return sorted(self._controlnet_folders)

    def controlnet(self, kind: str) -> Any:
        """Raises UsageError if the profile has none for that kind of condition."""
        from diffusers import ControlNetModel

        if kind not in self._controlnet_folders:
            known = ", ".join(self.control_kinds) or "none"
            raise UsageError(f"{self._name} has no ControlNet for {kind!r}: it has {known}")
        folder = self._controlnet_folders[kind]

        def load() -> Any:
            try:
                network = ControlNetModel.from_pretrained(
                    folder,
                    torch_dtype=self.dtype,
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    **({"variant": self.variant} if self.variant else {}),
                )
            except (OSError, ValueError) as error:
                raise ModelUnavailable(f"{folder} is no ControlNet") from error
            return network.to(self.device).eval().requires_grad_(False)

        with self.weights.lease() as networks:
            return networks.get(f"controlnet {kind}", load)

    def scheduler(self, sampler: str) -> Any:
        """A fresh scheduler with the noise schedule of the model's own."""
        from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

        kinds = {
            "ddim": DDIMScheduler,
            "dpm++": DPMSolverMultistepScheduler,
            "euler": EulerDiscreteScheduler,
        }
        if sampler not in kinds:
            raise UsageError(f"unknown sampler {sampler!r}: use {', '.join(kinds)}")
        more = {"clip_sample": False} if sampler == "ddim" else {}
        return kinds[sampler].from_config(self.pipeline.scheduler.config, **more)

    def embed_prompts(self, prompts: Sequence[str], size: int = 0) -> PromptEmbeddings:
        """Token states, and for XL pooled states and sizes."""
        import torch

        from ragcore.diffusion.prompt_embeddings import PromptEmbeddings

        how = {"device": self.device, "num_images_per_prompt": 1}
        with self._lock, torch.no_grad():  # fast tokenizers refuse to be used by two threads
            encoded = self.pipeline.encode_prompt(
                list(prompts), do_classifier_free_guidance=False, **how
            )
        if len(encoded) == 2:
            return PromptEmbeddings(encoded[0])
        states, _, pooled, _ = encoded
        side = size or self.card.size
        times = torch.tensor([side, side, 0, 0, side, side], dtype=states.dtype)
        rows = times.to(states.device).expand(len(prompts), -1)
        return PromptEmbeddings(states, added={"text_embeds": pooled, "time_ids": rows})

    def set_loras(self, wanted: Sequence[tuple[Path, float]]) -> None:
        """Put these LoRA files on with their weights, and take all others off.

        Hold `exclusive` from here to the end of the image. Raises UsageError for a file that
        does not fit.
        """
        pipeline = self.pipeline
        if not wanted:
            if self._lora_names:
                pipeline.unload_lora_weights()
                self._lora_names.clear()
            return
        for path, _ in wanted:
            key = str(path.resolve())
            if key not in self._lora_names:
                self._load_lora(path, f"lora{len(self._lora_names)}")
        names = [self._lora_names[str(path.resolve())] for path, _ in wanted]
        pipeline.set_adapters(names, adapter_weights=[weight for _, weight in wanted])

    @property
    def _lora_names(self) -> dict[str, str]:
        """The LoRA files that the pipeline in memory has, with their names there."""
        with self.weights.lease() as networks:
            return networks.get("loras", dict, measure=lambda _: 0)

    def _load_lora(self, path: Path, name: str) -> None:
        if path.suffix != ".safetensors" or not path.is_file():
            raise UsageError(f"a LoRA is a .safetensors file: {path}")
        try:
            self.pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UsageError(f"{path} does not fit {self._name}: {reason}") from error
        known = {one for part in self.pipeline.get_list_adapters().values() for one in part}
        if name not in known:
            raise UsageError(f"{path} does not fit {self._name}: it holds no weights for it")
        self._lora_names[str(path.resolve())] = name

    @cached_property
    def _factor(self) -> int:
        return int(2 ** (len(self._config("vae").get("block_out_channels", (1, 1, 1, 1))) - 1))

    def _config(self, part: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = json.loads(
                (self.folder / part / "config.json").read_text("utf-8")
            )
            return values
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"{self.folder}: {part}/config.json cannot be read") from error


class StableAutoencoder:
    """AutoencoderKL with the scaling that Stable Diffusion's denoisers want."""

    def __init__(self, vae: Any, factor: int) -> None:
        self.vae, self.factor = vae, factor

    @property
    def channels(self) -> int:
        return int(self.vae.config.latent_channels)

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents [n, c, h / factor, w / factor] of images [n, 3, h, w] in [-1, 1]."""
        scaled: Tensor = self.vae.encode(pixels).latent_dist.mode() * self.vae.config.scaling_factor
        return scaled

    def decode(self, latents: Tensor) -> Tensor:
        """Images [n, 3, h, w], about [-1, 1]."""
        images: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return images


def _pipeline_bytes(pipeline: Any) -> int:
    return sum(module_bytes(part) for part in pipeline.components.values())
