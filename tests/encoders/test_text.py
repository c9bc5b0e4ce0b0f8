"""SentenceTransformerEncoder: the bare model's vectors, in order, whatever the input."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from ragcore.encoders.text import SentenceTransformerEncoder
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models import Models
from ragcore.models.device import Placement
from ragcore.settings import Settings
from ragcore.weights import WeightStore

from .small_models import save_text_encoder

CPU = Placement("cpu", "float32", 1, "as the test wants")
TEXTS = [
    "A ship sails down the river.",
    "",
    "word " * 600,
    "Steuerrecht — §12 (Abs. 3) 漢字 🙂",
    "cats",
    "What is the law of the sea?\n\nIt is old.",
    "\x00\ud7ff \t",
] + [f"passage number {n} " + "about tides " * (n % 40) for n in range(60)]


@pytest.fixture(scope="module")
def minilm(starter_weights: WeightStore) -> SentenceTransformerEncoder:
    folder = starter_weights.ensure("minilm-l6-v2")
    return SentenceTransformerEncoder(folder, name="minilm", revision="0", placement=CPU)


def small(folder: Path, **options: object) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(
        folder, name="small", revision="0", placement=CPU, options=options
    )


def test_vectors_are_the_bare_models(
    minilm: SentenceTransformerEncoder, starter_weights: WeightStore
) -> None:
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(str(starter_weights.ensure("minilm-l6-v2")), device="cpu")
    expected = bare.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    vectors = minilm.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_nothing_gives_nothing(minilm: SentenceTransformerEncoder) -> None:
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.encode([]).dtype == np.float32
    with pytest.raises(UsageError, match="a list of texts"):
        minilm.encode("one text")


def test_broken_unicode_is_replaced_not_refused(minilm: SentenceTransformerEncoder) -> None:
    broken, repaired = minilm.encode(["caf\udce9 law", "caf? law"])
    np.testing.assert_allclose(broken, repaired, atol=1e-6)


def test_meaning_is_in_the_vectors(minilm: SentenceTransformerEncoder) -> None:
    dog, puppy, law = minilm.encode(["a dog", "a puppy", "tax law"])
    assert dog @ puppy > 0.6 > 0.3 > dog @ law


def test_long_texts_are_cut_where_the_model_says(minilm: SentenceTransformerEncoder) -> None:
    long, longer = minilm.encode(["tide " * 256, "tide " * 5000])
    np.testing.assert_allclose(long, longer, atol=1e-6)


def test_results_do_not_depend_on_the_company(minilm: SentenceTransformerEncoder) -> None:
    together = minilm.encode(TEXTS)
    alone = np.concatenate([minilm.encode([text]) for text in TEXTS[:8]])
    np.testing.assert_allclose(together[:8], alone, atol=2e-6)


def test_threads_get_their_own_results(minilm: SentenceTransformerEncoder) -> None:
    expected = minilm.encode(TEXTS)
    wrong: list[object] = []

    def work(start: int) -> None:
        try:
            for _ in range(3):
                got = minilm.encode(TEXTS[start::4])
                np.testing.assert_allclose(got, expected[start::4], atol=2e-6)
        except (Exception, AssertionError) as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bfloat16_points_the_same_way(
    minilm: SentenceTransformerEncoder, starter_weights: WeightStore
) -> None:
    half = SentenceTransformerEncoder(
        starter_weights.ensure("minilm-l6-v2"),
        name="minilm",
        revision="0",
        placement=Placement("cpu", "bfloat16", 1, "as the test wants"),
    )
    texts = [text for text in TEXTS[:20] if text]
    vectors = half.encode(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    cosines = (vectors * minilm.encode(texts)).sum(axis=1)
    assert cosines.min() > 0.999
    assert half.space == minilm.space


def test_prompts_of_the_model_are_put_in_front(tmp_path: Path) -> None:
    plain = small(save_text_encoder(tmp_path / "plain"))
    prompted = small(
        save_text_encoder(tmp_path / "prompted", prompts={"query": "query : ", "document": "a "})
    )
    texts = ["what is law ?", "the red ship"]
    expected = plain.encode([f"query : {text}" for text in texts])
    np.testing.assert_allclose(prompted.encode(texts, "query"), expected, atol=1e-6)
    expected = plain.encode([f"a {text}" for text in texts])
    np.testing.assert_allclose(prompted.encode(texts, "passage"), expected, atol=1e-6)
    assert not np.allclose(prompted.encode(texts), prompted.encode(texts, "query"), atol=1e-3)


def test_prompts_of_the_profile_win(tmp_path: Path) -> None:
    folder = save_text_encoder(tmp_path, prompts={"query": "query : "})
    encoder = small(folder, query_prompt="what is ")
    expected = small(folder, query_prompt="").encode(["what is law"], "query")
    np.testing.assert_allclose(encoder.encode(["law"], "query"), expected, atol=1e-6)


def test_options_that_change_vectors_change_the_space(tmp_path: Path) -> None:
    folder = save_text_encoder(tmp_path)
    plain = small(folder)
    assert plain.space.name == "small@0"
    assert plain.space.dimension == 32
    assert small(folder, batch_tokens=64).space == plain.space
    limited = small(folder, max_tokens=8)
    assert limited.space.name.startswith("small@0+")
    assert limited.space != small(folder, max_tokens=16).space
    text = "dog cat " * 20
    assert not np.allclose(limited.encode([text]), plain.encode([text]), atol=1e-4)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown option 'promt': use batch_tokens"):
        small(tmp_path, promt="x")
    with pytest.raises(UsageError, match="batch_tokens"):
        small(tmp_path, batch_tokens=-1)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="cannot be loaded as a sentence-transformers"):
        small(tmp_path).warm_up()


def test_the_starter_profile_gives_minilm(settings: Settings) -> None:
    models = Models(settings)
    encoder = models.text_encoder()
    assert encoder.space.name.startswith("minilm-l6-v2@")
    assert encoder.space.dimension == 384
    assert models.text_encoder() is encoder
