"""Language models: one contract, a model in this process or a server by URL, adapters."""

from ragcore.llm.base import LLM, Constraint, Sampling
from ragcore.llm.schema import check_schema

__all__ = ["LLM", "Constraint", "Sampling", "check_schema"]
