"""Formats beyond the office's: what is kept of a sound file, and what is refused of a bad one."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from ragcore import extensions
from ragcore.errors import UnreadableFile
from ragcore.ingest.split import split
from ragcore.readers import ReadOptions, file_types, read
from ragcore.types import ReadDocument

from .format_samples import write_opendocument, write_tar
from .test_coverage import coverage_of, lines

NO_OCR = ReadOptions(ocr="off")


def read_sample(path: Path) -> ReadDocument:
    return read(path, options=NO_OCR)


def refused(path: Path, options: ReadOptions = NO_OCR) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(path, options=options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_type_that_is_read_is_named() -> None:
    types = {one.kind: one.suffixes for one in file_types()}
    own = {
        suffix
        for name in extensions.names("readers")
        if (found := extensions.find("readers", name)).built_in
        for suffix in found.load().suffixes
    }
    assert own <= {suffix for suffixes in types.values() for suffix in suffixes}
    assert types["subtitles"] == (".srt", ".vtt")


# --- OpenDocument --------------------------------------------------------------------


def test_odt(samples: dict[str, Path]) -> None:
    document = read_sample(samples[".odt"])
    assert document.title == "Harbor handbook"
    assert document.metadata["author"] == "Ada Pilot"
    assert document.metadata["created"] == "2024-05-01T08:30:00"
    [page] = document.pages
    assert [(level, title) for _, level, title in page.headings] == [
        (1, "Arrival"),
        (2, "What to bring"),
    ]
    assert "Pilots  wait (\n    At the outer buoy.) here." in page.text
    assert "- a chart\n- a lamp" in page.text
    assert "Port | Depth\nHamburg | 15.1" in page.text
    assert "a comment" not in page.text
    assert [image.caption for image in document.images] == ["A map"]


def test_a_sheet_of_a_million_repeated_rows_is_bounded(tmp_path: Path) -> None:
    row = "<table:table-cell><text:p>Aurora</text:p></table:table-cell>"
    empty = '<table:table-cell table:number-columns-repeated="16384"/>'
    body = f"""<table:table table:name="Ships">
    <table:table-row>{row}{empty}</table:table-row>
    <table:table-row table:number-rows-repeated="1048575">{empty}</table:table-row></table:table>
    <table:table table:name="Bomb"><table:table-row table:number-rows-repeated="999999999">
    <table:table-cell table:number-columns-repeated="999999999"><text:p>x</text:p>
    </table:table-cell></table:table-row></table:table>"""
    path = write_opendocument(tmp_path / "ships.ods", "spreadsheet", body)
    document = read(path, options=ReadOptions(max_characters=100_000))
    assert [page.label for page in document.pages] == ["Ships", "Bomb"]
    assert document.pages[0].text == "Ships\n\nAurora"
    assert len(document.pages[1].text) <= 110_000
    assert document.coverage is not None
    assert lines(document.coverage) == [
        "1 sheet read in part (Bomb): only the first 500 columns are kept; only the first rows are "
        "kept: the table is very large"
    ]


def test_odp(tmp_path: Path) -> None:
    body = """<draw:page draw:name="page1"><draw:frame><draw:text-box><text:p>Twelve posts</text:p>
    </draw:text-box></draw:frame><draw:frame presentation:class="title"><draw:text-box>
    <text:p>Pilots wanted</text:p></draw:text-box></draw:frame>
    <draw:frame><draw:object/></draw:frame><presentation:notes><draw:frame><draw:text-box>
    <text:p>Mention the pay</text:p></draw:text-box></draw:frame></presentation:notes>
    </draw:page>"""
    document = read_sample(write_opendocument(tmp_path / "a.odp", "presentation", body))
    [page] = document.pages
    assert document.paged
    assert page.label == "Pilots wanted"
    assert page.text == "Pilots wanted\n\nTwelve posts\n\nMention the pay"
    assert document.coverage is not None
    assert lines(document.coverage) == ["1 image not read: a chart or formula, which is not read"]


def test_entities_of_a_document_are_refused(tmp_path: Path) -> None:
    lols = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    prolog = f'<!DOCTYPE x [<!ENTITY l0 "lol">{lols}]>'
    path = write_opendocument(tmp_path / "a.odt", "text", "<text:p>&l9;</text:p>", prolog=prolog)
    assert "its content is no XML" in refused(path)
    prolog = '<!DOCTYPE x [<!ENTITY words "lol">]>'
    path = write_opendocument(tmp_path / "b.odt", "text", "<text:p>&words;</text:p>", prolog=prolog)
    assert "defines entities of its own" in refused(path)


def test_an_encrypted_document_is_refused(tmp_path: Path) -> None:
    locked = {"META-INF/manifest.xml": b"<manifest:encryption-data/>"}
    path = write_opendocument(tmp_path / "a.odt", "text", "", files=locked)
    assert refused(path).startswith("locked")


# --- notebooks, LaTeX, rich text, subtitles, code ------------------------------------------


def test_notebook(samples: dict[str, Path]) -> None:
    document = read_sample(samples[".ipynb"])
    [page] = document.pages
    assert document.title == "Tides"
    assert page.text == (
        "Tides\n\nHigh water is late.\n\nprint(height(12) < 3)\n\nTrue\n\nDay | Time\n\n"
        "ValueError: no tide"
    )
    assert len(document.images) == 1


def test_a_notebook_of_form_3(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Old"},
        {
            "cell_type": "code",
            "input": ["x = 1"],
            "outputs": [{"output_type": "pyout", "text": "1"}],
        },
    ]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}))
    assert read_sample(path).pages[0].text == "Old\n\nx = 1\n\n1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"cells": [', "its JSON is damaged"),
        ('{"a": 1}', "no Jupyter notebook"),
        ("[]", "no Jupyter notebook"),
        ('{"cells": [1, {"cell_type": "code", "source": 5}]}', "no text"),
    ],
)
def test_bad_notebooks(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_text(content)
    assert reason in refused(path)


def test_latex(samples: dict[str, Path]) -> None:
    document = read_sample(samples[".tex"])
    [page] = document.pages
    assert (document.title, document.metadata["author"]) == ("On herons", "A. Müller")
    assert [(level, title) for _, level, title in page.headings] == [
        (2, "Introduction"),
        (3, "Methods"),
    ]
    assert "Herons [smith2020] fly at $v = 3$ meters." in page.text
    assert "cafés" in page.text
    assert "count(herons) % this" in page.text
    assert "not this" not in page.text


def test_rich_text(samples: dict[str, Path], tmp_path: Path) -> None:
    document = read_sample(samples[".rtf"])
    [page] = document.pages
    assert (document.title, document.metadata) == ("Grüße", {"author": "Ada Pilot"})
    assert page.text.startswith("The harbor\n\nOpen at eight – every day.")
    assert "Port | Depth\nHamburg | 15.1" in page.text
    assert "by day A light at night." in page.text
    assert len(document.images) == 1
    # Word names such files .doc, too.
    named = tmp_path / "letter.doc"
    named.write_bytes(samples[".rtf"].read_bytes())
    assert read_sample(named).media_type == "application/rtf"
    cut = tmp_path / "cut.rtf"
    cut.write_bytes(samples[".rtf"].read_bytes()[:150])
    assert "cut off" in lines(coverage_of(cut))[0]
    other = tmp_path / "plain.rtf"
    other.write_text("no rich text")
    assert refused(other) == "named .rtf but is plain text"


def test_subtitles_keep_their_times(samples: dict[str, Path], tmp_path: Path) -> None:
    document = read_sample(samples[".srt"])
    assert document.pages[0].text == (
        "[0:00:01] The pilot comes aboard at nine o'clock.\n\n[1:02:03] - The storm is over."
    )
    web = tmp_path / "talk.vtt"
    web.write_text(
        "WEBVTT - On tides\n\nNOTE not said\n\nSTYLE\n::cue {}\n\n00:05.000 --> 00:09.000 line:1\n"
        "<v Ada>High water &amp; low\n\n00:09.000 --> 00:11.000\nHigh water &amp; low\nwater\n"
    )
    read_web = read_sample(web)
    assert (read_web.title, read_web.media_type) == ("On tides", "text/vtt")
    assert read_web.pages[0].text == "[0:00:05] Ada: High water & low High water & low water"
    bad = tmp_path / "bad.srt"
    bad.write_text("only words\n")
    assert "no subtitles" in refused(bad)


def test_long_speech_is_cut_into_paragraphs_at_sentences(tmp_path: Path) -> None:
    path = tmp_path / "talk.srt"
    path.write_text(
        "".join(
            f"{n}\n00:{n // 60:02}:{n % 60:02},000 --> 00:{n // 60:02}:{n % 60:02},900\n"
            f"Sentence number {n} of this talk{'.' if n % 3 == 0 else ','}\n\n"
            for n in range(1, 120)
        )
    )
    paragraphs = read_sample(path).pages[0].text.split("\n\n")
    assert len(paragraphs) > 5
    assert all(300 < len(one) < 900 and one.endswith(".") for one in paragraphs[:-1])
    assert paragraphs[1].startswith("[0:00:1")


def test_source_code_is_cut_at_its_definitions(samples: dict[str, Path], tmp_path: Path) -> None:
    document = read_sample(samples[".py"])
    [page] = document.pages
    assert [(level, title) for _, level, title in page.headings] == [
        (1, "class Tide"),
        (2, "def height"),
        (1, "def main"),
    ]
    assert "    def height(self, hour):\n        return hour % 12" in page.text
    assert [one.heading for one in split(document)][-1].endswith("def main")
    path = tmp_path / "a.ts"
    path.write_text(
        "// class of things that are\nexport default async function run<T>(x: T) {\n}\n"
        "pub(crate) fn go() {\nCREATE OR REPLACE VIEW ships AS (SELECT 1)\nmodule Harbor\n"
        "func (s *Server) Close() error {\n"
    )
    assert [title for _, _, title in read_sample(path).pages[0].headings] == [
        "export default async function run",
        "pub(crate) fn go",
        "CREATE OR REPLACE VIEW ships",
        "module Harbor",
    ]


# --- mail ----------------------------------------------------------------------------------


def test_mailbox(samples: dict[str, Path], tmp_path: Path) -> None:
    document = read_sample(samples[".mbox"])
    texts = [page.text for page in document.pages]
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert "Berth 4 is closed." in texts[0]
    assert texts[1] == "The list of berths."
    assert texts[2].endswith("Two pilots are ill.")
    bad = tmp_path / "bad.mbox"
    bad.write_text("Subject: no mailbox\n\nhello\n")
    assert "no mailbox" in refused(bad)


def test_a_large_mailbox_says_where_it_was_cut(samples: dict[str, Path]) -> None:
    found = coverage_of(samples[".mbox"], ReadOptions(ocr="off", max_pages=1))
    assert lines(found)[0] == (
        "1 page not read (from message 2): the mailbox is very large: its end is not kept"
    )


def test_outlook_message(samples: dict[str, Path]) -> None:
    document = read_sample(samples[".msg"])
    assert document.title == "Grüße vom Hafen"
    assert document.metadata["author"] == '"Ada Pilot" <ada@harbor.example>' or (
        document.metadata["author"] == "Ada Pilot <ada@harbor.example>"
    )
    assert document.metadata["created"] == "2024-05-01T06:30:00+00:00"
    first, attached, forwarded = (page.text for page in document.pages)
    assert "To: office@harbor.example" in first
    assert first.count("The pilot comes at nine.") == 200
    assert attached == "The list of berths."
    assert "Berth 4 is closed." in forwarded
    assert len(document.images) == 1


# --- archives ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archives(samples: dict[str, Path], tmp_path: Path, mode: str) -> None:
    path = samples[".zip"]
    if mode != "zip":
        path = write_tar(tmp_path / f"a.tar{mode[1:].replace(':', '.')}", mode)
    document = read_sample(path)
    texts = {page.label: page.text for page in document.pages}
    assert texts == {
        "notes/tides.txt": "notes/tides.txt\n\nHigh water is at six.",
        "notes/berths.csv": "notes/berths.csv\n\nBerth | Depth\n4 | 9.5",
        "images/berth.png": "images/berth.png",
        "more.zip/deep/knots.md": "more.zip/deep/knots.md\n\nBowline\n\nA loop that holds.",
    }
    for page in document.pages:
        for start, _, title in page.headings:
            assert page.text[start:].startswith(title)
    [image] = document.images
    assert image.page is not None
    assert document.pages[image.page - 1].label == "images/berth.png"
    assert image.data
    found = coverage_of(path)
    assert lines(found) == []
    assert (found.attachments.found, found.attachments.read) == (5, 5)


def test_names_that_lead_out_of_an_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    names = ["../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "a\\..\\evil.txt"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "evil")
        archive.writestr("good.txt", "good")
        archive.writestr("__MACOSX/._good.txt", "junk")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    document = read_sample(path)
    assert [page.text for page in document.pages] == ["good.txt\n\ngood"]
    reasons = lines(coverage_of(path))
    assert reasons[0].startswith("4 attachments not read (")
    assert "leads out of the archive: refused" in reasons[0]
    assert reasons[1] == "1 attachment not read (link.txt): a link, which is not followed"


def test_links_and_devices_in_a_tar_archive_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("pipe", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        entry = tarfile.TarInfo("../../etc/cron.d/evil.txt")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    reason = refused(path)
    assert (
        reason
        == "nothing in the archive can be read (link, pipe: a link or device, which is not read)"
    )


def test_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.txt", b"0" * (60 * 2**20))
    assert "far more than its size" in refused(path)
    packed = tmp_path / "bomb.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        entry = tarfile.TarInfo("zeros.txt")
        entry.size = 60 * 2**20
        tar.addfile(entry, io.BytesIO(b"0" * entry.size))
    assert "far more than its size" in refused(packed)
    large = write_tar(tmp_path / "large.tar", "w")
    with tarfile.open(large, "a") as tar:
        entry = tarfile.TarInfo("large.bin")
        entry.size = 3 * 2**20
        tar.addfile(entry, io.BytesIO(bytes(range(256)) * (entry.size // 256)))
    assert "limit of 2 MiB" in refused(large, ReadOptions(ocr="off", max_unpacked_mb=2))


def test_archives_in_archives_end_somewhere(tmp_path: Path) -> None:
    data = b"at the bottom"
    name = "bottom.txt"
    for level in range(7):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, data)
        data, name = buffer.getvalue(), f"level{level}.zip"
    path = tmp_path / "deep.zip"
    path.write_bytes(data)
    assert "files inside files are read to a depth of 4" in refused(path)


def test_a_locked_member_needs_the_password(tmp_path: Path) -> None:
    """Locked by hand (ZipCrypto): the standard library only reads such files."""
    path = tmp_path / "locked.zip"
    path.write_bytes(_locked(b"a.txt", b"the secret berth", b"sesame"))
    assert "locked" in refused(path)
    document = read(path, options=ReadOptions(passwords=("wrong", "sesame")))
    assert document.pages[0].text == "a.txt\n\nthe secret berth"


def _locked(name: bytes, content: bytes, password: bytes) -> bytes:
    import struct
    import zlib

    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(byte: int, before: int) -> int:
        return zlib.crc32(bytes([byte]), before ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc(byte, keys[0])
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[1] >> 24, keys[2])

    for byte in password:
        update(byte)
    check = zlib.crc32(content)
    packed = bytearray()
    for byte in bytes(11) + bytes([check >> 24]) + content:
        mask = keys[2] | 2
        packed.append(byte ^ ((mask * (mask ^ 1)) >> 8 & 0xFF))
        update(byte)
    fields = struct.pack("<HHHHHIII", 20, 1, 0, 0, 33, check, len(packed), len(content))
    local = b"PK\3\4" + fields + struct.pack("<HH", len(name), 0) + name + packed
    central = b"PK\1\2" + struct.pack("<H", 20) + fields
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def test_cut_archives_say_so(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", "w")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:2300])
    assert any("cut off or damaged" in line for line in lines(coverage_of(cut)))
    gzip = tmp_path / "note.txt.gz"
    import gzip as packer

    gzip.write_bytes(packer.compress(b"only a note"))
    assert refused(gzip) == "this is a gzip archive: unpack it first"


def test_too_many_members_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragcore.readers.archive._MOST_MEMBERS", 2)
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.txt", f"note {number}")
    [reason] = lines(coverage_of(path))
    assert reason.startswith("3 attachments not read (2.txt, 3.txt, 4.txt): only the first 2 files")


def test_limits_hold_for_all_members_together(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.txt", "word " * 200)
    options = ReadOptions(ocr="off", max_characters=2500)
    document = read(path, options=options)
    assert sum(len(page.text) for page in document.pages) < 2600
    assert any("its end is not kept" in line for line in lines(coverage_of(path, options)))
