"""What turns texts and pictures into vectors."""

from ragcore.encoders.base import ImageTextEncoder, Reranker, Space, TextEncoder

__all__ = ["ImageTextEncoder", "Reranker", "Space", "TextEncoder"]
