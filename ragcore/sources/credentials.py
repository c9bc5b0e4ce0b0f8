"""Credentials of sources: from one file of the person's, and what it refers to.

They are looked up when a connection is made, and are in no URL, catalog, log or answer.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import RagcoreError, UsageError
from ragcore.extras import require_extra
from ragcore.redaction import remember

if TYPE_CHECKING:
    from ragcore.settings import Settings

_NAME = "credentials.toml"
_OPEN = 0o077  # permissions of a file that others may read or change
# What is no secret, and may be shown: names and addresses of servers.
_NO_SECRETS = frozenset({"user", "endpoint_url", "region", "host_key", "ca_file"})


def credentials(url: str, settings: Settings) -> dict[str, Any]:
    """The values for a URL: those of the longest URL in the file that it is, or is below.

    A text value `env:NAME`, `file:PATH` or `keyring:SERVICE/USER` is replaced by what it refers
    to. Empty if there is no file, or nothing for the URL. Raises UsageError for a file that others
    may read, that is no TOML, or whose references lead nowhere.
    """
    path = settings.source_credentials or settings.home / _NAME
    entries = _read(path, required=settings.source_credentials is not None)
    matching = [prefix for prefix in entries if _is_below(url, prefix)]
    if not matching:
        return {}
    prefix = max(matching, key=len)
    found = {}
    for name, value in entries[prefix].items():
        found[name] = _resolved(value, f"{path}, {prefix}, {name}")
        if name not in _NO_SECRETS and isinstance(found[name], str):
            remember(found[name])
    return found


def _read(path: Path, *, required: bool) -> Mapping[str, Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OPEN:
                raise UsageError(f"{path} can be read by other users: run chmod 600 {path}")
            table = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise UsageError(f"there is no file {path} (setting source_credentials)") from None
        return {}
    except OSError as error:
        raise RagcoreError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    for prefix, entry in table.items():
        if not isinstance(entry, dict) or "://" not in prefix:
            raise UsageError(f'{path}: write a section ["SCHEME://HOST/PATH"], not [{prefix}]')
    return table


def _is_below(url: str, prefix: str) -> bool:
    prefix = prefix.rstrip("/")
    return url.rstrip("/") == prefix or url.startswith(prefix + "/")


def _resolved(value: Any, where: str) -> Any:
    """A value, or what it refers to."""
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "env":
        found = os.environ.get(rest)
        if not found:
            raise UsageError(f"{where}: the environment variable {rest} is not set")
        return found
    if kind == "file":
        try:
            return Path(rest).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where}: {rest} cannot be read: {error}") from None
    if kind == "keyring":
        return _from_keyring(rest, where)
    return value


def _from_keyring(rest: str, where: str) -> str:
    require_extra("remote", "credentials in a keyring")
    import keyring
    from keyring.errors import KeyringError

    service, _, user = rest.rpartition("/")
    try:
        found: str | None = keyring.get_password(service, user)
    except KeyringError as error:
        raise UsageError(f"{where}: the keyring cannot be read: {error}") from None
    if not found:
        raise UsageError(f"{where}: the keyring has no password of {user!r} for {service!r}")
    return found
