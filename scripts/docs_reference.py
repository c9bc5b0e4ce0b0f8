"""The reference pages' generated parts, made from the code: command help, settings, HTTP routes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click


def commands() -> str:
    """The help of every command, as `--help` prints it."""
    from ragcore.cli.main import cli

    parts = []
    for name, command, context in _commands(cli, click.Context(cli, info_name="ragcore")):
        parts.append(f"### {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name, terminal_width=90)
        yield inner.command_path, command, inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def settings() -> str:
    """A table of all settings: name, environment variable, default, meaning."""
    from ragcore.settings import Settings

    rows = ["| setting | environment variable | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if name in COMPUTED_DEFAULTS:
            shown = COMPUTED_DEFAULTS[name]
        elif default in ("", (), None):
            shown = "empty"
        else:
            shown = f"`{default}`"
        rows.append(
            f"| `{name}` | `RAGCORE_{name.upper()}` | {shown} | {_cell(field.description or '')} |"
        )
    return "\n".join(rows)


# Folders that depend on the user.
COMPUTED_DEFAULTS = {
    "home": "`ragcore` in the user's data folder",
    "weights_cache": "`ragcore/weights` in the user's cache folder",
}


def http_routes() -> str:
    """Every route of the HTTP API by tag, from its OpenAPI document.

    With the errors that they share, and the fields of what is sent and answered.
    """
    schema = _openapi()
    by_tag: dict[str, list[str]] = {}
    errors: dict[str, str] = {}
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            tag = (route.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_route(method, path, route))
            errors |= {
                status: _cell(answer.get("description", ""))
                for status, answer in route["responses"].items()
                if status >= "4"
            }
    parts = ["| error | meaning |", "|---|---|"]
    parts += [f"| {status} | {meaning} |" for status, meaning in sorted(errors.items())]
    for tag, routes in by_tag.items():
        parts += ["", f"### {tag}", "", *routes]
    parts += ["### Fields of bodies and answers", ""]
    for name, one in sorted(schema["components"]["schemas"].items()):
        parts += _fields(name, one)
    return "\n".join(parts)


def _fields(name: str, schema: dict[str, Any]) -> list[str]:
    """A table of one schema's fields; nothing for one without fields."""
    if not schema.get("properties"):
        return []
    required = schema.get("required", [])
    rows = [
        f"| `{field}`{' (required)' if field in required else ''} | {_type(one)} "
        f"| {_cell(one.get('description', ''))} |"
        for field, one in schema["properties"].items()
    ]
    about = [_cell(schema["description"]), ""] if schema.get("description") else []
    return [f"#### {name}", "", *about, "| field | type | meaning |", "|---|---|---|", *rows, ""]


def _openapi() -> dict[str, Any]:
    from ragcore.api import create_app
    from ragcore.library import Library
    from ragcore.settings import Settings

    with tempfile.TemporaryDirectory() as home, Library(Settings(home=Path(home))) as library:
        schema: dict[str, Any] = create_app(library).openapi()
    return schema


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    lines = [f"#### `{method.upper()} {path}`", ""]
    if route.get("description"):
        lines += [route["description"], ""]
    if parameters := route.get("parameters"):
        lines += ["| parameter | in | type | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{one['name']}`{' (required)' if one.get('required') else ''} | {one['in']} "
            f"| {_type(one.get('schema', {}))} | {_cell(one.get('description', ''))} |"
            for one in parameters
        ]
        lines.append("")
    for kind, body in route.get("requestBody", {}).get("content", {}).items():
        lines += [f"Body: {_type(body.get('schema', {}))} as `{kind}`.", ""]
    for status, answer in route["responses"].items():
        for kind, body in answer.get("content", {}).items():
            if status < "4":
                lines += [f"Answers {status} with {_type(body.get('schema', {}))} as `{kind}`.", ""]
    refused = ", ".join(sorted(status for status in route["responses"] if status >= "4"))
    return "\n".join([*lines, f"Errors: {refused}.", ""])


def _type(schema: dict[str, Any]) -> str:
    """A schema's type in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    return str(schema.get("type", "any"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


GENERATED: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "http-routes": http_routes,
}
