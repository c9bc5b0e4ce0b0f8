"""`ragcore tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import Library

_recipe = click.argument("recipe", metavar="RECIPE.toml")
_fresh = click.option("--fresh", is_flag=True, help="Start again, even if a run can be resumed.")
_max_minutes = click.option(
    "--max-minutes", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES",
    help="Stop each stage by the clock, in place of the recipe's own limit.",
)  # fmt: skip


@click.group("tune")
def command() -> None:
    """Adapt a model to a recipe: data, model, steps and output in one TOML file.

    A run that was stopped goes on from its last checkpoint.
    """


@command.command("clip")
@_recipe
@_fresh
@as_json_option
def clip(recipe: str, fresh: bool, as_json: bool) -> None:
    """Tune an image-text model on images with captions."""
    path = _recipe_file(recipe)
    with Library() as library:
        report = library.training.clip(path, progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("lora")
@_recipe
@_fresh
@as_json_option
def lora(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train a low-rank adapter of a language model."""
    path = _recipe_file(recipe)
    with Library() as library:
        report = library.training.lora(path, progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("calibration")
@click.argument("questions", metavar="QUESTIONS.jsonl")
@click.option("--adapter", metavar="NAME", help="With this adapter (none: the bare model).")
@click.option("--limit", type=click.IntRange(min=1), help="The first contexts only.")
@as_json_option
def calibration(questions: str, adapter: str | None, limit: int | None, as_json: bool) -> None:
    """Fit how sure the language model's answers are on questions with known answers.

    A line has question, context and answers (none: the context does not say). `ask` uses the
    result from then on, with the same model and adapter.
    """
    path = _recipe_file(questions)
    with Library() as library:
        file, found, scores = library.training.calibration(
            path, adapter=adapter, limit=limit, progress=progress_line()
        )
    if as_json:
        print_json({"file": str(file), **dataclasses.asdict(found), "scores": scores})
        return
    for count, row in scores.items():
        echo(f"{count} passages: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
    echo(f"{found.passages} passages are read; written to {file}")


@command.command("diffusion")
@_recipe
@click.option(
    "--stage", "stages", multiple=True,
    type=click.Choice(["autoencoder", "denoiser", "classifier"]),
    help="Train this stage only; may be repeated.",
)  # fmt: skip
@_max_minutes
@_fresh
@as_json_option
def diffusion(
    recipe: str, stages: tuple[Any, ...], max_minutes: float | None, fresh: bool, as_json: bool
) -> None:
    """Train a latent diffusion model of small images from scratch."""
    path = _recipe_file(recipe)
    with Library() as library:
        report = library.training.diffusion(
            path,
            stages=stages,
            max_minutes=max_minutes,
            progress=progress_line(),
            resume=not fresh,
        )
    _show(report, as_json)


@command.command("controlnet")
@_recipe
@_max_minutes
@_fresh
@as_json_option
def controlnet(recipe: str, max_minutes: float | None, fresh: bool, as_json: bool) -> None:
    """Train a ControlNet over a frozen diffusion model."""
    path = _recipe_file(recipe)
    with Library() as library:
        report = library.training.controlnet(
            path, max_minutes=max_minutes, progress=progress_line(), resume=not fresh
        )
    _show(report, as_json)


@command.command("classifier")
@_recipe
@click.option(
    "--way", "ways", multiple=True, type=click.Choice(["features", "lora", "full"]),
    help="Train this way instead of the recipe's; may be repeated.",
)  # fmt: skip
@_fresh
@as_json_option
def classifier(recipe: str, ways: tuple[str, ...], fresh: bool, as_json: bool) -> None:
    """Train a classifier of your own categories from labelled images or texts."""
    path = _recipe_file(recipe)
    from ragcore.cli.classifiers import show_table

    with Library() as library:
        report = library.training.classifier(
            path, ways=ways, progress=progress_line(), resume=not fresh
        )
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    show_table(report.rows)
    for note in report.notes:
        echo(f"note: {note}")
    for name, value in report.flipped.items():
        echo(f"{'flipped labels':<20} {name} {value:.3f}")
    echo(f"{'kept':<20} {report.kept}")
    echo(f"{'labels to review':<20} {report.suspicious}")
    echo(f"{'folder':<20} {report.folder}")


@command.command("projector")
@_recipe
@_fresh
@as_json_option
def projector(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train a language model to answer about images."""
    path = _recipe_file(recipe)
    with Library() as library:
        report = library.training.projector(path, progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("reader")
@_recipe
@_fresh
@as_json_option
def reader(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train an extractive reader: answer spans, passages, and questions without an answer."""
    path = _recipe_file(recipe)
    with Library() as library:
        report = library.training.reader(path, progress=progress_line(), resume=not fresh)
    _show(report, as_json)


def _recipe_file(given: str) -> Path:
    """Raises UsageError unless there is such a file."""
    path = Path(given).expanduser()
    if not path.is_file():
        raise UsageError(f"no such recipe: {path}")
    return path


def _show(report: Any, as_json: bool) -> None:
    values = report if isinstance(report, Mapping) else dataclasses.asdict(report)
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        echo(f"{name:<20} {value}")
