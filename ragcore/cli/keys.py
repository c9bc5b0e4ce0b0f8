"""`ragcore keys`."""

from __future__ import annotations

import datetime as dt
import re
import sys
from dataclasses import asdict
from typing import Any

import click

from ragcore.cli.output import as_json_option, echo, print_json
from ragcore.errors import UsageError
from ragcore.library import SCOPES, KeyInfo, Library

_UNITS = {"h": dt.timedelta(hours=1), "d": dt.timedelta(days=1), "w": dt.timedelta(weeks=1)}


@click.group("keys")
def command() -> None:
    """Who may use the HTTP API and the pages: make, list and revoke keys; see who used them."""


@command.command("create")
@click.option("--name", required=True, help="Who or what uses it.")
@click.option(
    "--scope", type=click.Choice(SCOPES), required=True, help="Each may do what those before may."
)
@click.option(
    "-c", "--collection", "collections", multiple=True, help="Only this one; may be repeated."
)
@click.option("--expires", help="How long it lives, as in 12h, 90d or 52w; for ever without.")
@click.option(
    "--password", is_flag=True, help="Ask for a password too: logs in to the pages by NAME."
)
@as_json_option
def create(
    name: str,
    scope: str,
    collections: tuple[str, ...],
    expires: str | None,
    password: bool,
    as_json: bool,
) -> None:
    """Make a key and print it, for the only time."""
    lifetime = parse_time(expires) if expires else None
    with Library() as library:
        key, info = library.admin.keys.create(
            name,
            scope=scope,
            collections=collections,
            lifetime=lifetime,
            password=_ask_password() if password else None,
        )
    _show_key(key, info, as_json)


@command.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the keys, those that are over as well."""
    with Library() as library:
        infos = library.admin.keys.all()
    if as_json:
        print_json({"keys": [_shown(info) for info in infos]})
        return
    for info in infos:
        echo(_about(info))
    if not infos:
        echo("no keys yet: `ragcore keys create --name NAME --scope read` makes one")


@command.command("password")
@click.argument("which")
@click.option("--remove", is_flag=True, help="No login by name any more.")
@as_json_option
def password(which: str, remove: bool, as_json: bool) -> None:
    """Ask for a password for the pages, for the key of this number or first letters."""
    with Library() as library:
        info = library.admin.keys.set_password(which, None if remove else _ask_password())
    if as_json:
        print_json(_shown(info))
    else:
        echo(f"{info.name}: {'no password' if remove else 'the password is set'}")


@command.command("renew")
@click.argument("which")
@as_json_option
def renew(which: str, as_json: bool) -> None:
    """Replace a key by another with the same rights, and print it, for the only time."""
    with Library() as library:
        key, info = library.admin.keys.renew(which)
    _show_key(key, info, as_json)


@command.command("revoke")
@click.argument("which")
@as_json_option
def revoke(which: str, as_json: bool) -> None:
    """End a key, given by its number or its first letters, at once."""
    with Library() as library:
        info = library.admin.keys.revoke(which)
    if as_json:
        print_json({"revoked": _shown(info)})
    else:
        echo(f"revoked {info.prefix}… ({info.name})")


@command.command("disable")
@click.argument("which")
@as_json_option
def disable(which: str, as_json: bool) -> None:
    """Shut an account out for now: key, logins, answers under way and jobs end at once."""
    with Library() as library:
        info = library.admin.keys.disable(which)
    _show_state(info, as_json)


@command.command("enable")
@click.argument("which")
@as_json_option
def enable(which: str, as_json: bool) -> None:
    """Let a disabled account in again. Its sessions are ended; it logs in again."""
    with Library() as library:
        info = library.admin.keys.enable(which)
    _show_state(info, as_json)


@command.command("sessions")
@as_json_option
def sessions(as_json: bool) -> None:
    """List who is logged in to the pages, the one last seen first."""
    with Library() as library:
        found = library.admin.sessions.all()
    if as_json:
        print_json({"sessions": [asdict(one) for one in found]})
        return
    for one in found:
        echo(
            f"{one.id}  {one.name} (key {one.key_id})  since {one.created_at:%Y-%m-%d %H:%M}, "
            f"seen {one.last_seen_at:%Y-%m-%d %H:%M}  {one.client or '-'}  {one.browser or '-'}"
        )
    if not found:
        echo("nobody is logged in")


@command.command("end-session")
@click.argument("numbers", nargs=-1, type=int)
@click.option("--key", type=int, help="All sessions of the key of this number.")
@as_json_option
def end_session(numbers: tuple[int, ...], key: int | None, as_json: bool) -> None:
    """Log somebody out: end sessions by their numbers, or all of one account."""
    if not numbers and key is None:
        raise UsageError("name sessions by their numbers, or an account by --key NUMBER")
    with Library() as library:
        for number in numbers:
            library.admin.sessions.revoke(number)
        count = len(numbers) + (library.admin.sessions.revoke_all_of(key) if key is not None else 0)
    if as_json:
        print_json({"ended": count})
    else:
        echo(f"{count} ended")


@command.command("audit")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="Newest first.")
@click.option("--key", type=int, help="Only the key of this number.")
@click.option("--refused", is_flag=True, help="Only who was not let in.")
@click.option("--forget", help="Delete what is older, as in 365d, instead of showing any.")
@as_json_option
def audit(limit: int, key: int | None, refused: bool, forget: str | None, as_json: bool) -> None:
    """Show who did what over the HTTP API, and how it ended."""
    with Library() as library:
        log = library.admin.audit
        if forget:
            count = log.forget(dt.datetime.now(dt.UTC) - parse_time(forget))
            if as_json:
                print_json({"forgotten": count})
            else:
                echo(f"forgot {count} entries")
            return
        entries = log.recent(limit, key_id=key, refused=refused)
    if as_json:
        fields = ("at", "key_id", "who", "action", "collection", "status", "request_id", "client")
        print_json({"entries": [{f: getattr(entry, f) for f in fields} for entry in entries]})
        return
    for entry in entries:
        echo(
            f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.status}  {entry.who or '-'}  {entry.action}  "
            f"{entry.collection or '-'}  {entry.client}  {entry.request_id}"
        )


def parse_time(text: str) -> dt.timedelta:
    """A time from now, from "90d". Raises UsageError for what is none."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip().lower())
    if found is None or not int(found[1]):
        raise UsageError(f"{text[:40]!r} is no time: give hours, days or weeks as in 12h, 90d, 52w")
    return int(found[1]) * _UNITS[found[2]]


def _ask_password() -> str:
    """Typed twice, unseen; or the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _show_key(key: str, info: KeyInfo, as_json: bool) -> None:
    if as_json:
        print_json({"key": key, **_shown(info)})
        return
    click.echo(key)  # for the only time: `echo` would shorten it
    echo(f"{_about(info)}\nkeep it now: it is not shown again", err=True)


def _show_state(info: KeyInfo, as_json: bool) -> None:
    if as_json:
        print_json(_shown(info))
    else:
        echo(f"{info.prefix}… ({info.name}) is {info.state}")


def _shown(info: KeyInfo) -> dict[str, Any]:
    return {k: v for k, v in asdict(info).items() if k not in ("collection_ids", "stamp")}


def _about(info: KeyInfo) -> str:
    where = "all collections" if info.collections is None else ", ".join(info.collections) or "none"
    until = f" until {info.expires_at:%Y-%m-%d %H:%M}" if info.expires_at else ""
    used = f", used {info.last_used_at:%Y-%m-%d %H:%M}" if info.last_used_at else ""
    head = f"{info.id}  {info.prefix}…  {info.scope:<5}  {info.state}{until}"
    login = ", logs in by name" if info.password else ""
    return f"{head}  {where}  {info.name}{login}{used}"
