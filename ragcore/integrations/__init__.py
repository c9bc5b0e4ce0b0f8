"""Adapters for other frameworks: LangChain, LlamaIndex, Haystack, MTEB.

Each module needs its framework (`pip install "ragcore[langchain]"`, …) and is imported by itself:
`from ragcore.integrations.langchain import RagcoreRetriever`.
"""
