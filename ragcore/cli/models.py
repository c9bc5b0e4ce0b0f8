"""`ragcore models`."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ragcore.cli.output import as_json_option, echo, print_json, progress_line
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings

if TYPE_CHECKING:
    from ragcore.library import AddedModel, Profile


@click.group("models")
def command() -> None:
    """List, fetch and choose models."""


@command.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the profile's models and every known set of weights."""
    with Library() as library:
        profile, profiles = library.models.profile, library.models.profiles()
        status = library.models.weights()
    if as_json:
        print_json(
            {
                "profile": profile.name,
                "profiles": profiles,
                "parts": dict(_parts(profile)),
                "weights": status,
            }
        )
        return
    echo(f"profile {profile.name} (there are {', '.join(profiles)}, or a TOML file)")
    for part, name in _parts(profile):
        echo(f"  {part:<20} {name}")
    echo("weights")
    for one in status:
        size = f"{one.size / 1e6:.0f} MB"
        optional = ", optional" if one.optional else ""
        echo(f"  {one.name:<24} {one.state:<8} {size:>8}  {one.license}{optional}")
        if one.about:
            echo(f"  {'':<24} {one.about}")
        if one.training_data:
            echo(f"  {'':<24} trained on: {one.training_data}")
        if one.commit:
            echo(f"  {'':<24} commit {one.commit}")
        for path, digest in one.checked.items():
            echo(f"  {'':<24} sha256 {digest}  {path}")


@command.command("pull")
@click.argument("names", nargs=-1)
@click.option(
    "--verify", is_flag=True, help="Also check every file's checksum; download what differs."
)
@as_json_option
def pull(names: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """Fetch weights by name, or all that the profile needs. What is there is not fetched again."""
    with Library() as library:
        folders = library.models.pull(names, verify=verify, progress=progress_line())
    if as_json:
        print_json({"weights": {name: str(folder) for name, folder in folders.items()}})
        return
    for name, folder in folders.items():
        echo(f"{name}: {folder}")


_port_option = click.option(
    "--port", "ports", type=int, multiple=True, metavar="PORT",
    help="Look at this port of 127.0.0.1, too; may be repeated.",
)  # fmt: skip


@command.command("find")
@_port_option
@as_json_option
def find(ports: tuple[int, ...], as_json: bool) -> None:
    """List the models of servers on this computer: Ollama, LM Studio, llama-server, vLLM, TEI.

    Only 127.0.0.1 is looked at, on the servers' usual ports.
    """
    with Library() as library:
        servers = library.models.find_servers(ports)
    if as_json:
        print_json({"servers": servers})
        return
    for server in servers:
        echo(f"{server.kind} {server.version}".strip() + f" at {server.url}")
        for model in server.models:
            facts = [model.task, *(["images"] if model.vision else [])]
            if model.context_length:
                facts.append(f"{model.context_length} tokens")
            echo(f"  {server.kind}:{model.name:<40} {', '.join(facts)}")
    if servers:
        echo("`ragcore models use KIND:NAME` takes one into the profile")
    else:
        echo("no model server answers on its usual ports of 127.0.0.1; --port names another")


@command.command("use")
@click.argument("profile", required=False)
@click.option("-c", "--collection", help="Re-embed this collection with the profile's models.")
@click.option(
    "--as", "part", type=click.Choice(["llm", "vision_llm", "text_encoder", "reranker"]),
    help="Which part of the profile a served model becomes; without: by its task.",
)  # fmt: skip
@_port_option
@as_json_option
def use(
    profile: str | None,
    collection: str | None,
    part: str | None,
    ports: tuple[int, ...],
    as_json: bool,
) -> None:
    """Choose a profile for good: tiny, starter, standard, large, or a TOML file of your own.

    PROFILE may be a model of a server on this computer, as `ragcore models find` lists them
    ("ollama:qwen3:4b"): the present profile with that model is written to a new file.

    A collection is searched by the models that it was embedded by. --collection re-embeds it
    by those of the profile (without PROFILE: the present one); the old vectors answer meanwhile,
    and a run that was stopped goes on where it ended. The profile is stored at the end.
    """
    if profile is None and collection is None:
        raise UsageError("name a profile, a --collection to re-embed, or both")
    if profile is not None and ":" in profile:
        with Library() as library:
            profile = str(library.models.write_served(profile, part=part or "", ports=ports))
    elif part or ports:
        raise UsageError("--as and --port go with a served model, such as ollama:qwen3:4b")
    settings = Settings() if profile is None else _chosen(profile)
    result: dict[str, Any] = {"profile": settings.profile}
    with Library(settings) as library:
        if collection is not None:
            library.find_collection(collection)  # an unknown one is an error before any work
            result["collection"] = collection
            result["embedded"] = library.admin.reembed(collection, progress=progress_line())
        result["others"] = library.models.others()
        if profile is not None:
            library.models.use_profile()
    if as_json:
        print_json(result)
        return
    echo(f"profile {result['profile']}")
    if collection is not None:
        report = result["embedded"]
        counts = ", ".join(f"{count} {of} vectors" for of, count in report.embedded.items())
        echo(f"{collection!r}: {counts} in {report.seconds:.1f} s")
        if report.other_sizes:
            echo(
                f"{report.other_sizes} documents have passages of another length than this model "
                "reads: they are searched as they are, and split again when their files are next "
                "ingested"
            )
    for name in result["others"]:
        echo(f"{name!r} is embedded by other models: `ragcore models use -c {name}`")


@command.command("add")
@click.argument("model")
@click.option("--file", default="", metavar="NAME", help="Which of several GGUF files.")
@click.option(
    "--quantize", "quantization", type=click.Choice(["4bit", "8bit"]),
    help="Load a model of transformers in 4 or 8 bits (package bitsandbytes).",
)  # fmt: skip
@click.option("--accept-license", is_flag=True, help="Accept the model's license without asking.")
@click.option("--dry-run", is_flag=True, help="Only show what it is; fetch and write nothing.")
@as_json_option
def add(
    model: str,
    file: str,
    quantization: str | None,
    accept_license: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take a model into the profile: hub:OWNER/NAME, a hub address, a folder or a .gguf file.

    It is inspected first (task, dimension, length, chat template, memory, license); its license is
    shown and has to be accepted once. A profile like the present one with this model is written
    and stored.
    """
    with Library() as library:
        how: dict[str, Any] = {"file": file, "quantization": quantization or ""}
        found = library.models.add(model, dry_run=True, **how)
        if not as_json:
            _show(found)
        if not dry_run:
            if not (found.accepted or accept_license or as_json) and sys.stdin.isatty():
                accept_license = click.confirm("Accept this license?", err=True)
            found = library.models.add(
                model, accept_license=accept_license, progress=progress_line(), **how
            )
            library.models.use_profile(str(found.profile))
    if as_json:
        report = dataclasses.asdict(found.report)
        print_json({**report, "need": found.need, "free": found.free, "fits": found.fits,
                    "accepted": found.accepted, "profile": found.profile})  # fmt: skip
    elif found.profile is not None:
        echo(f"profile {found.profile}")


def _show(found: AddedModel) -> None:
    report = found.report
    rows = {
        "model": report.weights,
        "part": f"{report.part} ({report.kind}, {report.architecture})",
        "dimension": report.dimension or "",
        "length": f"{report.length} tokens" if report.length else "",
        "template": {True: "yes", False: "none", None: ""}[report.template],
        "license": (report.license or "unknown") + (", accepted before" if found.accepted else ""),
        "memory": f"{found.need / 1e9:.2f} GB with one prompt, {found.free / 1e9:.2f} GB are free",
    }
    for name, value in rows.items():
        if value:
            echo(f"{name:<10} {value}")
    for note in report.notes:
        echo(f"{'note':<10} {note}")
    if not found.fits:
        echo(
            f"{'note':<10} it does not fit into the free memory: take a smaller one, a GGUF file "
            "in 4 bits, or --quantize 4bit"
        )


def _chosen(profile: str) -> Settings:
    """The settings with this profile. Raises UsageError if it is none, or cannot be stored."""
    present = Settings()
    chosen = profile
    with Library(present) as library:
        if profile not in library.models.profiles() and profile.endswith(".toml"):
            chosen = str(Path(profile).expanduser().absolute())
    wanted = Settings(home=present.home, profile=chosen)
    with Library(wanted) as library:
        library.models.profile  # noqa: B018 - raises if it is none
    if os.environ.get("RAGCORE_PROFILE", chosen) != chosen:
        raise UsageError("RAGCORE_PROFILE is set and overrides the stored profile: unset it")
    return wanted


def _parts(profile: Profile) -> list[tuple[str, str]]:
    return [(part, reference.name) for part, reference in profile.parts()]
