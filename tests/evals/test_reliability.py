from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.datasets.reliability import bins, calibration_error, draw_reliability

PAIRS = [(0.95, True)] * 3 + [(0.95, False)] + [(0.25, False)] * 3 + [(0.25, True)] + [(1.0, True)]


def test_bins_by_hand() -> None:
    low, high = bins(PAIRS)
    assert (low.count, low.true) == (4, 0.25)
    assert low.confidence == pytest.approx(0.25)
    assert (high.count, high.true) == (5, 0.8)
    assert high.confidence == pytest.approx(0.96)


def test_error_by_hand() -> None:
    assert calibration_error(PAIRS) == pytest.approx(5 / 9 * 0.16)
    assert calibration_error([]) == 0.0
    assert calibration_error([(1.0, True), (0.0, False)]) == 0.0


def test_the_image_is_written(tmp_path: Path) -> None:
    path = draw_reliability(PAIRS, tmp_path / "deep" / "plot.png")
    assert path.read_bytes().startswith(b"\x89PNG")
