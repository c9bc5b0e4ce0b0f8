"""ragcore: one library for a person's documents and images.

    from ragcore import Library

    with Library() as library:
        papers = library.collection("papers")
        papers.ingest(["~/papers"])
        print(papers.ask("What causes flutter?").text)

The names in `__all__` are loaded when they are first used: importing ragcore itself is cheap.
"""

import os
from typing import TYPE_CHECKING

from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.catalog.filters import Filter
    from ragcore.library import Collection, Library
    from ragcore.settings import Settings
    from ragcore.types import Answer, Hit, SearchQuery
else:
    __getattr__ = lazily(
        __name__,
        {
            "ragcore.catalog.filters": "Filter",
            "ragcore.library": "Collection Library",
            "ragcore.settings": "Settings",
            "ragcore.types": "Answer Hit SearchQuery",
        },
    )

__version__ = "0.1.0"  # pyproject.toml reads it from here

__all__ = [
    "Answer", "Collection", "Filter", "Hit", "Library", "SearchQuery", "Settings", "__version__",
]  # fmt: skip

# Encoders, SQLite, readers and language models share the cores. OpenMP's threads spin for
# milliseconds while they wait for work, and keep the cores from the others; asleep at once they
# wake too late for the next token. They spin for about 0.05 ms (docs/measurements/search.md). Read
# when the first OpenMP library is loaded (torch's, or llama.cpp's); whoever sets one of the
# variables decides.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
