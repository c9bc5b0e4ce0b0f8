"""`ragcore tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.settings import Settings

_recipe = click.argument("recipe", metavar="RECIPE.toml")
_fresh = click.option("--fresh", is_flag=True, help="Start anew, even if a run can be resumed.")
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
    """Tune an image-text model on pictures with captions."""
    path = _recipe_file(recipe)
    from ragcore.tuning.clip import tune_clip

    report = tune_clip(path, settings=Settings(), progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("lora")
@_recipe
@_fresh
@as_json_option
def lora(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train a low-rank adapter of a language model."""
    path = _recipe_file(recipe)
    from ragcore.tuning.lora import tune_lora

    report = tune_lora(path, settings=Settings(), progress=progress_line(), resume=not fresh)
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
    from ragcore.tuning.calibration import calibrate_model

    file, found, scores = calibrate_model(
        path, settings=Settings(), adapter=adapter, limit=limit, progress=progress_line()
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
    """Train a latent diffusion model of small pictures from scratch."""
    path = _recipe_file(recipe)
    from ragcore.tuning.diffusion import STAGES, tune_diffusion

    report = tune_diffusion(
        path,
        settings=Settings(),
        stages=stages or STAGES,
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
    from ragcore.tuning.controlnet import tune_controlnet

    report = tune_controlnet(
        path,
        settings=Settings(),
        max_minutes=max_minutes,
        progress=progress_line(),
        resume=not fresh,
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
    """Teach categories of your own from labelled pictures or texts."""
    path = _recipe_file(recipe)
    from ragcore.cli.classifiers import show_table
    from ragcore.library import Library
    from ragcore.tuning.classifier_recipe import ClassifierRecipe
    from ragcore.tuning.recipe import read_recipe

    read = read_recipe(path, ClassifierRecipe)
    if ways:
        chosen = tuple(dict.fromkeys(ways))
        curve_ways = tuple(way for way in read.curve_ways if way in chosen)
        changed = read.model_copy(update={"ways": chosen, "curve_ways": curve_ways})
        read = changed.within(path.absolute().parent)
    with Library() as library:
        report = library.tune_classifier(read, progress=progress_line(), resume=not fresh)
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
    """Teach a language model to answer about pictures."""
    path = _recipe_file(recipe)
    from ragcore.tuning.projector import tune_projector

    report = tune_projector(path, settings=Settings(), progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("reader")
@_recipe
@_fresh
@as_json_option
def reader(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train an extractive reader: answer spans, passages, and questions without an answer."""
    path = _recipe_file(recipe)
    from ragcore.tuning.extractive import tune_reader

    report = tune_reader(path, settings=Settings(), progress=progress_line(), resume=not fresh)
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
