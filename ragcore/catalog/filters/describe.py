"""The filters described: for help texts, for JSON Schema, for the documentation."""

from __future__ import annotations

from typing import Any

from ragcore.catalog.filters.table import FILTERS, MAX_VALUE

EXAMPLE = {"type": "pdf", "modified>=": "2024"}


def lines() -> list[tuple[str, str]]:
    """Each field's keys, and what its values are."""
    return [(", ".join(field.keys), field.help.replace("`", "")) for field in FILTERS]


def json_schema() -> dict[str, Any]:
    """JSON Schema of the string form: an object of texts by key."""
    properties: dict[str, Any] = {}
    for field in FILTERS:
        about = {"type": "string", "minLength": 1, "maxLength": MAX_VALUE}
        for operator in field.operators:
            bounds = {"=": "", ">=": " (at least)", "<=": " (at most)"}[operator]
            properties[field.key(operator)] = {
                **about,
                "description": f"{field.label}{bounds}: {field.help.replace('`', '')}",
                "examples": [field.type.example],
            }
            if field.renamed_from:
                properties[field.key(operator, field.renamed_from)] = {
                    **about,
                    "description": f"Use {field.key(operator)}.",
                    "deprecated": True,
                }
    return {
        "type": "object",
        "description": "Filters: all must be met.",
        "properties": properties,
        "additionalProperties": False,
        "examples": [EXAMPLE],
    }


def markdown_table() -> str:
    """The table of `docs/explanation/search.md`."""
    rows = ["| field | in Python | value |", "|---|---|---|"]
    for field in FILTERS:
        keys = ", ".join(f"`{key}`" for key in field.keys)
        names = ", ".join(f"`{field.attribute(operator)}`" for operator in field.operators)
        rows.append(f"| {keys} | {names} | {field.help} |")
    return "\n".join(rows)
