"""Profiles that ragcore writes: one that exists, with some of its parts replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.files import replace_private
from ragcore.weights.profiles import GROUPS, ModelRef, Profile, parse_profile

if TYPE_CHECKING:
    from ragcore.settings import Settings


def write_own_profile(
    settings: Settings, base: Profile, changes: Mapping[str, ModelRef | None], *, title: str
) -> Path:
    """Write `base` with `changes` by part (None: switched off) below the home; return the file.

    `title` names profile and file. Raises UsageError for an unknown part or a profile that could
    not be read again.
    """
    name = re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-.") or "own"
    text = own_profile_text(base, changes, name=name)
    path = settings.home / "profiles" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_private(path, text)
    return path


def own_profile_text(base: Profile, changes: Mapping[str, ModelRef | None], *, name: str) -> str:
    """The TOML of `base` with `changes`. Errors as of `write_own_profile`."""
    for part in changes:
        if part not in GROUPS:
            raise UsageError(f"a profile has no part {part!r}: use {', '.join(GROUPS)}")
    made = ", ".join(
        f"{part} {'switched off' if one is None else one.name}" for part, one in changes.items()
    )
    description = f"Profile {base.name} with {made}."
    parts: dict[str, Any] = dict(changes)
    profile = replace(base, name=name, description=description, **parts)
    text = "\n".join(_lines(profile)) + "\n"
    parse_profile(text, where=f"the profile {name}")
    return text


def _lines(profile: Profile) -> Iterator[str]:
    yield f"name = {_value(profile.name)}"
    yield f"description = {_value(profile.description)}"
    for part, reference in profile.parts():
        table = part.replace("controlnet.", "controlnets.").replace("condition.", "conditions.")
        yield from _table(table, reference)


def _table(table: str, reference: ModelRef) -> Iterator[str]:
    yield f"\n[{table}]"
    yield f"weights = {_value(reference.name)}"
    yield f"kind = {_value(reference.kind)}"
    if reference.also:
        yield f"also = {_value(list(reference.also))}"
    if reference.options:
        yield f"options = {_value(dict(reference.options))}"
    if reference.passage_tokens:
        yield f"passage_tokens = {reference.passage_tokens}"
    if reference.otherwise is not None:
        yield from _table(f"{table}.otherwise", reference.otherwise)


def _value(value: Any) -> str:
    """A TOML value: JSON's strings, numbers and lists are those of TOML, too."""
    if isinstance(value, Mapping):
        pairs = (f"{_value(str(key))} = {_value(one)}" for key, one in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
