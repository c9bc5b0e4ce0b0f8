"""`ragcore imagine`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.renamed import warn_renamed
from ragcore.types import Progress


@click.command("imagine")
@click.argument("prompt", required=False, default="")
@click.option("--negative", default="", help="Words to stay away from.")
@click.option("--style", default="", help="One of the model's styles.")
@click.option(
    "--control", "controls", multiple=True, metavar="KIND:FILE[:WEIGHT[:START-END]]",
    help="Follow a condition taken from an image; may be repeated.",
)  # fmt: skip
@click.option("--ready", is_flag=True, help="The control files are conditions already.")
@click.option(
    "--guidance", multiple=True, metavar="class:NAME:SCALE|text:WORDS:SCALE",
    help="Push towards a class or words; may be repeated.",
)  # fmt: skip
@click.option("--guide", "deprecated", multiple=True, hidden=True, help="See --guidance.")
@click.option(
    "--lora", "loras", multiple=True, metavar="FILE[:WEIGHT]",
    help="Put low-rank weights on (Stable Diffusion); may be repeated.",
)  # fmt: skip
@click.option("--guess", is_flag=True, help="Let the controls work without a prompt.")
@click.option("--from", "start", metavar="FILE", help="Start from this image (see --strength).")
@click.option("--strength", type=float, default=0.6, show_default=True, help="0 keeps the start.")
@click.option("--scale", type=float, default=3.0, show_default=True, help="Weight of the prompt.")
@click.option("--seed", type=int, help="The same seed makes the same image.")
@click.option("--steps", type=int, default=25, show_default=True, help="Denoising steps.")
@click.option("--size", type=int, default=0, help="Pixels a side; 0: the model's own.")
@click.option("--count", type=int, default=1, show_default=True, help="Images, seed by seed.")
@click.option("--sampler", default="dpm++", show_default=True, help="dpm++, ddim or euler.")
@click.option(
    "--recipe", metavar="FILE", help="Make a PNG of ours again; all other options are ignored."
)
@click.option("-o", "--output", default="imagined.png", show_default=True, help="PNG to write.")
@as_json_option
def command(
    controls: tuple[str, ...],
    ready: bool,
    guidance: tuple[str, ...],
    deprecated: tuple[str, ...],
    loras: tuple[str, ...],
    start: str | None,
    recipe: str | None,
    output: str,
    as_json: bool,
    **plain: Any,
) -> None:
    """Make an image from words, and steer it by guidance and conditions.

    The PNG carries everything that is needed to make it again.
    """
    from ragcore.library import ControlRequest, GuidanceRequest, ImagineRequest, LoraRequest

    if deprecated:
        warn_renamed("the option", "--guide", "--guidance")
    target = _target(output)
    with Library() as library:
        if recipe is not None:
            request, _ = library.diffusion.recipe(recipe)
        else:
            request = ImagineRequest(
                **plain,
                start_image=start,
                controls=[ControlRequest.parse(text, ready=ready) for text in controls],
                loras=[LoraRequest.parse(text) for text in loras],
                guidance=[GuidanceRequest.parse(text) for text in (*guidance, *deprecated)],
            )
        made = library.imagine(request, on_step=_shown())
    files = []
    for number, image in enumerate(made.images, 1):
        path = target if len(made.images) == 1 else target.with_stem(f"{target.stem}-{number}")
        _write(path, image.png)
        files.append({"path": str(path), "seed": image.seed})
    if as_json:
        shown = {"files": files, "model": made.model, "steps": made.steps}
        print_json(shown | {"notes": list(made.notes), "seconds": made.seconds})
        return
    for note in made.notes:
        echo(f"note: {note}", err=True)
    for file in files:
        echo(f"{file['path']}  seed {file['seed']}")
    echo(f"{made.seconds:.1f} s")


def _target(output: str) -> Path:
    path = Path(output).expanduser()
    if path.suffix.lower() != ".png":
        raise UsageError(f"-o takes a .png file, not {output!r}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}")
    return path


def _write(path: Path, png: bytes) -> None:
    try:
        path.write_bytes(png)
    except OSError as error:
        raise RagcoreError(f"{path} cannot be written: {error.strerror}") from error


def _shown() -> Any:
    line = progress_line()
    if line is None:
        return None
    began = time.monotonic()

    def show(step: Any) -> None:
        rate = step.number / max(1e-6, time.monotonic() - began)
        stage = "done" if step.number == step.total else "imagine"
        left = (step.total - step.number) / rate
        line(Progress(stage, step.number, step.total, rate, left))

    return show
