"""Names of positions: the nearest town, none far from every town."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import pytest

from ragcore.ingest import places
from ragcore.types import ImageMetadata


@dataclass(frozen=True)
class Town:
    name: str
    admin1: str
    cc: str
    lat: float
    lon: float


TOWNS = (
    Town("Luzern", "Lucerne", "CH", 47.05048, 8.30635),
    Town("Takoradi", "Western", "GH", 4.88447, -1.75536),
    Town("Suva", "Central", "FJ", -18.14161, 178.44149),
    Town("Singapore", "", "SG", 1.28967, 103.85007),
)


class Towns:
    """The nearest of a few, as a gazetteer has it: always an answer."""

    def nearest(self, latitude: float, longitude: float) -> Town:
        return min(TOWNS, key=lambda one: places.distance(latitude, longitude, one.lat, one.lon))


@pytest.mark.parametrize(
    ("latitude", "longitude", "right"),
    [
        (47.05, 8.3, "Luzern, Lucerne, CH"),
        (47.4, 8.6, "Luzern, Lucerne, CH"),  # 45 km
        (47.5, 8.6, ""),  # 55 km
        (0.0, 0.0, ""),  # 577 km from Takoradi
        (1.3, 103.9, "Singapore, SG"),
        (-18.1, 178.4, "Suva, Central, FJ"),
        (-18.0, -179.9, ""),
        (None, None, ""),
    ],
)
def test_place_of(
    monkeypatch: pytest.MonkeyPatch, latitude: float | None, longitude: float | None, right: str
) -> None:
    monkeypatch.setattr(places, "_gazetteer", Towns)
    assert places.place_of(latitude, longitude) == right
    about = ImageMetadata(latitude=latitude, longitude=longitude)
    assert places.with_place(about).place == right


def test_the_gazetteer_knows_towns() -> None:
    places._gazetteer.cache_clear()
    assert places.place_of(47.05, 8.3) == "Luzern, Lucerne, CH"
    assert places.place_of(48.8566, 2.3522).startswith("Paris, ")
    assert places.place_of(0.0, 0.0) == ""


def test_distances() -> None:
    assert places.distance(47.05, 8.3, 47.05, 8.3) == 0
    assert places.distance(52.52, 13.405, 48.8566, 2.3522) == pytest.approx(878, abs=2)
    assert places.distance(0, 179.5, 0, -179.5) == pytest.approx(111.2, abs=0.1)
    assert places.distance(90, 0, -90, 120) == pytest.approx(20015, abs=1)


def test_without_a_gazetteer_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "rgeocoder", None)
    places._gazetteer.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert places.place_of(47.05, 8.3) == ""
        assert places.place_of(47.05, 8.3) == ""
    places._gazetteer.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "images get no names of places: names of places need rgeocoder, not installed here: "
        'pip install "ragcore[places]"'
    ]
