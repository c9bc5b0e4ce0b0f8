"""What every source of files must do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ragcore.errors import RagcoreError, UnreadableFile
from ragcore.sources import Skipped, Source, SourceItem

Open = Callable[[str], Source]
_MOST = 512 << 20


class SourceConformance:
    """Override the fixtures `open` and `url`.

    `open` returns what makes a source from a URL; `url` is the URL of a place with two files or
    more, none of them empty, that do not change meanwhile.
    """

    @pytest.fixture
    def open(self) -> Open:
        raise NotImplementedError("override the fixture `open`: it returns a function of a URL")

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError("override the fixture `url`")

    @pytest.fixture
    def source(self, open: Open, url: str) -> Source:
        return open(url)

    def items(self, source: Source) -> list[SourceItem]:
        return [item for item in source.list() if isinstance(item, SourceItem)]

    def fetched(self, source: Source, item: SourceItem, folder: Path) -> bytes:
        folder.mkdir(parents=True)
        path = source.fetch(item, folder, most_bytes=_MOST)
        assert isinstance(path, Path)
        assert path.is_file()
        return path.read_bytes()

    def test_it_lists_items(self, source: Source) -> None:
        listed = list(source.list())
        assert len(self.items(source)) >= 2
        for one in listed:
            assert isinstance(one, SourceItem | Skipped)
            assert isinstance(one.location, str)
            one.location.encode()
        skipped = [one for one in listed if isinstance(one, Skipped)]
        assert all(one.kind in ("link", "left out", "failed", "dropped") for one in skipped)
        assert all("\n" not in one.reason for one in skipped)

    def test_locations_are_unique_and_below_the_source(self, source: Source) -> None:
        locations = [item.location for item in self.items(source)]
        assert len(set(locations)) == len(locations)
        root = source.location.rstrip("/") + "/"
        assert [x for x in locations if x != source.location and not x.startswith(root)] == []

    def test_items_say_what_they_are(self, source: Source) -> None:
        for item in self.items(source):
            assert item.name not in ("", ".", "..")
            assert not set(item.name) & set("/\\\0")
            assert item.size is None or (isinstance(item.size, int) and item.size >= 0)
            assert item.modified_ns is None or isinstance(item.modified_ns, int)
            assert isinstance(item.version, str)

    def test_what_did_not_change_is_listed_the_same(self, open: Open, url: str) -> None:
        def by_location(source: Source) -> list[SourceItem]:
            return sorted(self.items(source), key=lambda item: item.location)

        assert by_location(open(url)) == by_location(open(url))

    def test_a_slash_at_the_end_changes_nothing(self, open: Open, url: str) -> None:
        assert open(url.rstrip("/") + "/").location == open(url.rstrip("/")).location

    def test_items_are_fetched(self, source: Source, tmp_path: Path) -> None:
        for number, item in enumerate(self.items(source)):
            content = self.fetched(source, item, tmp_path / f"{number}")
            assert content
            assert item.size in (None, len(content))
            assert self.fetched(source, item, tmp_path / f"{number} again") == content

    def test_an_item_of_an_earlier_run_is_fetched(self, source: Source, tmp_path: Path) -> None:
        item = self.items(source)[0]
        bare = SourceItem(item.location, item.name, version=item.version)
        expected = self.fetched(source, item, tmp_path / "one")
        assert self.fetched(source, bare, tmp_path / "two") == expected

    def test_a_location_is_a_source_of_that_item(
        self, source: Source, open: Open, tmp_path: Path
    ) -> None:
        for item in self.items(source)[:2]:
            alone = open(item.location)
            assert alone.location == item.location
            assert self.items(alone) == [item]

    def test_several_are_fetched_at_once(self, source: Source, tmp_path: Path) -> None:
        items = self.items(source)
        expected = [self.fetched(source, item, tmp_path / f"{n}") for n, item in enumerate(items)]

        def fetch(number: int) -> bool:
            at = number % len(items)
            return self.fetched(source, items[at], tmp_path / f"at once {number}") == expected[at]

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(fetch, range(2 * len(items))))

    def test_no_more_bytes_than_allowed(self, source: Source, tmp_path: Path) -> None:
        item = self.items(source)[0]
        size = len(self.fetched(source, item, tmp_path / "whole"))
        folder = tmp_path / "limited"
        folder.mkdir()
        with pytest.raises(UnreadableFile):
            source.fetch(replace(item, size=None), folder, most_bytes=size - 1)
        assert sum(path.stat().st_size for path in folder.rglob("*")) < size

    def test_what_is_gone_is_an_error(self, source: Source, tmp_path: Path) -> None:
        item = self.items(source)[0]
        folder = tmp_path / "gone"
        folder.mkdir()
        gone = replace(item, location=f"{item.location}-that-is-not-there", version="")
        with pytest.raises((RagcoreError, OSError)):
            source.fetch(gone, folder, most_bytes=_MOST)

    def test_nothing_is_listed_where_nothing_is(self, open: Open, source: Source) -> None:
        where = f"{source.location.rstrip('/')}/a-place-that-is-not-there"
        with pytest.raises((RagcoreError, OSError)):
            list(open(where).list())
