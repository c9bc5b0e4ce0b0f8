"""A document's coverage as the catalog stores it: one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ragcore.types import Coverage, PartCounts, SkippedParts


def coverage_values(coverage: Coverage) -> dict[str, Any]:
    """The coverage as plain values: its counts by kind of part, and "skipped"."""
    values = asdict(coverage)
    return {**values, "skipped": list(values["skipped"])}


def coverage_of(values: Mapping[str, Any] | None) -> Coverage | None:
    """The coverage that `coverage_values` wrote; None for None."""
    if values is None:
        return None
    counts = {
        one.name: PartCounts(**values.get(one.name, {}))
        for one in fields(Coverage)
        if one.name != "skipped"
    }
    return Coverage(
        **counts, skipped=tuple(SkippedParts(**one) for one in values.get("skipped", ()))
    )
