"""`ragcore classifiers`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from ragcore.cli.output import ListingGroup, as_json_option, echo, print_json
from ragcore.library import Library


@click.group("classifiers", cls=ListingGroup)
def command() -> None:
    """List, inspect and remove classifiers of your own categories."""


@command.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """Every trained classifier: what it labels, its way, its accuracy, its classes."""
    with Library() as library:
        cards = library.classifiers.list()
    if as_json:
        print_json({"classifiers": [dataclasses.asdict(card) for card in cards]})
        return
    for card in cards:
        what = "images" if card.modality == "image" else "texts"
        scores = card.scores
        echo(
            f"{card.name}: {len(card.labels):,} classes of {what}, {card.way}, accuracy "
            f"{scores.get('accuracy', 0):.2f} ({scores.get('low', 0):.2f} to "
            f"{scores.get('high', 1):.2f}), {card.examples:,} examples"
        )
    if not cards:
        echo("no classifiers yet: `ragcore tune classifier RECIPE.toml` makes one")


@command.command("inspect")
@click.argument("name")
@as_json_option
def inspect(name: str, as_json: bool) -> None:
    """Everything that is known of a classifier: classes, scores, table, doubtful labels."""
    with Library() as library:
        card = library.classifiers.get(name)
        results = library.classifiers.results(name)
    if as_json:
        print_json({**dataclasses.asdict(card), "results": results})
        return
    for key, value in dataclasses.asdict(card).items():
        shown = ", ".join(value) if key == "labels" else value
        echo(f"{key:<16} {shown}")
    show_table(results.get("rows", []))
    for note in results.get("notes", []):
        echo(f"note: {note}")
    for one in results.get("suspicious", [])[:20]:
        echo(
            f"look again: {one['name']} is labelled {one['label']!r}, looks like "
            f"{one['proposed']!r} ({one['probability']:.2f})"
        )
    echo(f"images of the results: {results['folder']}")


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Delete a classifier and the labels it gave. Labels that people gave stay."""
    with Library() as library:
        library.classifiers.get(name)
        if not yes:
            click.confirm(f"Delete classifier {name!r} and all labels that it gave?", abort=True)
        library.classifiers.remove(name)
    echo(f"{name} is deleted")


def show_table(rows: Any) -> None:
    """The ways side by side."""
    if not rows:
        return
    echo(
        f"{'way':<9} {'labels/class':>12} {'accuracy (95 %)':>20} {'macro F1':>8} "
        f"{'ECE':>11} {'weights':>11} {'seconds':>8} {'peak MiB':>8} {'kB on disk':>10}"
    )
    for row in rows:
        count = f"{row['per_class']:g}" + (" (all)" if not row["shots"] else "")
        interval = f"{row['accuracy']:.3f} ({row['low']:.2f}-{row['high']:.2f})"
        calibration = f"{row['ece_before']:.2f} > {row['ece']:.2f}"
        size = f"{row['bytes'] / 1000:,.0f}" if row["bytes"] else ""
        echo(
            f"{row['way']:<9} {count:>12} {interval:>20} {row['macro_f1']:>8.3f} "
            f"{calibration:>11} {row['trained_weights']:>11,} {row['seconds']:>8,.0f} "
            f"{row['peak_bytes'] / 2**20:>8,.0f} {size:>10}"
        )
