"""`ragcore bench`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import Library


@click.command("bench")
@click.option(
    "--answer/--no-answer", default=True, help="Ask the language model, too.", show_default=True
)
@click.option("--save", type=click.Path(dir_okay=False), help="Write the result to this JSON file.")
@click.option("--baseline", type=click.Path(dir_okay=False), help="Compare with a saved result.")
@as_json_option
def command(answer: bool, save: str | None, baseline: str | None, as_json: bool) -> None:
    """Measure how fast this machine embeds, ingests, searches and answers.

    On generated texts and images, with the models of the settings, in a library that is deleted
    afterwards: one to two minutes on two processor cores that have nothing else to do.
    """
    before = _read(Path(baseline)) if baseline else {}
    with Library() as library:
        found = library.evals.speed(answer=answer, progress=progress_line())
        device = library.models.device()
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "measurements": {
            one.name: {
                "value": round(one.value, 3),
                "unit": one.unit,
                "processor_seconds": round(one.processor, 5),
            }
            for one in found
        },
    }
    if before:
        result["baseline"] = before
    if save:
        _write(Path(save), result)
    if as_json:
        print_json(result)
        return
    known = before.get("measurements", {})
    echo(f"{'':20}{'':>22}{'processor ms':>14}{'baseline':>12}")
    for one in found:
        processor = f"{1000 * one.processor:.1f}" if one.processor else ""
        line = f"{one.name:20}{one.value:12.1f} {one.unit:<10}{processor:>13}"
        was = known.get(one.name, {}).get("value")
        echo(line + (f"{one.value / was:11.2f} x" if was else ""))


def _write(path: Path, result: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(result, indent=1), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _read(path: Path) -> dict[str, Any]:
    """A result that `--save` wrote. Raises UsageError for anything else."""
    try:
        found = json.loads(path.read_text("utf-8"))
        values = [one["value"] + 0 for one in found["measurements"].values()]
    except OSError as error:
        raise UsageError(f"cannot read the baseline {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        values = []
    if not values:
        raise UsageError(f"{path} holds no result of ragcore bench: write one with --save")
    found.pop("baseline", None)
    return dict(found)
