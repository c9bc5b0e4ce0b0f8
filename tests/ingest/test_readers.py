"""Every type is read: text in order, headings, tables, images, metadata."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from ragcore.errors import UnreadableFile
from ragcore.readers import ReadOptions, choose, read
from ragcore.settings import Settings
from ragcore.types import Page, ReadDocument

from .ingest_samples import PROSE, drawing, encoded, write_pdf, write_scan


def text_of(document: ReadDocument) -> str:
    return "\n".join(page.text for page in document.pages)


def test_every_type_is_read_and_can_be_pickled(samples: dict[str, Path]) -> None:
    for suffix, path in samples.items():
        document = read(path)
        assert document.pages or document.images, suffix
        assert "\f" not in text_of(document)
        assert pickle.loads(pickle.dumps(document)).title == document.title
        for page in document.pages:
            for start, level, title in page.headings:
                assert page.text[start:].startswith(title)
                assert 1 <= level <= 6
        numbers = [page.number for page in document.pages]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ((Page(1, "a"), Page(3, "c")), "numbered page 2 as 3"),
        ((Page(1, "a\fb"),), "left a form feed in page 1"),
    ],
)
def test_pages_that_citations_cannot_count_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: tuple[Page, ...], reason: str
) -> None:
    monkeypatch.setattr(
        "ragcore.readers.text.read", lambda *_: ReadDocument("text/plain", "", pages)
    )
    path = tmp_path / "a.txt"
    path.write_text("Words.")
    with pytest.raises(UnreadableFile, match=f"its reader {reason}"):
        read(path)


def test_pdf(samples: dict[str, Path]) -> None:
    document = read(samples[".pdf"])
    assert document.media_type == "application/pdf"
    assert document.paged
    assert document.title == "Harbour rules"
    assert document.metadata["author"] == "The harbour office"
    first, second = document.pages
    positions = [first.text.index(f"Alpha {n}.") for n in range(6)]
    assert positions == sorted(positions)  # the left column before the right one
    assert "wait at the outer buoy until a pilot" in first.text  # lines run on
    assert "Hamburg\t15.1\t240" in second.text
    assert [title for _, _, title in second.headings] == ["Ports and depths", "What to bring"]
    [image] = document.images
    assert (image.width, image.height, image.page) == (320, 240, 2)
    assert image.caption == "Figure 1: The view from the pilot station"
    assert image.data


def test_locked_pdf(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "locked.pdf", password="sesame")
    with pytest.raises(UnreadableFile, match="locked: give --password"):
        read(path)
    with pytest.raises(UnreadableFile, match="password does not fit"):
        read(path, options=ReadOptions(passwords=("wrong",)))
    document = read(path, options=ReadOptions(passwords=("wrong", "sesame")))
    assert "pilot comes aboard" in text_of(document)
    assert document.metadata["author"] == "The harbour office"


def test_scanned_pdf_is_recognized(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "scan.pdf")
    document = read(path)
    assert document.pages[0].ocr
    assert "Ships that arrive before dawn wait at the outer buoy" in document.pages[0].text
    assert not document.images  # the scan itself is no image to search for
    assert not read(path, options=ReadOptions(ocr="off")).pages[0].text


def test_docx(samples: dict[str, Path]) -> None:
    document = read(samples[".docx"])
    [page] = document.pages
    assert [(level, title) for _, level, title in page.headings] == [
        (1, "Arrival"),
        (2, "At night"),
    ]
    assert "- Show a white light.\n- Sound the horn twice." in page.text
    assert "Port | Depth\nKiel | 11" in page.text
    assert document.title == "Harbour notes"
    assert document.metadata["author"] == "Ada Pilot"
    assert [image.page for image in document.images] == [1]


def test_pptx(samples: dict[str, Path]) -> None:
    document = read(samples[".pptx"])
    assert document.paged
    first, second = document.pages
    assert first.label == "Pilots wanted"
    assert first.text == "Pilots wanted\n\nTwelve posts are open\n\nNotes: Mention the pay rise"
    assert "Year | Ships\n2024 | 8123" in second.text
    assert [image.page for image in document.images] == [2]


def test_xlsx(samples: dict[str, Path]) -> None:
    document = read(samples[".xlsx"])
    assert [page.label for page in document.pages] == ["Ships", "Crew"]
    assert document.pages[0].text == (
        "Ships\n\nName | Arrived | Tons\nAurora | 2024-05-01 | 5400.5\nBore | 2024-05-02 | 900"
    )


def test_csv(samples: dict[str, Path], tmp_path: Path) -> None:
    assert text_of(read(samples[".csv"])) == "Name | Tons\nAurora | 5400\nBore | 900"
    quoted = tmp_path / "quoted.csv"
    quoted.write_text('a,b\n"one, two","line\nbreak"\n')
    assert text_of(read(quoted)) == "a | b\none, two | line break"


def test_epub(samples: dict[str, Path]) -> None:
    document = read(samples[".epub"])
    assert document.title == "The Long Voyage"
    assert document.metadata == {"author": "I. Brandt", "language": "en"}
    assert [page.label for page in document.pages] == ["Leaving", "Storm"]  # as the spine says
    assert [(image.page, image.caption) for image in document.images] == [(2, "A map")]


def test_eml(samples: dict[str, Path]) -> None:
    document = read(samples[".eml"])
    assert document.title == "Grüße vom Hafen"
    assert document.metadata["author"] == "Ada Pilot <ada@harbour.example>"
    message, attached = document.pages
    assert "The pilot comes at nine." in message.text
    assert "Attached: berths.txt" in message.text
    assert (attached.text, attached.label, attached.number) == (
        "Berth 4 is closed.",
        "berths.txt",
        2,
    )
    assert [image.caption for image in document.images] == ["berth.png"]


def test_html(samples: dict[str, Path]) -> None:
    document = read(samples[".html"])
    text = text_of(document)
    assert document.title == "Tides"
    assert document.metadata["language"] == "en"
    assert "Day | Time\nMonday | 06:12" in text
    assert "- one\n- two" in text
    for hidden in ("secretword", "invisible ink", "a comment", "color:red", "Home"):
        assert hidden not in text


def test_html_nested_very_deeply(tmp_path: Path) -> None:
    path = tmp_path / "deep.html"
    path.write_text("<html>" + "<div>" * 20_000 + "bottom" + "</div>" * 20_000)
    assert "bottom" in text_of(read(path))


def test_html_image_in_the_page(tmp_path: Path) -> None:
    import base64

    data = base64.b64encode(encoded(drawing())).decode()
    path = tmp_path / "page.html"
    path.write_text(
        f'<html><p>hello</p><img alt="A port" src="data:image/png;base64,{data}"></html>'
    )
    [image] = read(path).images
    assert (image.caption, image.width) == ("A port", 320)


def test_markdown(samples: dict[str, Path]) -> None:
    document = read(samples[".md"])
    [page] = document.pages
    assert document.title == "Knots"
    assert document.metadata == {"author": "Ada Pilot"}
    assert [(level, title) for _, level, title in page.headings] == [(1, "Bowline"), (2, "Steps")]
    assert "A loop that holds." in page.text
    assert "knot | use\nreef | sails" in page.text
    assert "print('knot')" in page.text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Grüße — 漢字"),
        ("utf-8-sig", "Grüße"),
        ("utf-16", "Grüße — 漢字"),
        ("utf-16-le", "Plain words without a mark"),
        ("utf-16-be", "Plain words without a mark"),
        ("latin-1", "Die Größe der Flüsse in Österreich ist häufig überschätzt worden. " * 5),
        ("cp1252", "“Quoted” – the café’s naïve menu costs €5. " * 5),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    assert text_of(read(path)) == text.strip()


def test_text_is_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"one\r\ntwo\0 three\x07\xc2\xa0four   \r\n\r\n\r\n\r\nfive\fsix\n\f")
    document = read(path)
    assert [page.text for page in document.pages] == ["one\ntwo three four\n\nfive", "six"]
    assert document.paged


def test_a_huge_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("word " * 1_000_000)
    assert len(text_of(read(path))) == 4_999_999


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "the file is empty"),
        ("blank.txt", b"  \n\n ", "holds no text"),
        ("binary.txt", bytes(range(256)) * 20, "named .txt but holds binary data"),
        ("odd.xyz", bytes(range(256)) * 20, "unknown type"),
        ("page.jpg", b"<html><body>404</body></html>", "named .jpg but is HTML text"),
        ("note.pdf", b"just some words", "named .pdf but is plain text"),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj <<", "cut off or damaged"),
        ("cut.docx", b"PK\x03\x04" + b"\1" * 500, "cut off or damaged"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "save it as PNG"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "save it as .docx"),
        ("a.zip", b"PK\x05\x06" + b"\0" * 18, "the archive can be read .it is empty"),
        ("no.eml", b"Hello you\n\nthere", "not an e-mail"),
        ("empty.csv", b"\n\n", "no text"),
    ],
)
def test_refusals_say_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_content_decides_over_the_name(tmp_path: Path, samples: dict[str, Path]) -> None:
    renamed = tmp_path / "report.txt"
    renamed.write_bytes(samples[".pdf"].read_bytes())
    assert choose(renamed)[1].media_type == "application/pdf"
    unnamed = tmp_path / "README"
    unnamed.write_text(PROSE)
    assert read(unnamed).media_type == "text/plain"


def test_missing_and_too_large(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="not there"):
        read(tmp_path / "gone.txt")
    with pytest.raises(UnreadableFile, match="not a file"):
        read(tmp_path)
    path = tmp_path / "large.txt"
    path.write_bytes(b"a" * (2**20 + 1))
    with pytest.raises(UnreadableFile, match="max_file_mb"):
        read(path, options=ReadOptions(max_file_mb=1))


def test_zip_bomb_is_refused(tmp_path: Path, samples: dict[str, Path]) -> None:
    import zipfile

    path = tmp_path / "bomb.docx"
    path.write_bytes(samples[".docx"].read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/zeros.xml", b"0" * (60 * 2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(UnreadableFile, match="far more than its size"):
        read(path)


def test_entity_bomb_is_refused(tmp_path: Path, samples: dict[str, Path]) -> None:
    import zipfile

    path = tmp_path / "laughs.epub"
    lols = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{lols}]><package>&l9;</package>'
    with zipfile.ZipFile(samples[".epub"]) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, bomb if name.endswith(".opf") else good.read(name))
    with pytest.raises(UnreadableFile, match="damaged"):
        read(path)


def test_options_follow_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, ocr="off", max_file_mb=7, max_megapixels=3)
    options = ReadOptions.from_settings(settings, passwords=["a"])
    assert (options.ocr, options.max_file_mb, options.max_megapixels) == ("off", 7, 3)
    assert options.passwords == ("a",)


def test_importing_the_readers_is_cheap() -> None:
    code = (
        "import sys, ragcore.readers;"
        "heavy = {'torch', 'numpy', 'PIL', 'lxml', 'pypdf', 'pypdfium2', 'cv2', 'rapidocr'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
