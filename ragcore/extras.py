"""Optional dependencies: what each extra of pyproject.toml is imported as, and the check for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from ragcore.errors import MissingExtra

# Modules whose absence means that the extra is not installed (tests/test_packaging.py compares
# with pyproject.toml).
EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "diffusion": ("diffusers",),
        "grammar": ("xgrammar", "jsonschema"),
        "haystack": ("haystack",),
        "langchain": ("langchain_core",),
        "llamacpp": ("xllamacpp",),
        "llamaindex": ("llama_index",),
        "mcp": ("mcp",),
        "milvus": ("pymilvus", "grpc"),
        "mteb": ("mteb",),
        "ocr": ("rapidocr",),
        "office": (
            "docx",
            "pptx",
            "openpyxl",
            "defusedxml",
            "olefile",
            "pylatexenc",
            "striprtf",
        ),
        "places": ("rgeocoder",),
        "postgres": ("psycopg",),
        "ray": ("ray",),
        "remote": (
            "fsspec",
            "s3fs",
            "paramiko",
            "webdav4",
            "requests",
            "keyring",
            "imap_tools",
            "dulwich",
        ),
        "serve": ("fastapi", "uvicorn", "prometheus_client", "python_multipart"),
        "train": ("matplotlib", "sacrebleu"),
        "ui": ("streamlit", "plotly"),
        "video": ("av",),
        "watch": ("watchfiles",),
        "web": ("trafilatura", "feedparser", "protego"),
    }
)


def missing_modules(extra: str) -> tuple[str, ...]:
    """Which modules of an extra cannot be imported here. KeyError for an unknown extra."""
    return tuple(module for module in EXTRAS[extra] if find_spec(module) is None)


def install_hint(*extras: str) -> str:
    """The command that installs the extras, as it is typed."""
    return f'pip install "ragcore[{",".join(extras)}]"'


def require_extra(extra: str, purpose: str) -> None:
    """Raise MissingExtra, naming the `pip install` to run, unless the extra is installed.

    Called where the extra's modules are about to be imported. `purpose` says in a few words,
    plural, what they are needed for: "the browser pages".
    """
    if missing := missing_modules(extra):
        raise MissingExtra(
            f"{purpose} need {', '.join(missing)}, not installed here: {install_hint(extra)}"
        )
