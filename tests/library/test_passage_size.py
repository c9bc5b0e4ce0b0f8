"""Passages are as long as the text encoder reads, or as a collection asks for."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ragcore.catalog.models import Document, Passage
from ragcore.cli.main import main
from ragcore.errors import UsageError
from ragcore.ingest.sizes import Reach, reach_of
from ragcore.ingest.split import approximate_tokens
from ragcore.library import Library
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import DEFAULT_PASSAGES, PassageSize, Progress
from ragcore.weights import WeightStore

TEXT = " ".join(
    f"The survey of the year {1900 + n} counted {n * 37} herons at the lake and in the marshes."
    for n in range(90)
)


@pytest.fixture(scope="module")
def long_profile(
    tiny_profile: Path, starter_weights: WeightStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny models, with a text encoder that reads 512 tokens."""
    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("long")
    torch.manual_seed(3)
    bare = folder / "bare"
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=512,
    )  # fmt: skip
    BertModel(config).save_pretrained(bare)
    BertTokenizerFast.from_pretrained(starter_weights.ensure("minilm-l6-v2")).save_pretrained(bare)
    transformer = models.Transformer(str(bare), max_seq_length=512)
    pooling = models.Pooling(32, pooling_mode="mean")
    model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    model.save(str(folder / "encoder"), create_model_card=False)
    text = tiny_profile.read_text("utf-8").replace(
        f'"local:{tiny_profile.parent / "text"}"', f'"local:{folder / "encoder"}"'
    )
    (folder / "long.toml").write_text(text)
    return folder / "long.toml"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "survey.txt").write_text(TEXT)
    (folder / "short.txt").write_text("A short note.")
    return folder


def library(tmp_path: Path, profile: Path) -> Library:
    settings = Settings(home=tmp_path / "home", profile=str(profile), workers=1, ocr="off")
    return Library(settings)


def lengths(opened: Library) -> list[int]:
    """Estimated tokens of the passages, longest first."""
    with opened.admin.catalog.read() as session:
        texts = [row.text for row in session.query(Passage).all()]
    return sorted(map(approximate_tokens, texts), reverse=True)


def passage_sizes(opened: Library) -> dict[str, str]:
    """The size that each document's passages have, by the document's name."""
    with opened.admin.catalog.read() as session:
        return {row.name: row.passage_size for row in session.query(Document).all()}


def test_passages_are_as_long_as_the_encoder_reads(
    tmp_path: Path, long_profile: Path, tiny_profile: Path, files: Path
) -> None:
    with library(tmp_path, long_profile) as opened:
        opened.ingest([files])
        assert 300 < lengths(opened)[0] <= 476
        sizes = passage_sizes(opened)
        assert sizes["survey.txt"] == "476-0x1.00"
    with library(tmp_path / "other", tiny_profile) as opened:
        opened.ingest([files])
        assert 140 < lengths(opened)[0] <= 220, "of a model that does not say"
        assert set(passage_sizes(opened).values()) == {""}


def test_the_starter_keeps_its_size(starter_models: Models) -> None:
    assert reach_of(starter_models.text_encoder()) == Reach(256, 1.0)
    assert (DEFAULT_PASSAGES.tokens, DEFAULT_PASSAGES.target) == (220, 160)
    assert PassageSize(256 - 36).name == ""


def test_another_model_answers_when_it_is_ready_and_splits_again(
    tmp_path: Path, long_profile: Path, tiny_profile: Path, files: Path
) -> None:
    with library(tmp_path, tiny_profile) as old:
        old.ingest([files])
        before = lengths(old)
        old_space = old.admin.models.text_encoder().space.name
        found: list[str] = []

        def meanwhile(step: Progress) -> None:
            hits = old.search("herons at the lake", kind="passages", cutoff=0.0).hits
            active = old.admin.catalog.active_space(1, "text")
            assert active is not None
            if step.current.startswith("encoder@") and step.done < step.total:
                found.append(f"{active.name} {Path(hits[0].path).name}")

        with library(tmp_path, long_profile) as new:
            # So small batches that the old space is asked while the new one is half full.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("ragcore.ingest.reembed._PASSAGES", 2)
                report = new.admin.reembed(progress=meanwhile)
            assert set(found) == {f"{old_space} survey.txt"}
            assert report.other_sizes == 2
            active = new.admin.catalog.active_space(1, "text")
            assert active is not None
            assert active.name == new.admin.models.text_encoder().space.name != old_space
            assert lengths(new) == before, "split again when the files are ingested"
            again = new.ingest([files])
            assert (again.updated, again.unchanged) == (2, 0)
            assert 300 < lengths(new)[0] <= 476
            assert new.documents.statistics().spaces[active.name] == len(lengths(new))
            assert new.ingest([files]).unchanged == 2
            hits = new.search("herons at the lake", kind="passages", cutoff=0.0).hits
            assert Path(hits[0].path).name == "survey.txt"


def test_a_collection_may_ask_for_another_size(
    tmp_path: Path, long_profile: Path, files: Path
) -> None:
    with library(tmp_path, long_profile) as opened:
        opened.ingest([files])
        assert opened.admin.set_passages(tokens=100, overlap=20) == 2
        assert opened.ingest([files]).updated == 2
        assert 60 < lengths(opened)[0] <= 100
        with opened.admin.catalog.read() as session:
            rows = session.query(Passage).order_by(Passage.document_id, Passage.ordinal).all()
            spans = [(row.start, row.end) for row in rows if row.end - row.start > 50]
        assert all(b[0] < a[1] for a, b in itertools.pairwise(spans))
        assert opened.ingest([files]).unchanged == 2
        with pytest.raises(UsageError, match=r"reads 512 .*--passage-tokens 476"):
            opened.admin.set_passages(tokens=900)
        assert opened.ingest([files]).unchanged == 2
        assert opened.admin.set_passages(tokens=0, overlap=0) == 2
        assert opened.ingest([files]).updated == 2
        assert 300 < lengths(opened)[0] <= 476
        with pytest.raises(UsageError, match="from 32 to 8192"):
            opened.admin.set_passages(tokens=5)


def test_a_profile_may_declare_the_size(tmp_path: Path, long_profile: Path, files: Path) -> None:
    profile = tmp_path / "declared.toml"
    text = long_profile.read_text("utf-8")
    profile.write_text(text.replace("[text_encoder]", "[text_encoder]\npassage_tokens = 120"))
    with library(tmp_path, profile) as opened:
        opened.ingest([files])
        assert 80 < lengths(opened)[0] <= 120


def test_the_size_is_set_on_the_command_line(
    tmp_path: Path, tiny_profile: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ingest", str(files), "-c", "notes"])
    assert ended.value.code == 0
    for arguments, code, result in (
        (["--passage-tokens", "64"], 0, "2 documents of 'notes' have passages of another length"),
        (["--overlap", "-1"], 2, "overlap by 0 to 2048"),
        ([], 2, "give --passage-tokens, --overlap,"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["collections", "set", "notes", *arguments])
        assert ended.value.code == code
        printed = capsys.readouterr()
        assert result in printed.out + printed.err
