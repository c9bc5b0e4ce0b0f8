"""Every model of a process: contracts, the one place that makes and shares them, memory."""

from ragcore.models.composition import LoadedModel, ModelContext, Models, no_weights
from ragcore.models.contracts import (
    LLM,
    NO_ADAPTER,
    AdapterLLM,
    BatchLLM,
    Constraint,
    ImageTextEncoder,
    LikelihoodLLM,
    Reranker,
    Sampling,
    SizedTextEncoder,
    Space,
    TextEncoder,
    TextKind,
    VisionLLM,
    Written,
)
from ragcore.models.memory import (
    Budget,
    FixedBudget,
    ModelMemory,
    Weights,
    folder_bytes,
    module_bytes,
)
from ragcore.models.preparation import Preparation

__all__ = [
    "LLM",
    "NO_ADAPTER",
    "AdapterLLM",
    "BatchLLM",
    "Budget",
    "Constraint",
    "FixedBudget",
    "ImageTextEncoder",
    "LikelihoodLLM",
    "LoadedModel",
    "ModelContext",
    "ModelMemory",
    "Models",
    "Preparation",
    "Reranker",
    "Sampling",
    "SizedTextEncoder",
    "Space",
    "TextEncoder",
    "TextKind",
    "VisionLLM",
    "Weights",
    "Written",
    "folder_bytes",
    "module_bytes",
    "no_weights",
]
