"""Which function of an earlier commit is which of a later one, and that a seed draws."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import side_by_side  # noqa: E402

BEFORE = '''
class Straw:
    def told(self, picture):
        """What it tells."""
        return [line for line in picture if line]

    def close(self):
        return None
'''
AFTER = '''
class Example:
    def predicted(self, image):
        """The predictions of an image."""
        return [row for row in image if row]

    def close(self):
        return 1
'''


def test_a_renamed_function_is_found_by_its_structure() -> None:
    old, new = (side_by_side.functions(source) for source in (BEFORE, AFTER))
    found = {
        side_by_side.name_of(one): side_by_side.name_of(other)
        for one, other in side_by_side.matched(old, new)
    }
    assert found == {"close": "close", "told": "predicted"}


def test_a_function_of_another_structure_is_no_partner() -> None:
    old = side_by_side.functions("def told(x):\n    return x\n")
    new = side_by_side.functions("def predicted(x):\n    for y in x:\n        yield y\n")
    assert list(side_by_side.matched(old, new)) == []
