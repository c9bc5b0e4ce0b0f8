"""Files that block, swell or never end: one recorded failure each, in bounded time and memory."""

from __future__ import annotations

import os
import random
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ragcore.catalog import FileState
from ragcore.ingest.memory import LEAST, MOST, _cgroup_limits, reader_limit
from ragcore.ingest.pool import ReaderProcess
from ragcore.ingest.split import split
from ragcore.ingest.worker import ReadRequest, ReadResult
from ragcore.readers import ReadOptions, read
from ragcore.settings import Settings
from ragcore.types import Page, ReadDocument

pytestmark = pytest.mark.reader_processes


def file_at(path: Path) -> FileState:
    return FileState(str(path), path.name, 10, 1)


def reading(
    path: Path, *, timeout: float = 120, memory: int = MOST, hash_only: bool = False
) -> tuple[ReadResult, float, int]:
    """What a reader process makes of a file, its seconds, and its highest memory in bytes."""
    reader = ReaderProcess(timeout, memory)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            process = reader._process
            if process is None:
                continue
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM"):
                    peak[0] = max(peak[0], int(line.split()[1]) << 10)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        result = reader.read(ReadRequest(file_at(path), ReadOptions(), hash_only))
    finally:
        seconds = time.monotonic() - began
        done.set()
        watcher.join()
        reader.stop()
    return result, seconds, peak[0]


def pdf(path: Path, stream: bytes, filters: bytes, extra: bytes = b"") -> Path:
    """A PDF of one page with this content stream."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[4 0 R]>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R"
        b"/Resources<</Font<</F1 3 0 R>>>>>>",
        b"<</Length %d%s%s>>stream\n%s\nendstream" % (len(stream), filters, extra, stream),
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj" % number + body + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"xref\n0 6\n0000000000 65535 f \n" + table
    data += b"trailer<</Size 6/Root 1 0 R>>startxref\n%d\n%%%%EOF" % data.rfind(b"xref")
    path.write_bytes(data)
    return path


def packed(block: bytes, times: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(block) for _ in range(times)), packer.flush()])


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused_without_reading(device: str) -> None:
    result, seconds, _ = reading(Path(device), hash_only=True)
    assert "not a regular file" in result.error
    assert seconds < 30


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)  # nobody writes into it
    result, seconds, _ = reading(pipe, hash_only=True)
    assert "not a regular file" in result.error
    assert seconds < 30


def test_what_blocks_while_it_is_hashed_ends_at_the_time_limit(tmp_path: Path) -> None:
    """A pipe that is swapped in after `open` blocks as a dead disk does."""
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    result, seconds, _ = reading(pipe, timeout=2)  # the text reader opens it, and waits
    assert result.error
    assert seconds < 30


def test_a_content_stream_is_bounded_before_it_is_inflated(tmp_path: Path) -> None:
    line = b"BT /F1 12 Tf 72 700 Td (aaaaaaaaaaaaaaaaaaaaaaaaaaaa) Tj ET\n"
    bomb = pdf(tmp_path / "bomb.pdf", packed(line * 1000, 2_000), b"/Filter/FlateDecode")
    twice = pdf(
        tmp_path / "twice.pdf", zlib.compress(packed(b" " * 2**20, 200)),
        b"/Filter[/FlateDecode/FlateDecode]",
    )  # fmt: skip
    for path in (bomb, twice):
        result, seconds, peak = reading(path)
        assert "inflates to more than 64 MiB" in result.error
        assert peak < 512 << 20
        assert seconds < 60


def test_an_honest_pdf_is_read_as_before(tmp_path: Path) -> None:
    line = b"BT /F1 12 Tf 72 700 Td (The river rises in spring.) Tj ET\n"
    path = pdf(tmp_path / "ok.pdf", zlib.compress(line), b"/Filter/FlateDecode")
    assert "river rises" in read(path).pages[0].text


def test_bytes_after_the_end_of_a_stream_are_left_alone(tmp_path: Path) -> None:
    """Many writers put an end of line before "endstream"."""
    line = b"BT /F1 12 Tf 72 700 Td (The river rises in spring.) Tj ET\n"
    comment = b"".join(
        b"%%%s\n" % random.Random(n).randbytes(40).hex().encode() for n in range(4000)
    )
    data = zlib.compress(line + comment) + b"\r\n"
    path = pdf(tmp_path / "ok.pdf", data, b"/Filter/FlateDecode")
    result, _, _ = reading(path, timeout=30)
    assert not result.error


def test_pixels_of_a_pdf_image_set_its_limit(tmp_path: Path) -> None:
    from ragcore.errors import UnreadableFile
    from ragcore.readers.pdf_limits import check_streams

    image = b"/Subtype/Image/Width 6000/Height 6000/BitsPerComponent 8/ColorSpace/DeviceRGB"
    data = packed(b"\0" * 2**20, 104)  # what 6000 x 6000 pixels in RGB take, and a little more
    path = pdf(tmp_path / "image.pdf", data, b"/Filter/FlateDecode", image)
    check_streams(path, max_megapixels=100)
    small = image.replace(b"6000", b"10")
    with pytest.raises(UnreadableFile, match="inflates"):
        check_streams(
            pdf(tmp_path / "liar.pdf", data, b"/Filter/FlateDecode", small), max_megapixels=100
        )


def test_a_reader_ends_at_its_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        for _ in range(480):
            file.write(b"word " * 209_715)
    result, _, peak = reading(path, memory=600 << 20)
    assert "memory" in result.error
    assert peak < 900 << 20


def test_the_memory_of_a_reader_is_a_share(settings: Settings, tmp_path: Path) -> None:
    assert LEAST <= reader_limit(settings, 1) <= MOST
    assert reader_limit(settings, 10_000) == LEAST
    assert reader_limit(settings.model_copy(update={"reader_memory_mb": 300}), 4) == 300 << 20
    group = tmp_path / "cgroup" / "a" / "b"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("1000000\n")
    process = tmp_path / "process"
    process.write_text("0::/a/b\n")
    assert _cgroup_limits(tmp_path / "cgroup", process) == [1_000_000]


def test_where_memory_runs_out_a_reader_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some words")
    reader = ReaderProcess(60)
    assert not reader.read(ReadRequest(file_at(path), ReadOptions())).error
    assert reader._process is not None
    score = Path(f"/proc/{reader._process.pid}/oom_score_adj").read_text()
    reader.stop()
    assert int(score) > 0


def nested_list(levels: int) -> str:
    return "".join("  " * level + "- item\n" for level in range(levels))


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda size: " " * size + ".", 200_000),
        (lambda size: "." * size + "a", 200_000),
        (lambda size: "….!?" * (size // 4) + "x", 200_000),
        (lambda size: "a \t" * (size // 3), 200_000),
        (lambda size: nested_list(int(size**0.5)), 400_000),
        (lambda size: '{"id":1,"text":"row"},' * (size // 22), 400_000),
        (lambda size: "x" * size, 400_000),
        (lambda size: "9" * size, 400_000),
    ],
)
def test_cleaning_and_splitting_take_linear_time(
    tmp_path: Path, make: Callable[[int], str], size: int
) -> None:
    """Four times the text takes about four times as long, not sixteen times."""
    seconds = []
    for factor in (1, 4):
        path = tmp_path / f"{factor}.txt"
        path.write_text("start " + make(factor * size))
        began = time.process_time()
        split(read(path))
        seconds.append(time.process_time() - began)
    assert seconds[1] < 10 * max(seconds[0], 0.02) + 0.5


def test_a_cut_falls_where_counting_says() -> None:
    text = "word " * 5_000
    passages = split(ReadDocument("text/plain", "", (Page(1, text.strip()),)))
    assert "".join(p.text + " " for p in passages).strip() == text.strip()
    assert all(100 < len(p.text.split()) <= 220 for p in passages)


@pytest.mark.full
@pytest.mark.parametrize("name", ["nested.md", "large.json"])
def test_the_largest_texts_are_read_in_half_a_minute(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("w") as file:
        if name == "nested.md":
            file.write(nested_list(3_000))
        else:
            file.write(
                "[" + ",".join(f'{{"id":{i},"text":"row {i} of it"}}' for i in range(2_700_000))
            )
            file.write("]")
    before = os.times()
    result, _, peak = reading(path, timeout=300)
    after = os.times()
    assert result.document is not None
    assert peak < 1 << 30
    # Of the processor: other work on the machine does not count.
    assert after.children_user - before.children_user < 30
