"""Names of places, without a network: the nearest town of a position."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import cache
from typing import Any

from ragcore.errors import MissingExtra
from ragcore.extras import require_extra
from ragcore.types import ImageMetadata

FARTHEST = 50.0  # kilometers from a town: beyond, a position has no name
_EARTH_RADIUS = 6371.0

log = logging.getLogger(__name__)


def place_of(latitude: float | None, longitude: float | None) -> str:
    """Town, region and country ("Luzern, Lucerne, CH").

    "" where none is near, or without the extra `places`, which is logged once.
    """
    if latitude is None or longitude is None:
        return ""
    gazetteer = _gazetteer()
    if gazetteer is None:
        return ""
    town = gazetteer.nearest(latitude, longitude)
    if distance(latitude, longitude, town.lat, town.lon) > FARTHEST:
        return ""
    return ", ".join(dict.fromkeys(part for part in (town.name, town.admin1, town.cc) if part))


def with_place(about: ImageMetadata) -> ImageMetadata:
    """The metadata with the name of its position."""
    place = place_of(about.latitude, about.longitude)
    return replace(about, place=place) if place else about


def distance(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """Kilometers between two positions in degrees, along the surface."""
    here, there = math.radians(latitude), math.radians(to_latitude)
    north, east = there - here, math.radians(to_longitude - longitude)
    haversine = math.sin(north / 2) ** 2
    haversine += math.cos(here) * math.cos(there) * math.sin(east / 2) ** 2
    return 2 * _EARTH_RADIUS * math.asin(math.sqrt(min(1.0, haversine)))


@cache
def _gazetteer() -> Any:
    """Some 50 MB of memory, once a process."""
    try:
        require_extra("places", "names of places")
    except MissingExtra as error:
        log.warning("images get no names of places: %s", error)
        return None
    from rgeocoder import ReverseGeocoder

    return ReverseGeocoder()
