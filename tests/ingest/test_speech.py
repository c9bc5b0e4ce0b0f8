"""Speech in recordings and videos: read by a small model that was trained here on tones."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from ragcore.cli.main import main
from ragcore.encoders.speech import SpeechRecognizer, _segments
from ragcore.errors import UnreadableFile, UsageError
from ragcore.library import Library
from ragcore.models import Models, place
from ragcore.readers import ReadOptions, read, read_sound
from ragcore.settings import Settings
from ragcore.testing import TranscriberConformance
from ragcore.types import CancelToken, SearchQuery

from ..api.conftest import running
from ..tone_speech import RATE, encode, save_recognizer, speak, write
from ..videos import RED, av

SPEECH = ReadOptions(speech=True)
HERON = "the heron waits for fish"


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_recognizer(tmp_path_factory.mktemp("speech") / "tones")


@pytest.fixture(scope="module")
def models(
    tiny_profile: Path, recognizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Models:
    profile = tmp_path_factory.mktemp("profile") / "spoken.toml"
    part = f'[transcriber]\nweights = "local:{recognizer}"\nkind = "automatic-speech-recognition"\n'
    profile.write_text(tiny_profile.read_text() + part)
    return Models(Settings(profile=str(profile), device="cpu", precision="float32"))


@pytest.fixture
def library(tmp_path: Path, models: Models) -> Library:
    settings = models.settings.model_copy(update={"home": tmp_path / "home", "ocr": "off"})
    return Library(settings, models=models)


@pytest.mark.full
class TestTones(TranscriberConformance):
    @pytest.fixture
    def transcriber(self, models: Models) -> SpeechRecognizer:
        found = models.transcriber()
        assert isinstance(found, SpeechRecognizer)
        return found

    @pytest.fixture
    def speech(self) -> np.ndarray:
        return speak(HERON, at=2.0, seconds=20)


@pytest.mark.parametrize(
    ("name", "codec", "media_type"),
    [
        ("a.wav", "pcm_s16le", "audio/wav"),
        ("a.flac", "flac", "audio/flac"),
        ("a.mp3", "libmp3lame", "audio/mpeg"),
        ("a.ogg", "flac", "audio/ogg"),
        ("a.opus", "libopus", "audio/ogg"),
        ("a.m4a", "aac", "audio/mp4"),
        ("a.aac", "aac", "audio/aac"),
        ("a.aiff", "pcm_s16be", "audio/aiff"),
        ("a.mka", "aac", "audio/x-matroska"),
        ("a.wma", "wmav2", "audio/x-ms-wma"),
    ],
)
def test_sound_of_every_format_in_pieces(
    tmp_path: Path, name: str, codec: str, media_type: str
) -> None:
    if name == "a.mka":
        path = write(tmp_path / "a.mkv", speak("ab", at=1.0, seconds=9), codec=codec)
        path = path.rename(tmp_path / name)
    else:
        rate = {"libopus": 48_000, "wmav2": 44_100}.get(codec, RATE)
        path = write(tmp_path / name, speak("ab", at=1.0, seconds=9), codec=codec, rate=rate)
    found = read(path, options=SPEECH)
    assert found.media_type == media_type
    if codec != "aac" or name != "a.aac":  # whose length is estimated
        assert found.sound == pytest.approx(9, abs=0.3)
    whole = read_sound(path, 0, 60).astype(np.float32) / 32768
    assert len(whole) / RATE == pytest.approx(9, abs=0.2)
    assert np.abs(whole[: int(0.9 * RATE)]).max() < 0.02
    assert np.abs(whole[RATE : int(1.3 * RATE)]).max() > 0.1
    late = read_sound(path, 1.0, 0.2).astype(np.float32) / 32768
    assert len(late) == int(0.2 * RATE)
    assert np.abs(late).max() > 0.1
    assert len(read_sound(path, 100, 10)) == 0


@pytest.mark.full
def test_a_hit_is_at_its_second(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    later = np.concatenate([speak("nine guilders", at=1.0, seconds=350), speak(HERON, at=2.0)])
    write(folder / "birds.flac", later, codec="flac", title="Birds")
    write(folder / "tax.wav", speak("the tax is due in may", at=5.0, seconds=12))
    write(folder / "quiet.wav", np.zeros(5 * RATE, np.float32))
    with library:
        report = library.ingest([folder])
        assert (report.added, len(report.failed)) == (2, 1)
        assert report.failed[0].error == "no speech was recognized in it"
        best = library.search(SearchQuery(text="heron fish", kind="passages")).hits[0]
        assert (best.document, best.media_type) == ("Birds", "audio/flac")
        assert HERON in best.text
        assert best.second is not None
        page = library.documents.page(best.document_id, 1).text
        assert page.splitlines()[0] == "[0:00:01] nine guilders"
        assert f"[0:05:52] {HERON}" in page
        tax = library.search(SearchQuery(text="tax due", kind="passages")).hits[0]
        assert tax.second == 5
        assert [row.media_type for row in library.documents.list(where={"type": "audio"})[0]]
        assert library.ingest([folder]).unchanged == 2


@pytest.mark.full
def test_the_sound_of_a_video(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "herons.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        spoken = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        pixels = np.full((96, 160, 3), RED, np.uint8)
        for _ in range(80):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode())
        encode(container, spoken, speak(HERON, at=2.0, seconds=8))
    without = read(path)
    assert without.coverage is not None
    assert [one.where for one in without.coverage.skipped] == ["sound"]
    with library:
        assert library.ingest([path]).images == 1
        hit = library.search(SearchQuery(text="heron", kind="passages")).hits[0]
        assert (hit.second, hit.text) == (2, f"[0:00:02] {HERON}")
        (document,) = library.documents.list()[0]
        assert document.coverage is not None
        assert (document.coverage.pages.read, document.coverage.skipped) == (1, ())


def test_a_recording_in_an_archive_is_reported(tmp_path: Path) -> None:
    sound = write(tmp_path / "a.wav", speak("ab", seconds=2))
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(sound, "a.wav")
        archive.writestr("note.txt", "The heron waits.")
    found = read(tmp_path / "both.zip", options=SPEECH).coverage
    assert found is not None
    assert (found.attachments.found, found.attachments.read) == (2, 1)
    assert [(one.where, one.why) for one in found.skipped] == [
        ("a.wav", "what is said in a file inside another is not read: add it by itself")
    ]


def test_text_that_begins_like_a_recording_is_text(tmp_path: Path) -> None:
    for word in ("ID3", "OggS", "fLaC", "#!AMR"):
        path = tmp_path / "note.txt"
        path.write_text(f"{word} marks the beginning of a recording.")
        assert read(path, options=SPEECH).media_type == "text/plain"


def test_single_words_keep_their_place() -> None:
    chunks = [
        {"text": "Yes.", "timestamp": (0.0, 1.0)},
        {"text": " I think so.", "timestamp": (1.0, 3.0)},
        {"text": "No.", "timestamp": (3.0, None)},
    ]
    found = list(_segments({"text": "", "chunks": chunks}, 10.0, 20.0))
    assert [(one.start, one.end, one.text) for one in found] == [
        (10.0, 11.0, "Yes."),
        (11.0, 13.0, "I think so."),
        (13.0, 20.0, "No."),
    ]


def test_without_a_transcriber_it_is_said(tmp_path: Path, tiny_profile: Path) -> None:
    path = write(tmp_path / "a.wav", speak("ab", seconds=2))
    with pytest.raises(UnreadableFile, match=r"needs a profile with a \[transcriber\]"):
        read(path)
    with Library(Settings(home=tmp_path / "home", profile=str(tiny_profile))) as library:
        assert "transcriber" in library.ingest([path]).failed[0].error
        with pytest.raises(UsageError, match="has no transcriber"):
            library.models.transcribe(path)


@pytest.mark.parametrize("content", [b"RIFF\x24\0\0\0WAVEfmt ", b"ID3\4\0\0\0\0\0\0", b"fLaC\0"])
def test_damaged_recordings_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile) as failed:
        read(path, options=SPEECH)
    assert "\n" not in str(failed.value)


def test_a_recording_that_names_other_files_opens_none(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.wav", speak("ab", seconds=2))
    playlist = tmp_path / "a.mp3"
    playlist.write_text(f"ffconcat version 1.0\nfile {secret}\n")
    with pytest.raises(UnreadableFile):
        read(playlist, options=SPEECH)


@pytest.mark.full
def test_a_file_by_its_bytes(library: Library, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", speak(HERON, at=1.0, seconds=8))
    with library:
        (said,) = library.models.transcribe(path.read_bytes(), name="a.wav")
        assert (said.text, round(said.start), said.end > said.start) == (HERON, 1, True)
        with pytest.raises(UnreadableFile):
            library.models.transcribe(b"no recording", name="a.wav")
        with pytest.raises(UsageError, match="one language"):
            library.models.transcribe(path, language="de")


@pytest.mark.full
def test_over_http_by_openais_client(library: Library, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", speak(HERON, at=1.0, seconds=8))
    with library, running(library, keys_needed=False) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)
        made = client.audio.transcriptions
        assert made.create(model="whisper-1", file=path).text == HERON
        whole = made.create(model="whisper-1", file=path, response_format="verbose_json")
        assert whole.segments is not None
        (segment,) = whole.segments
        assert (segment.text, round(segment.start)) == (HERON, 1)
        assert segment.start < segment.end == whole.duration <= 8
        vtt = made.create(model="whisper-1", file=path, response_format="vtt")
        head, cue = str(vtt).strip().split("\n\n")
        times, words = cue.split("\n")
        assert (head, words) == ("WEBVTT", HERON)
        assert times.startswith(("00:00:00.", "00:00:01."))
        for status, form, content in (
            (404, {"model": "another"}, path.read_bytes()),
            (400, {"language": "de"}, path.read_bytes()),
            (422, {}, b"no recording"),
        ):
            answer = httpx.post(
                f"{url}/v1/audio/transcriptions",
                data=form,
                files={"file": ("a.wav", content)},
                timeout=600,
            )
            assert (answer.status_code, "error" in answer.json()) == (status, True)
        assert not library.collections()  # nothing is kept


@pytest.mark.full
def test_by_the_command_line(
    models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAGCORE_PROFILE", models.settings.profile)
    path = write(tmp_path / "a.wav", speak(HERON, at=3.0, seconds=8))
    for arguments in (["ingest", str(path)], ["search", "heron"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    assert "at 0:03" in capsys.readouterr().out


@pytest.mark.full
def test_cancelled_between_pieces(models: Models) -> None:
    from ragcore.errors import Cancelled

    cancel = CancelToken()
    cancel.cancel()
    transcriber = models.transcriber()
    assert transcriber is not None
    with pytest.raises(Cancelled):
        transcriber.transcribe(speak("ab", seconds=2), cancel=cancel)


# --- Whisper ---------------------------------------------------------------------------------


def save_whisper(folder: Path) -> Path:
    """A Whisper of random weights, with a vocabulary of bytes and times."""
    import json

    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir()
    bytes_ = list(bytes_to_unicode().values())
    vocabulary = {letter: n for n, letter in enumerate(bytes_)}
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>",
               "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
               "<|notimestamps|>"]  # fmt: skip
    times = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
    ids = {name: len(bytes_) + n for n, name in enumerate((*special, *times))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {special[0]: ids[special[0]]}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_tokens([*special, *times], special_tokens=True)
    ids = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in (*special, *times)}
    end, start = ids[special[0]], ids[special[1]]
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_target_positions=64,
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=start,
        )
    )
    model.generation_config = GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        max_length=40,
        is_multilingual=True,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        lang_to_id={name: ids[name] for name in ("<|en|>", "<|de|>")},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_whisper_gives_times_and_takes_a_language(tmp_path: Path) -> None:
    folder = save_whisper(tmp_path / "whisper")
    recognizer = SpeechRecognizer(
        folder, name="whisper", placement=place(Settings(device="cpu", precision="float32"))
    )
    sound = np.concatenate([speak(HERON, at=1.0, seconds=30), speak(HERON, seconds=20)])
    for language in ("", "de"):
        found = recognizer.transcribe(sound, language=language)
        assert all(0 <= one.start <= one.end <= 50 for one in found)
        assert [one.start for one in found] == sorted(one.start for one in found)
    with pytest.raises(UsageError, match="does not know the language 'xx'"):
        recognizer.transcribe(sound, language="xx")
    with pytest.raises(UsageError, match="unknown option"):
        SpeechRecognizer(folder, name="w", placement=place(Settings()), options={"beam": 2})
    shutil.rmtree(folder)
