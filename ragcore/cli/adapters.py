"""`ragcore adapters`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ragcore.cli.output import ListingGroup, as_json_option, echo, print_json
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library

if TYPE_CHECKING:
    from ragcore.library import AdapterInfo

_replace = click.option("--replace", is_flag=True, help="Take the place of one of this name.")


@click.group("adapters", cls=ListingGroup)
def command() -> None:
    """Low-rank adapters (LoRA) of the language model: list, choose, combine, write out."""


@command.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """Every adapter, and the collections that answer with another than the profile's."""
    with Library() as library:
        found = library.adapters.list()
        chosen = {c.name: library.adapters.used_by(c.name) for c in library.collections()}
    used = {collection: name for collection, name in chosen.items() if name}
    if as_json:
        print_json({"adapters": [_row(one) for one in found], "collections": used})
        return
    for one in found:
        echo(_line(one))
    for collection, name in used.items():
        echo(f"collection {collection!r} answers with {name}")


@command.command("inspect")
@click.argument("name")
@as_json_option
def inspect(name: str, as_json: bool) -> None:
    """What is known of an adapter: base model, rank, alpha, layers, size, folder."""
    with Library() as library:
        row = _row(library.adapters.inspect(name))
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        echo(f"{key:<8} {', '.join(value) if isinstance(value, list) else value}")


@command.command("add")
@click.argument("folder")
@click.option("--name", help="Its name here.  [default: the folder's]")
@_replace
@as_json_option
def add(folder: str, name: str | None, replace: bool, as_json: bool) -> None:
    """Copy an adapter folder in peft's layout (safetensors) into the home folder."""
    path = Path(folder).expanduser()
    with Library() as library:
        info = library.adapters.add(path, name or path.resolve().name, replace=replace)
    _made(info, as_json)


@command.command("use")
@click.argument("name")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@as_json_option
def use(name: str, collection: str, as_json: bool) -> None:
    """Answer a collection's questions with an adapter; none: the bare model; default: undo."""
    with Library() as library:
        library.adapters.use(name, collection)
    _done({"collection": collection, "adapter": name}, f"{collection!r}: {name}", as_json)


@command.command("combine")
@click.argument("parts", nargs=-1, required=True, metavar="NAME=WEIGHT...")
@click.option("--name", required=True, help="Name of the new adapter.")
@_replace
@as_json_option
def combine(parts: tuple[str, ...], name: str, replace: bool, as_json: bool) -> None:
    """Add adapters, each times its weight, into a new one. Ranks add up."""
    weights = dict(_weight(part) for part in parts)
    if len(weights) < len(parts):
        raise UsageError("name each adapter once")
    with Library() as library:
        info = library.adapters.combine(weights, name, replace=replace)
    _made(info, as_json)


@command.command("merge")
@click.argument("name")
@click.argument("folder")
@as_json_option
def merge(name: str, folder: str, as_json: bool) -> None:
    """Write base plus adapter as an ordinary model folder (safetensors)."""
    with Library() as library:
        written = library.adapters.write(name, Path(folder).expanduser())
    _done({"adapter": name, "folder": str(written)}, f"{name} is merged in {written}", as_json)


@command.command("export")
@click.argument("name")
@click.argument("file", metavar="FILE.gguf")
@click.option(
    "--precision", type=click.Choice(["f16", "f32"]), default="f16", show_default=True,
    help="Number format of the weights.",
)  # fmt: skip
@as_json_option
def export(name: str, file: str, precision: Any, as_json: bool) -> None:
    """Write base plus adapter as one GGUF file, for llama.cpp."""
    with Library() as library:
        written = library.adapters.write(name, Path(file).expanduser(), precision=precision)
    _done({"adapter": name, "file": str(written)}, f"{name} is written to {written}", as_json)


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Delete an adapter of the home folder. Shipped ones stay."""
    with Library() as library:
        library.adapters.inspect(name)
        if not yes:
            click.confirm(f"Delete adapter {name!r}?", abort=True, err=True)
        library.adapters.remove(name)
    _done({"removed": name}, f"{name} is deleted", as_json)


def _weight(part: str) -> tuple[str, float]:
    name, _, weight = part.rpartition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise UsageError(f"{part!r} is no NAME=WEIGHT, such as legal=0.5") from None


def _row(info: AdapterInfo) -> dict[str, Any]:
    return {**asdict(info), "folder": str(info.folder), "targets": list(info.targets)}


def _line(info: AdapterInfo) -> str:
    shipped = ", comes with ragcore" if info.shipped else ""
    return (
        f"{info.name}: rank {info.rank}, alpha {info.alpha:g}, {info.bytes / 1e6:.1f} MB, "
        f"for {info.base}{shipped}"
    )


def _made(info: AdapterInfo, as_json: bool) -> None:
    _done(_row(info), _line(info), as_json)


def _done(result: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        echo(line)
