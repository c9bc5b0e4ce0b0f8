"""What every reader of a file format must do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import pytest

from ragcore.errors import UnreadableFile
from ragcore.readers import (
    ContentReader,
    InputFile,
    Reader,
    ReadOptions,
    check_document,
)
from ragcore.types import ReadDocument

# The beginnings of files of other formats.
_OTHERS = (
    ("other.txt", b"Plain text, and nothing else.\n" * 20),
    ("other.bin", bytes(range(256)) * 16),
    ("other.zip", b"PK\x05\x06" + bytes(18)),
)


class ReaderConformance:
    """Override the fixtures `reader` and `sample`, the path of a sound file of the format.

    `words` are words that stand in the sample's text.
    """

    words: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def reader(self) -> Reader:
        raise NotImplementedError("override the fixture `reader`: it returns a Reader")

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Path:
        raise NotImplementedError("override the fixture `sample`: it returns a sound file's path")

    def opened(self, reader: Reader, path: Path) -> InputFile:
        """The file as a reader is handed it.

        Returns:
            The file with its media type.
        """
        file = InputFile.open(path)
        kind = reader.recognize(file) if isinstance(reader, ContentReader) else ""
        return InputFile(path, file.head, kind or reader.media_types[0])

    def read(self, reader: Reader, path: Path, **options: object) -> ReadDocument:
        limits = ReadOptions(speech=True, **options)  # type: ignore[arg-type]
        return reader.read(self.opened(reader, path), limits)

    def test_it_names_its_suffixes_and_media_types(self, reader: Reader) -> None:
        assert reader.media_types, "the first one is that of files chosen by their suffix"
        for kind in reader.media_types:
            assert kind == kind.lower()
            assert kind.count("/") == 1
        for suffix in reader.suffixes:
            assert suffix == suffix.lower()
            assert suffix.startswith(".")

    def test_a_sound_file_is_a_valid_document(self, reader: Reader, sample: Path) -> None:
        before = sample.read_bytes()
        document = self.read(reader, sample)
        check_document(document)
        assert document.media_type.count("/") == 1
        assert isinstance(document.title, str)
        assert isinstance(document.pages, tuple)
        assert isinstance(document.images, tuple)
        assert all(isinstance(warning, str) for warning in document.warnings)
        text = "\n".join(page.text for page in document.pages)
        assert [word for word in self.words if word not in text] == []
        something = text.strip() or document.images or document.sound
        assert something, "there is nothing in the document"
        assert sample.read_bytes() == before, "a reader leaves the file as it is"

    def test_the_same_file_is_read_the_same(self, reader: Reader, sample: Path) -> None:
        one, two = self.read(reader, sample), self.read(reader, sample)
        assert [page.text for page in one.pages] == [page.text for page in two.pages]
        assert one.title == two.title

    def test_documents_travel_between_processes(self, reader: Reader, sample: Path) -> None:
        document = self.read(reader, sample)
        again = pickle.loads(pickle.dumps(document))
        assert [page.text for page in again.pages] == [page.text for page in document.pages]

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_file_that_is_cut_off(
        self, reader: Reader, sample: Path, tmp_path: Path, share: float
    ) -> None:
        data = sample.read_bytes()
        cut = tmp_path / f"cut{sample.suffix}"
        cut.write_bytes(data[: max(1, int(share * len(data)))])
        self.read_or_refuse(reader, cut)

    def test_a_file_with_damaged_bytes(self, reader: Reader, sample: Path, tmp_path: Path) -> None:
        data = bytearray(sample.read_bytes())
        for at in range(len(data) // 3, len(data), max(1, len(data) // 50)):
            data[at] ^= 0xFF
        damaged = tmp_path / f"damaged{sample.suffix}"
        damaged.write_bytes(data)
        self.read_or_refuse(reader, damaged)

    def read_or_refuse(self, reader: Reader, path: Path) -> None:
        """A damaged file is a valid document, or an exception: never the end of the process."""
        refused = ""
        try:
            check_document(self.read(reader, path))
        except UnreadableFile as error:
            refused = str(error)
        except Exception:
            return  # recorded as a damaged file
        assert "\n" not in refused, "an UnreadableFile says why in one line"

    def test_only_its_own_files_are_recognized(
        self, reader: Reader, sample: Path, tmp_path: Path
    ) -> None:
        if not isinstance(reader, ContentReader):
            pytest.skip("its files are known by their suffix")
        assert reader.recognize(InputFile.open(sample)) in reader.media_types
        for name, data in _OTHERS:
            other = tmp_path / name
            other.write_bytes(data)
            if (tmp_path / name).suffix not in reader.suffixes:
                assert reader.recognize(InputFile.open(other)) == "", f"it takes {name} for its own"
