"""Writes docs/explanation/side-by-side.md: functions before and after a rewrite, drawn by a seed.

    python scripts/side_by_side.py BEFORE [AFTER] [--seed 20] [--count 5]

Drawn are functions and methods of ragcore/ of which both commits have a version and whose text
differs; files are followed over renames by git. Nobody chooses.
"""

from __future__ import annotations

import argparse
import ast
import random
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "side-by-side.md"
LEAST_LINES, MOST_LINES = 6, 40  # shorter ones say nothing, longer ones fill the page


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def renamed(before: str, after: str) -> dict[str, str]:
    """Python files of ragcore/ that both commits have: the path before, the path after."""
    pairs = {}
    lines = git("diff", "--name-status", "-M30%", "-l0", before, after, "--", "ragcore")
    for line in lines.splitlines():
        status, *paths = line.split("\t")
        if paths[0].endswith(".py") and status[0] in "MR":
            pairs[paths[0]] = paths[-1]
    return pairs


def functions(source: str) -> list[str]:
    """The dedented text of every function and method, in order."""
    lines = source.splitlines()
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
        for node in sorted(found, key=lambda node: node.lineno)
    ]


def shape(text: str) -> str:
    """The structure of a function without names, texts and comments: what a renaming leaves."""

    class Blank(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            return ast.Name("n", node.ctx)

    tree = Blank().visit(ast.parse(text))
    return " ".join(type(node).__name__ for node in ast.walk(tree))


def pairs(before: str, after: str) -> list[tuple[str, str, str, str]]:
    """(path before, text before, path after, text after) of functions that were changed.

    A function is the same one where its name is; else where it is the only one of its file
    without a partner that has the same structure.
    """
    found = []
    for old_path, new_path in sorted(renamed(before, after).items()):
        old = functions(git("show", f"{before}:{old_path}"))
        new = functions(git("show", f"{after}:{new_path}"))
        found += [(old_path, one, new_path, other) for one, other in matched(old, new)]
    return [
        pair
        for pair in found
        if pair[1] != pair[3]
        and all(LEAST_LINES <= text.count("\n") + 1 <= MOST_LINES for text in (pair[1], pair[3]))
    ]


def matched(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    names = [{name_of(text): text for text in texts} for texts in (old, new)]
    for name in names[0].keys() & names[1].keys():
        yield names[0].pop(name), names[1].pop(name)
    shapes: list[dict[str, list[str]]] = [{}, {}]
    for side, left in zip(shapes, names, strict=True):
        for text in left.values():
            side.setdefault(shape(text), []).append(text)
    for key, texts in shapes[0].items():
        others = shapes[1].get(key, [])
        if len(texts) == len(others) == 1:
            yield texts[0], others[0]


def name_of(text: str) -> str:
    [node] = ast.parse(text).body[:1]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return node.name


def page(before: str, after: str, seed: int, count: int) -> str:
    """The page. Raises ValueError if fewer functions have changed than are to be drawn."""
    changed = sorted(pairs(before, after))
    drawn = random.Random(seed).sample(changed, count)
    parts = [
        "# Five functions before and after\n",
        f"Drawn by `random.Random({seed})` from the {len(changed)} functions of `ragcore/` that "
        f"changed between the commits `{before}` and `{after}` (`scripts/side_by_side.py`): a "
        "sample of what plain words changed, not a choice.\n",
    ]
    for old_path, old, new_path, new in drawn:
        where = old_path if old_path == new_path else f"{old_path}, now {new_path}"
        parts += [
            f"## {name_of(new)}\n\n{where}\n",
            f"Before:\n\n```py\n{old}\n```\n",
            f"After:\n\n```py\n{new}\n```\n",
        ]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--count", type=int, default=5)
    given = parser.parse_args()
    after = git("rev-parse", "--short", given.after).strip()
    PAGE.write_text(page(given.before, after, given.seed, given.count), "utf-8")


if __name__ == "__main__":
    main()
