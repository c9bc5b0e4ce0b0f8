"""`ragcore doctor`."""

from __future__ import annotations

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.library import Library


@click.command("doctor")
@click.option("--repair", is_flag=True, help="Repair what can be repaired.")
@click.option("--quick", is_flag=True, help="Leave out the checksums of the weights.")
@as_json_option
@click.pass_context
def command(ctx: click.Context, repair: bool, quick: bool, as_json: bool) -> None:
    """Check the installation and the library's consistency.

    Exit code 0: all is well (or was repaired), 1: there are problems.
    """
    with Library() as library:
        diagnosis = library.admin.doctor(repair=repair, verify=not quick)
    if as_json:
        print_json(
            {
                "healthy": diagnosis.healthy,
                "versions": diagnosis.versions,
                "device": diagnosis.device,
                "findings": diagnosis.findings,
            }
        )
    else:
        echo("  ".join(f"{name} {value}" for name, value in diagnosis.versions.items()))
        for name, value in diagnosis.device.items():
            echo(f"  {name:<12} {value}")
        for finding in diagnosis.findings:
            echo(f"{finding.state:<9} {finding.subject}: {finding.detail}")
        echo("all is well" if diagnosis.healthy else "there are problems")
    if not diagnosis.healthy:
        ctx.exit(1)
