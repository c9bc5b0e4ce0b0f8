"""Language models: one contract, a model in this process or a server by URL, adapters."""

from ragcore.llm.base import LLM, Constraint, Sampling

__all__ = ["LLM", "Constraint", "Sampling"]
