"""`ragcore tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import print_json, progress_line
from ragcore.errors import UsageError
from ragcore.settings import Settings

_recipe = click.argument("recipe", metavar="RECIPE.toml")
_fresh = click.option("--fresh", is_flag=True, help="Start anew, even if a run can be resumed.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("tune")
def command() -> None:
    """Adapt a model to a recipe: data, model, steps and output in one TOML file.

    A run that was stopped goes on from its last checkpoint.
    """


@command.command("clip")
@_recipe
@_fresh
@_as_json
def clip(recipe: str, fresh: bool, as_json: bool) -> None:
    """Tune an image-text model on pictures with captions."""
    path = _recipe_file(recipe)
    from ragcore.tuning.clip import tune_clip

    report = tune_clip(path, settings=Settings(), progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("lora")
@_recipe
@_fresh
@_as_json
def lora(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train a low-rank adapter of a language model."""
    path = _recipe_file(recipe)
    from ragcore.tuning.lora import tune_lora

    report = tune_lora(path, settings=Settings(), progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("diffusion")
@_recipe
@_fresh
@_as_json
def diffusion(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train a latent diffusion model of small pictures from scratch."""
    path = _recipe_file(recipe)
    from ragcore.tuning.diffusion import tune_diffusion

    report = tune_diffusion(path, settings=Settings(), progress=progress_line(), resume=not fresh)
    _show(report, as_json)


@command.command("controlnet")
@_recipe
@_fresh
@_as_json
def controlnet(recipe: str, fresh: bool, as_json: bool) -> None:
    """Train a ControlNet over a frozen diffusion model."""
    path = _recipe_file(recipe)
    from ragcore.tuning.controlnet import tune_controlnet

    report = tune_controlnet(path, settings=Settings(), progress=progress_line(), resume=not fresh)
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
        click.echo(f"{name:<20} {value}")
