"""The command line: parses, calls the `Library`, shows. Exit code 0 done, 1 failed, 2 misused."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import click

from ragcore import __version__, extensions
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.files import storage_error

# ragcore's own commands in the order of `--help`, and what each is for: help imports none of them.
COMMANDS = {
    "demo": "Show what ragcore does, on sample files that come with it.",
    "ingest": "Add files and folders to a collection.",
    "sources": "Keep collections in step with web sites, stores, servers and folders.",
    "search": "Find passages and images by words, an image or both.",
    "ask": "Answer a question from the documents, with citations.",
    "caption": "Write captions for images that have none.",
    "refresh-metadata": "Read dates, places, ratings and keywords of image files again.",
    "images": "List images; albums, favorites, ratings, tags, notes.",
    "imagine": "Make an image from words, guidance and conditions.",
    "label": "Choose among labels of your own for every image.",
    "classify": "Label a collection by a classifier of your own.",
    "classifiers": "List, inspect and remove classifiers.",
    "collections": "List, make, rename and delete collections.",
    "documents": "List or remove the documents of a collection.",
    "trash": "List, restore or remove what was deleted on the pages.",
    "eval": "Measure quality on data with known answers.",
    "bench": "Measure how fast this machine embeds, ingests, searches and answers.",
    "tune": "Adapt a model to a recipe.",
    "adapters": "List, choose, combine and write out LoRA adapters.",
    "models": "List, fetch and choose models.",
    "plugins": "List what plug-ins add, and what of it cannot be used.",
    "doctor": "Check the installation and the library's consistency.",
    "backup": "Write the whole library into one file, also while in use.",
    "restore": "Put the library of a backup into the home folder.",
    "recover": "Save what can be read of a damaged library into a new home.",
    "move": "Move the library to other engines.",
    "ui": "Open the library in a browser.",
    "serve": "Serve the library to programs over HTTP.",
    "keys": "Who may use the HTTP API and the pages: make and revoke keys.",
    "mcp": "Serve the library to assistants (Model Context Protocol).",
    "watch": "Keep a collection in step with folders as they change.",
}


class _Commands(click.Group):
    """The commands of the registry: ragcore's own first, then those of plug-ins.

    A command's module is loaded only when that command is used or its own help is asked for.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *_plug_ins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name not in _plug_ins():
            return None
        command: click.Command = extensions.find("commands", cmd_name).load()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        if plug_ins := _plug_ins():
            with formatter.section("Commands of plug-ins"):
                formatter.write_dl(list(plug_ins.items()))


def _plug_ins() -> dict[str, str]:
    """The commands of plug-ins by name, and which package each is of. Imports none."""
    found = (extensions.find("commands", name) for name in extensions.names("commands"))
    return {one.name: f"{one.package} {one.version}" for one in found if not one.built_in}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ragcore")
def cli() -> None:
    """One library for your documents and images: search them, ask them, stay private."""
    from ragcore import logs
    from ragcore.settings import Settings

    with suppress(UsageError):  # the command itself complains of settings that cannot be
        logs.start(Settings())


def main(args: list[str] | None = None) -> None:
    """Entry point. Errors become one line on stderr and an exit code, never a traceback."""
    from ragcore.cli.output import quiet_libraries
    from ragcore.files import private_process

    quiet_libraries()
    try:
        with private_process():
            result: Any = cli.main(args=args, prog_name="ragcore", standalone_mode=False)
    except click.exceptions.Abort:
        _complain("stopped", 1)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        hint = f" (see `{where} --help`)" if where else ""
        _complain(f"{error.format_message()}{hint}", error.exit_code)
    except UsageError as error:
        _complain(str(error), 2)
    except Cancelled as error:
        _complain(str(error), 1)
    except RagcoreError as error:
        _complain(str(error), 1)
    except KeyboardInterrupt:
        _complain("stopped", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, as in `ragcore search x | head`
        sys.exit(1)
    except OSError as error:
        found = storage_error(error, f"{error.filename or 'a file'} was not written")
        if found is None:
            raise
        _complain(str(found), 1)
    else:
        sys.exit(result if isinstance(result, int) else 0)


def _complain(message: str, code: int) -> None:
    from ragcore.cli.output import echo

    echo(f"ragcore: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
