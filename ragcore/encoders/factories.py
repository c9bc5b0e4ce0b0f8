"""What makes ragcore's own encoders and rerankers; registered as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ragcore.encoders.options import may_be_quick, reject_unknown
from ragcore.models import (
    ImageTextEncoder,
    ModelContext,
    Reranker,
    SpanReader,
    TextEncoder,
    Transcriber,
    no_weights,
)
from ragcore.weights import ModelRef, find_entry


def sentence_transformers(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> TextEncoder:
    """A text encoder over a sentence-transformers folder."""
    from ragcore.encoders.text import SentenceTransformerEncoder

    quick = may_be_quick(context.settings)
    return SentenceTransformerEncoder(
        context.folder(reference.name),
        name=space_prefix(reference.name),
        revision=context.revision(reference.name),
        placement=context.placement if quick else context.placement(),
        options=options,
        memory=context.memory,
        quick=quick,
    )


def onnx_text(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> TextEncoder:
    """A text encoder stored as ONNX."""
    from ragcore.encoders.onnx import OnnxTextEncoder

    return OnnxTextEncoder(
        context.folder(reference.name),
        name=space_prefix(reference.name),
        revision=context.revision(reference.name),
        threads=context.settings.threads,
        options=options,
        memory=context.memory,
    )


@no_weights
def openai_text(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> TextEncoder:
    """A text encoder behind OpenAI's embeddings protocol."""
    from ragcore.encoders.openai_text import OpenAITextEncoder

    return OpenAITextEncoder(model=reference.name, options=options)


@no_weights
def ollama_text(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> TextEncoder:
    """A text encoder of Ollama."""
    from ragcore.encoders.ollama_text import OllamaTextEncoder

    return OllamaTextEncoder(model=reference.name, options=options)


def open_clip(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> ImageTextEncoder:
    """An image-text encoder of open_clip."""
    from ragcore.encoders.image_text import OpenClipEncoder

    name = reference.name
    reject_unknown(name, options, frozenset({"backend", "batch_size"}))
    if (entry := find_entry(name)).provider == "hub":  # open_clip code knows hub models by id
        name = f"hub:{entry.repo}" + (f"@{entry.revision}" if entry.revision else "")
    return OpenClipEncoder(name, settings=context.settings, memory=context.memory, **options)


def cross_encoder(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> Reranker:
    """A reranker over a cross-encoder's folder."""
    from ragcore.encoders.reranker import CrossEncoderReranker

    return CrossEncoderReranker(
        context.folder(reference.name),
        name=reference.name,
        placement=context.placement(),
        options=options,
        memory=context.memory,
    )


def onnx_reranker(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> Reranker:
    """A reranker stored as ONNX."""
    from ragcore.encoders.onnx import OnnxReranker

    return OnnxReranker(
        context.folder(reference.name),
        name=reference.name,
        threads=context.settings.threads,
        options=options,
        memory=context.memory,
    )


@no_weights
def served_reranker(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> Reranker:
    """A reranker behind a server."""
    from ragcore.encoders.served_reranker import ServedReranker

    return ServedReranker(model=reference.name, options=options)


def extractive(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> SpanReader:
    """An extractive reader."""
    from ragcore.encoders.extractive_reader import SharedExtractiveReader

    reject_unknown(reference.name, options, frozenset())
    return SharedExtractiveReader(
        context.folder(reference.name), name=reference.name, memory=context.memory
    )


def speech(reference: ModelRef, options: Mapping[str, Any], context: ModelContext) -> Transcriber:
    """A speech recognition model in the layout of the hub."""
    from ragcore.encoders.speech import SpeechRecognizer

    return SpeechRecognizer(
        context.folder(reference.name),
        name=reference.name,
        placement=context.placement(),
        options=options,
        memory=context.memory,
    )


def space_prefix(name: str) -> str:
    """The part of a space's name before "@": a hub model's own name, a local folder's name."""
    if name.startswith("local:"):
        return name.rstrip("/").rpartition("/")[2].removeprefix("local:") or "local"
    return name.removeprefix("hub:").partition("@")[0]
