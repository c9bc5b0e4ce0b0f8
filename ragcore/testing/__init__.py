"""Conformance suites for plug-ins: classes of pytest tests to inherit from. They need pytest.

    from ragcore.testing import TextEncoderConformance

    class TestMine(TextEncoderConformance):
        @pytest.fixture
        def encoder(self):
            return MyEncoder()

ragcore's own readers, stores, sources and models pass the same suites.
"""

import pytest

# Before they are imported, so that a failed assertion shows its values.
pytest.register_assert_rewrite(
    "ragcore.testing.models",
    "ragcore.testing.readers",
    "ragcore.testing.sources",
    "ragcore.testing.vectors",
)

from ragcore.testing.models import (  # noqa: E402
    DiffuserConformance,
    ImageTextEncoderConformance,
    LLMConformance,
    RerankerConformance,
    SpanReaderConformance,
    TextEncoderConformance,
    TranscriberConformance,
)
from ragcore.testing.readers import ReaderConformance  # noqa: E402
from ragcore.testing.sources import SourceConformance  # noqa: E402
from ragcore.testing.vectors import (  # noqa: E402
    VectorBackendConformance,
    VectorStoreConformance,
)

__all__ = [
    "DiffuserConformance",
    "ImageTextEncoderConformance",
    "LLMConformance",
    "ReaderConformance",
    "RerankerConformance",
    "SourceConformance",
    "SpanReaderConformance",
    "TextEncoderConformance",
    "TranscriberConformance",
    "VectorBackendConformance",
    "VectorStoreConformance",
]
