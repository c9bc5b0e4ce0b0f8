"""Language models: one in this process or a server by URL, adapters, grammars, vision."""

from ragcore.llm.schema import check_schema

__all__ = ["check_schema"]
