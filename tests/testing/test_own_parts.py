"""What ships with ragcore passes the suites that plug-ins are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragcore import extensions
from ragcore.encoders.reranker import CrossEncoderReranker
from ragcore.llm.gguf_export import export_gguf
from ragcore.models import LLM, ImageTextEncoder, Models, Reranker, SpanReader, TextEncoder
from ragcore.models.device import Placement
from ragcore.readers import Reader
from ragcore.settings import Settings
from ragcore.sources import Source, open_source
from ragcore.testing import (
    DiffuserConformance,
    ImageTextEncoderConformance,
    LLMConformance,
    ReaderConformance,
    RerankerConformance,
    SourceConformance,
    SpanReaderConformance,
    TextEncoderConformance,
    VectorBackendConformance,
)
from ragcore.testing.models import TEXTS
from ragcore.vectors import FaissBackend, VectorBackend
from tests.encoders.small_models import save_cross_encoder, save_small_bert, save_span_reader
from tests.ingest.ingest_samples import WRITERS
from tests.shared_models import models_of

SUFFIXES = {
    "archive": ".zip",
    "code": ".py",
    "image": ".jpg",
    "latex": ".tex",
    "markdown": ".md",
    "opendocument": ".odt",
    "subtitles": ".srt",
    "text": ".txt",
}


@pytest.fixture(scope="module")
def models(tiny_profile: Path) -> Models:
    """Tiny models of random weights."""
    return models_of(Settings(profile=str(tiny_profile)))


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture(scope="module")
def gguf_models(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("gguf")
    base = models.profile.llm
    assert base is not None
    export_gguf(Path(base.name.removeprefix("local:")), folder / "tiny.gguf")
    profile = folder / "profile.toml"
    profile.write_text(
        'name = "p"\n[llm]\nkind = "llama.cpp"\nweights = "local:tiny.gguf"\n'
        "options = { threads = 1, slots = 1 }\n"
    )
    made = Models(Settings(profile=str(profile)))
    yield made
    made.close()


class TestReaders(ReaderConformance):
    @pytest.fixture(params=extensions.names("readers"))
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def reader(self, name: str) -> Reader:
        found: Reader = extensions.find("readers", name).load()
        return found

    @pytest.fixture
    def sample(self, name: str, tmp_path: Path) -> Path:
        if name == "video":
            from tests.videos import encode

            return encode(tmp_path / "sample.mp4")
        if name == "audio":
            from tests.tone_speech import speak, write

            return write(tmp_path / "sample.wav", speak("ab", seconds=1))
        suffix = SUFFIXES.get(name, f".{name}")
        return WRITERS[suffix](tmp_path / f"sample{suffix}")


class TestLocalSource(SourceConformance):
    @pytest.fixture
    def open(self, tmp_path: Path) -> Callable[[str], Source]:
        return lambda url: open_source(url, Settings(home=tmp_path / "home"))

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        folder = tmp_path / "files"
        (folder / "below").mkdir(parents=True)
        (folder / "a.txt").write_text("A note.")
        (folder / "below" / "b.txt").write_text("Another one.")
        (folder / "leads out").symlink_to("/etc")
        return str(folder)


class TestFaiss(VectorBackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> VectorBackend:
        return FaissBackend(tmp_path / "indexes")

    @pytest.fixture
    def reopened(self, tmp_path: Path) -> Callable[[], VectorBackend]:
        return lambda: FaissBackend(tmp_path / "indexes")


class TestSentenceTransformers(TextEncoderConformance):
    @pytest.fixture
    def encoder(self, models: Models) -> TextEncoder:
        return models.text_encoder()


class TestStarterTextEncoder(TextEncoderConformance):
    @pytest.fixture
    def encoder(self, starter_models: Models) -> TextEncoder:
        return starter_models.text_encoder()


class TestOpenClip(ImageTextEncoderConformance):
    @pytest.fixture
    def encoder(self, models: Models) -> ImageTextEncoder:
        return models.image_text_encoder()


class TestCrossEncoder(RerankerConformance):
    @pytest.fixture
    def reranker(self, cross_encoder: Path) -> Reranker:
        placement = Placement("cpu", "float32", 1, "as the test wants")
        return CrossEncoderReranker(cross_encoder, name="small", placement=placement)


class TestExtractiveReader(SpanReaderConformance):
    @pytest.fixture
    def reader(self, tmp_path: Path) -> SpanReader:
        """The one that a profile names."""
        base = save_small_bert(tmp_path / "base", TEXTS[0].split())
        weights = save_span_reader(tmp_path / "reader", base)
        profile = tmp_path / "profile.toml"
        profile.write_text(
            f'name = "p"\n[span_reader]\nkind = "extractive"\nweights = "local:{weights}"\n'
        )
        found = Models(Settings(profile=str(profile))).span_reader()
        assert found is not None
        return found


class TestTransformers(LLMConformance):
    @pytest.fixture
    def llm(self, models: Models) -> LLM:
        return models.llm()


class TestLlamaCpp(LLMConformance):
    @pytest.fixture
    def llm(self, gguf_models: Models) -> LLM:
        """The one that a profile names."""
        return gguf_models.llm()


class TestLatentDiffusion(DiffuserConformance):
    @pytest.fixture
    def diffuser(self, models: Models) -> Any:
        return models.diffuser()


class TestTheSuitesCanFail:
    """A suite that passes whatever it is given would be worth nothing."""

    def test_a_wrong_encoder_is_noticed(self) -> None:
        import numpy as np

        from ragcore.models import Space

        class Wrong:
            space = Space("wrong@1", "text", 3)

            def warm_up(self) -> None: ...

            def encode(self, texts: Any, kind: Any = "passage") -> Any:
                return np.full((len(texts), 3), 2, np.float32)

        suite = TextEncoderConformance()
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            suite.test_texts_are_unit_vectors(Wrong(), "query")

    def test_a_wrong_source_is_noticed(self, tmp_path: Path) -> None:
        from ragcore.sources import SourceItem

        class Wrong:
            location = "x://a"

            def list(self) -> Any:
                yield SourceItem("x://ab/1", "1.txt")
                yield SourceItem("x://a/2", "2.txt")

            def fetch(self, item: Any, folder: Path, *, most_bytes: int) -> Path:
                path = folder / "it"
                path.write_bytes(b"as many as there are")
                return path

        suite = SourceConformance()
        with pytest.raises(AssertionError):
            suite.test_locations_are_unique_and_below_the_source(Wrong())
        with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
            suite.test_no_more_bytes_than_allowed(Wrong(), tmp_path)
