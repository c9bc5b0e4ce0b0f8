"""`ragcore classify`."""

from __future__ import annotations

import dataclasses

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library


@click.command("classify")
@click.argument("name")
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option("--follow", is_flag=True, help="Also label new files as they come in.")
@click.option("--unfollow", is_flag=True, help="Label new files no longer; nothing else is done.")
@as_json_option
def command(name: str, collection: str, follow: bool, unfollow: bool, as_json: bool) -> None:
    """Label everything in a collection by classifier NAME; labels become search filters.

    For example: ragcore classify pets -c photos, then
    ragcore search "in the garden" -c photos --where label=cat --where "label_confidence>=0.8"
    """
    if follow and unfollow:
        raise UsageError("--follow and --unfollow exclude each other")
    with Library() as library:
        if unfollow:
            library.classifiers.follow(name, collection=collection, on=False)
            echo(f"new files of {collection} are no longer labelled by {name}", err=as_json)
            if as_json:
                print_json(
                    {"classifier": name, "followed": library.classifiers.followed(collection)}
                )
            return
        report = library.classifiers.classify(name, collection=collection, progress=progress_line())
        if follow:
            library.classifiers.follow(name, collection=collection)
        followed = library.classifiers.followed(collection)
    if as_json:
        print_json({**dataclasses.asdict(report), "followed": followed})
        return
    for label, count in sorted(report.labels.items(), key=lambda one: (-one[1], one[0])):
        echo(f"{count:>8,}  {label}")
    source = " from the vectors in the catalog" if report.from_catalog else ""
    echo(f"{report.labelled:,} newly labelled{source} in {report.seconds:.1f} s")
    if report.unreadable:
        echo(f"{report.unreadable:,} could not be read", err=True)
    if name in followed:
        echo(f"new files of {collection} are labelled as they come in")
