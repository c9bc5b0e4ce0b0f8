"""Videos, encoded here: frames at scene changes, their seconds, and what damaged files come to."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from ragcore.errors import UnreadableFile
from ragcore.library import Library
from ragcore.readers import ReadOptions, read
from ragcore.settings import Settings
from ragcore.types import SearchQuery

from ..shared_models import models_of
from ..videos import BLUE, GREEN, RED, av, encode


@pytest.mark.parametrize(
    ("name", "codec", "media_type"),
    [
        ("a.mp4", "mpeg4", "video/mp4"),
        ("a.mov", "mpeg4", "video/quicktime"),
        ("a.webm", "libvpx", "video/webm"),
        ("a.mkv", "mpeg4", "video/x-matroska"),
        ("a.avi", "mpeg4", "video/x-msvideo"),
        ("a.wmv", "wmv2", "video/x-ms-wmv"),
        ("a.flv", "flv", "video/x-flv"),
        ("a.m2t", "mpeg2video", "video/mp2t"),
    ],
)
def test_one_frame_for_each_scene(tmp_path: Path, name: str, codec: str, media_type: str) -> None:
    if codec == "mpeg2video":
        path = tmp_path / name
        encode(path.with_suffix(".ts"), codec=codec, size=(320, 240)).rename(path)
    else:
        path = encode(tmp_path / name, codec=codec)
    found = read(path)
    assert found.media_type == media_type
    assert [round(image.second or 0) for image in found.images] == [0, 2, 4]
    for image, color in zip(found.images, (RED, GREEN, BLUE), strict=True):
        assert image.pixels is not None
        assert image.data is not None
        assert image.data.startswith(b"\xff\xd8")
        corner = image.pixels[-8:, -8:].reshape(-1, 3).mean(axis=0)
        assert np.abs(corner - color).max() < 40
    assert found.metadata["duration"] == pytest.approx(6, abs=0.3)
    assert found.metadata["video_codec"] == {"libvpx": "vp8"}.get(codec, codec)
    assert found.coverage is not None
    assert (found.coverage.images.read, found.coverage.skipped) == (3, ())


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    path = encode(
        tmp_path / "a.mov", creation_time="2021-05-06T07:08:09Z", title="At the sea",
        location="+48.8566+002.3522/",
    )  # fmt: skip
    found = read(path)
    about = found.images[0].metadata
    assert found.title == "At the sea"
    assert about is not None
    assert (about.taken_at, about.utc_offset) == (dt.datetime(2021, 5, 6, 7, 8, 9), 0)
    assert about.taken_from == "video"
    assert (about.latitude, about.longitude) == (48.8566, 2.3522)


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00Z", "1904-01-01T00:00:00Z", "soon"])
def test_dates_of_cameras_that_know_none(tmp_path: Path, date: str) -> None:
    about = read(encode(tmp_path / "a.mkv", creation_time=date)).images[0].metadata
    assert about is not None
    assert about.taken_at is None


def test_a_still_scene_is_one_frame_and_many_are_bounded(tmp_path: Path) -> None:
    assert len(read(encode(tmp_path / "still.mp4", [RED], seconds=8)).images) == 1
    many = encode(tmp_path / "many.mp4", [RED, GREEN, BLUE] * 4, seconds=1)
    found = read(many, options=ReadOptions(max_images=5))
    assert 1 < len(found.images) <= 5


def test_long_videos_are_looked_at_by_key_frames(tmp_path: Path) -> None:
    found = read(encode(tmp_path / "long.mp4", [RED, BLUE], seconds=40))
    assert found.images[0].second == 0
    assert len(found.images) == 2
    assert 39 < (found.images[1].second or 0) < 43


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mp4").read_bytes()
    cut, noise, empty = (tmp_path / f"{name}.mp4" for name in ("cut", "noise", "empty"))
    cut.write_bytes(whole[: len(whole) // 2])
    noise.write_bytes(whole[:64] + bytes(np.random.default_rng(0).integers(0, 256, 9000, np.uint8)))
    empty.write_bytes(whole[:32])
    for path in (cut, noise, empty):
        with pytest.raises(UnreadableFile, match=r"damaged|no video") as raised:
            read(path)
        assert "\n" not in str(raised.value)


def test_a_cut_off_video_gives_what_is_there(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert [round(image.second or 0) for image in read(path).images][:2] == [0, 2]


def test_a_video_of_sound_alone_is_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableFile, match="transcriber"):
        read(path)
    found = read(path, options=ReadOptions(speech=True))
    assert (found.media_type, found.images) == ("audio/mp4", ())
    assert found.sound > 0


def test_large_frames_are_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", [RED], seconds=1, size=(1280, 960))
    with pytest.raises(UnreadableFile, match="max_megapixels"):
        read(path, options=ReadOptions(max_megapixels=1))


PLAYLIST = "#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1:9/secret.mp4\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile /etc/passwd\n"


@pytest.mark.parametrize("text", [PLAYLIST, CONCAT])
@pytest.mark.parametrize("start", [b"", b"\0\0\0\x18ftypisom\0\0\0\0isomiso2"])
def test_playlists_are_not_followed(tmp_path: Path, text: str, start: bytes) -> None:
    path = tmp_path / "list.mp4"
    path.write_bytes(start + text.encode())
    with pytest.raises(UnreadableFile):
        read(path)


def test_found_at_its_second(
    tmp_path: Path, tiny_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    encode(tmp_path / "files" / "colors.mp4", creation_time="2021-05-06T07:08:09Z")
    settings = Settings(home=tmp_path / "home", profile=str(tiny_profile), ocr="off", workers=1)
    with Library(settings, models=models_of(settings)) as library:
        assert not library.ingest([tmp_path / "files"], collection="clips").failed
        shown = library.images.list("clips")
        assert sorted(round(one.second or 0) for one in shown) == [0, 2, 4]
        green = next(one for one in shown if round(one.second or 0) == 2)
        query = SearchQuery(
            image=library.images.read(green.id), collection="clips", kind="images", cutoff=0
        )
        hit = library.search(query).hits[0]
        assert (hit.id, hit.second, hit.media_type) == (green.id, green.second, "video/mp4")
        dated = library.images.list("clips", where={"taken": "2021-05"})
        assert len(dated) == 3
        assert library.documents.list("clips")[0][0].details["video_codec"] == "mpeg4"
        assert library.duplicates.images("clips", max_distance=12) == []
