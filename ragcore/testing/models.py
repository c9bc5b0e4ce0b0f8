"""What every model must do: encoders, rerankers, language and diffusion models."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from ragcore.errors import Cancelled, UsageError
from ragcore.models import (
    LLM,
    NO_ADAPTER,
    Constraint,
    ImageTextEncoder,
    LikelihoodLLM,
    Reranker,
    Sampling,
    Space,
    SpanReader,
    TextEncoder,
    Transcriber,
)
from ragcore.types import CancelToken, Message

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.types import FloatArray

TEXTS = (
    "The grey heron stands in shallow water and waits for fish.",
    "Mix flour, water, salt and yeast.",
    "Grüße aus Köln, 東京 и Москва 🚢",
    "x",
)
_ODD = ("", "   \n", "\x00\x07", "\ud800 a lone surrogate", "word " * 20_000)


def check_vectors(
    vectors: FloatArray, count: int, space: Space, *, may_be_zero: bool = False
) -> None:
    """Raises AssertionError unless these are unit vectors [count, dimension] in float32.

    `may_be_zero`: those of texts in which a model may find nothing to read.
    """
    assert isinstance(vectors, np.ndarray)
    assert vectors.dtype == np.float32
    assert vectors.shape == (count, space.dimension)
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors, axis=1)
    if may_be_zero:
        lengths = lengths[lengths > 0]
    np.testing.assert_allclose(lengths, 1.0, atol=1e-3)


def check_space(space: Space, modality: str) -> None:
    """Raises AssertionError unless the space names a model at a revision."""
    assert space.modality == modality
    assert space.dimension > 0
    assert "@" in space.name, "a space is named model@revision: other vectors, another name"
    assert not set(space.name) & set("\n\t\0")
    assert len(space.name) <= 300


class TextEncoderConformance:
    """Override the fixture `encoder`.

    `tolerance` is how far a text's vector may depend on the texts beside it, as a difference of
    cosines.
    """

    tolerance: ClassVar[float] = 0.01

    @pytest.fixture
    def encoder(self) -> TextEncoder:
        raise NotImplementedError("override the fixture `encoder`: it returns a TextEncoder")

    def test_its_space(self, encoder: TextEncoder) -> None:
        encoder.warm_up()
        check_space(encoder.space, "text")
        assert encoder.space == encoder.space

    @pytest.mark.parametrize("kind", ["query", "passage"])
    def test_texts_are_unit_vectors(self, encoder: TextEncoder, kind: Any) -> None:
        check_vectors(encoder.encode(TEXTS, kind), len(TEXTS), encoder.space)
        check_vectors(encoder.encode([], kind), 0, encoder.space)

    def test_odd_texts_have_vectors_too(self, encoder: TextEncoder) -> None:
        check_vectors(encoder.encode(_ODD), len(_ODD), encoder.space, may_be_zero=True)

    def test_a_text_has_its_own_vector(self, encoder: TextEncoder) -> None:
        together = encoder.encode(TEXTS)
        for at, text in enumerate(TEXTS):
            alone = encoder.encode([text])[0]
            assert float(alone @ together[at]) > 1 - self.tolerance
        cosines = together @ together.T
        np.fill_diagonal(cosines, -1)
        assert cosines.max() < 1 - self.tolerance, "different texts have the same vector"

    def test_several_threads_at_once(self, encoder: TextEncoder) -> None:
        expected = encoder.encode(TEXTS)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: encoder.encode(TEXTS), range(8)):
                np.testing.assert_allclose(found, expected, atol=1e-3)


class ImageTextEncoderConformance:
    """Override the fixture `encoder`."""

    @pytest.fixture
    def encoder(self) -> ImageTextEncoder:
        raise NotImplementedError("override the fixture `encoder`: it returns an ImageTextEncoder")

    @pytest.fixture
    def images(self) -> Sequence[Image]:
        from PIL import Image, ImageDraw

        sun = Image.new("RGB", (320, 240), "navy")
        ImageDraw.Draw(sun).ellipse((80, 40, 240, 200), fill="gold")
        return [
            sun,
            Image.new("L", (64, 400), 90),
            Image.new("RGBA", (50, 50), (200, 30, 30, 128)),
            sun.convert("P"),
            Image.new("RGB", (3, 2), "white"),
        ]

    def test_its_space(self, encoder: ImageTextEncoder) -> None:
        encoder.warm_up()
        check_space(encoder.space, "image")

    def test_images_and_texts_are_unit_vectors(
        self, encoder: ImageTextEncoder, images: Sequence[Image]
    ) -> None:
        check_vectors(encoder.encode_images(images), len(images), encoder.space)
        check_vectors(encoder.encode_images([]), 0, encoder.space)
        check_vectors(encoder.encode_texts(TEXTS), len(TEXTS), encoder.space)
        check_vectors(encoder.encode_texts([]), 0, encoder.space)
        check_vectors(encoder.encode_texts(_ODD), len(_ODD), encoder.space, may_be_zero=True)

    def test_an_image_has_its_own_vector(
        self, encoder: ImageTextEncoder, images: Sequence[Image]
    ) -> None:
        together = encoder.encode_images(images)
        for at, image in enumerate(images):
            assert float(encoder.encode_images([image])[0] @ together[at]) > 0.99


class RerankerConformance:
    """Override the fixture `reranker`.

    `tolerance` is how far a passage's score may depend on the passages beside it.
    """

    tolerance: ClassVar[float] = 0.05

    @pytest.fixture
    def reranker(self) -> Reranker:
        raise NotImplementedError("override the fixture `reranker`: it returns a Reranker")

    def test_a_score_for_each_passage(self, reranker: Reranker) -> None:
        scores = reranker.scores("Which bird eats fish?", TEXTS)
        assert scores.dtype == np.float32
        assert scores.shape == (len(TEXTS),)
        assert np.isfinite(scores).all()
        empty = reranker.scores("Which bird eats fish?", [])
        assert empty.dtype == np.float32
        assert empty.shape == (0,)

    def test_odd_texts_have_scores_too(self, reranker: Reranker) -> None:
        assert np.isfinite(reranker.scores("", _ODD)).all()

    def test_scores_are_those_of_the_passages(self, reranker: Reranker) -> None:
        query = "Which bird eats fish?"
        scores = reranker.scores(query, TEXTS)
        turned = reranker.scores(query, TEXTS[::-1])[::-1]
        np.testing.assert_allclose(scores, turned, atol=self.tolerance)


class SpanReaderConformance:
    """Override the fixture `reader`."""

    @pytest.fixture
    def reader(self) -> SpanReader:
        raise NotImplementedError("override the fixture `reader`: it returns a SpanReader")

    def test_a_span_in_each_passage_with_text(self, reader: SpanReader) -> None:
        spans = reader.read("Which bird eats fish?", [*TEXTS, ""], [*("a title",) * len(TEXTS), ""])
        assert sorted(span.passage for span in spans) == list(range(len(TEXTS)))
        for span in spans:
            assert 0 <= span.start < span.end <= len(TEXTS[span.passage])
            assert np.isfinite([span.score, span.relevance]).all()
        ranks = [span.rank for span in spans]
        assert ranks == sorted(ranks, reverse=True)
        assert reader.read("Which bird eats fish?", []) == []

    def test_odd_texts_are_read_too(self, reader: SpanReader) -> None:
        for span in reader.read("", _ODD):
            assert 0 <= span.start < span.end <= len(_ODD[span.passage])


class LLMConformance:
    """Override the fixture `llm`.

    `checks_context`: a prompt beyond the context is refused before it is sent, as it is unless only
    a server knows.
    """

    checks_context: ClassVar[bool] = True
    messages: ClassVar[tuple[Message, ...]] = (
        Message("system", "Answer in a few words."),
        Message("user", "What color is the sky?"),
    )

    @pytest.fixture
    def llm(self) -> LLM:
        raise NotImplementedError("override the fixture `llm`: it returns an LLM")

    def said(self, llm: LLM, sampling: Sampling, **how: Any) -> str:
        return "".join(llm.stream(self.messages, sampling, **how))

    def test_what_it_is(self, llm: LLM) -> None:
        llm.warm_up()
        assert isinstance(llm.name, str)
        assert llm.name
        assert isinstance(llm.context_length, int)
        assert llm.context_length > 0

    def test_tokens_are_counted(self, llm: LLM) -> None:
        counts = [llm.count_tokens(text) for text in ("", "heron", "heron " * 50, "heron " * 100)]
        assert all(isinstance(count, int) and count >= 0 for count in counts)
        assert counts == sorted(counts)
        assert counts[1] < counts[-1]

    def test_the_prompt_holds_what_was_said(self, llm: LLM) -> None:
        prompt = llm.render(self.messages)
        assert "What color is the sky?" in prompt

    def test_answers_come_in_pieces(self, llm: LLM) -> None:
        pieces = list(llm.stream(self.messages, Sampling(max_tokens=12)))
        assert all(isinstance(piece, str) for piece in pieces)

    def test_a_greedy_answer_is_the_same_again(self, llm: LLM) -> None:
        sampling = Sampling(max_tokens=12)
        assert self.said(llm, sampling) == self.said(llm, sampling)

    def test_an_answer_ends_in_time(self, llm: LLM) -> None:
        assert len(self.said(llm, Sampling(max_tokens=1))) <= len(
            self.said(llm, Sampling(max_tokens=24))
        )

    def test_the_bare_model_may_be_asked_for(self, llm: LLM) -> None:
        assert isinstance(self.said(llm, Sampling(max_tokens=4), adapter=NO_ADAPTER), str)

    def test_a_constraint_is_kept_or_refused(self, llm: LLM) -> None:
        choices = ("red", "blue")
        try:
            answer = self.said(llm, Sampling(max_tokens=8), constraint=Constraint(choices=choices))
        except UsageError:
            return  # it cannot be constrained, and says so
        assert answer.strip() in choices

    def test_a_prompt_beyond_the_context_is_refused(self, llm: LLM) -> None:
        if not self.checks_context:
            pytest.skip("only its server knows")
        long = (Message("user", "heron " * (2 * llm.context_length)),)
        with pytest.raises(UsageError):
            list(llm.stream(long, Sampling(max_tokens=4)))

    def test_it_can_be_cancelled(self, llm: LLM) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            list(llm.stream(self.messages, Sampling(max_tokens=200), cancel=token))

    def test_likelihoods_are_probabilities(self, llm: LLM) -> None:
        if not isinstance(llm, LikelihoodLLM):
            pytest.skip("it cannot say how likely an answer is")
        assert 0 <= llm.likelihood(self.messages, "blue") <= 1


class DiffuserConformance:
    """Override the fixture `diffuser`: a latent diffusion model in the manner of diffusers."""

    sampler: ClassVar[str] = "ddim"

    @pytest.fixture
    def diffuser(self) -> Any:
        raise NotImplementedError("override the fixture `diffuser`: it returns a Diffuser")

    def test_what_it_is(self, diffuser: Any) -> None:
        assert diffuser.card.name
        assert diffuser.card.size > 0
        assert diffuser.size_step > 0
        assert diffuser.card.size % diffuser.size_step == 0
        assert isinstance(diffuser.device, str)
        assert all(isinstance(kind, str) for kind in diffuser.control_kinds)

    def test_latents_become_images_of_its_size(self, diffuser: Any) -> None:
        import torch

        size = diffuser.card.size
        with diffuser.in_use(), torch.inference_mode():
            coder = diffuser.autoencoder
            pixels = torch.zeros(1, 3, size, size, device=diffuser.device, dtype=diffuser.dtype)
            latents = coder.encode(pixels)
            assert latents.shape == (1, coder.channels, size // coder.factor, size // coder.factor)
            assert coder.decode(latents).shape == pixels.shape

    def test_one_step_of_denoising(self, diffuser: Any) -> None:
        import torch

        with diffuser.in_use(), torch.inference_mode():
            side = diffuser.card.size // diffuser.autoencoder.factor
            embeddings = diffuser.embed_prompts(["a red ship", ""], diffuser.card.size)
            scheduler = diffuser.scheduler(self.sampler)
            scheduler.set_timesteps(2)
            latents = torch.zeros(
                2,
                diffuser.autoencoder.channels,
                side,
                side,
                device=diffuser.device,
                dtype=diffuser.dtype,
            )
            noise = diffuser.denoiser(latents, scheduler.timesteps[0], **embeddings.inputs()).sample
            assert noise.shape == latents.shape
            assert bool(torch.isfinite(noise).all())

    def test_what_is_not_there_is_refused(self, diffuser: Any) -> None:
        with pytest.raises(UsageError):
            diffuser.scheduler("a sampler of no name")
        with pytest.raises(UsageError):
            diffuser.controlnet("a condition of no name")


class TranscriberConformance:
    """Override the fixtures `transcriber` and `speech`.

    `speech` is float32 [n] in [-1, 1], mono, 16,000 a second, in which something is said.
    """

    @pytest.fixture
    def transcriber(self) -> Transcriber:
        raise NotImplementedError("override the fixture `transcriber`: it returns a Transcriber")

    @pytest.fixture
    def speech(self) -> FloatArray:
        raise NotImplementedError("override the fixture `speech`: it returns sound with speech")

    def test_what_is_said_has_times(self, transcriber: Transcriber, speech: FloatArray) -> None:
        transcriber.warm_up()
        assert transcriber.name
        found = transcriber.transcribe(speech)
        length = len(speech) / 16_000
        assert found, "nothing was recognized in `speech`"
        assert all(one.text == one.text.strip() != "" for one in found)
        assert all(0 <= one.start <= one.end <= length + 0.1 for one in found)
        assert [one.start for one in found] == sorted(one.start for one in found)

    def test_silence_and_nothing(self, transcriber: Transcriber) -> None:
        assert not transcriber.transcribe(np.zeros(16_000 * 40, np.float32))
        assert not transcriber.transcribe(np.zeros(0, np.float32))

    def test_it_is_cancelled(self, transcriber: Transcriber, speech: FloatArray) -> None:
        cancel = CancelToken()
        cancel.cancel()
        with pytest.raises(Cancelled):
            transcriber.transcribe(speech, cancel=cancel)

    def test_several_threads_at_once(self, transcriber: Transcriber, speech: FloatArray) -> None:
        expected = [one.text for one in transcriber.transcribe(speech)]
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(lambda _: transcriber.transcribe(speech), range(3)):
                assert [one.text for one in found] == expected
