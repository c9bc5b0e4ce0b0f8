"""The command line: parses, calls the `Library`, shows. Exit code 0 done, 1 failed, 2 misused."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import click

from ragcore import __version__
from ragcore.errors import Cancelled, RagcoreError, UsageError

# Commands by name, and the module that has it: loaded when used, so that help is instant.
COMMANDS = {
    "demo": ("ragcore.cli.demo", "Show what ragcore does, on sample files that come with it."),
    "ingest": ("ragcore.cli.ingest", "Add files and folders to a collection."),
    "search": ("ragcore.cli.search", "Find passages and pictures by words, a picture or both."),
    "ask": ("ragcore.cli.ask", "Answer a question from the documents, with citations."),
    "caption": ("ragcore.cli.caption", "Write captions for pictures that have none."),
    "imagine": ("ragcore.cli.imagine", "Make a picture from words, guides and conditions."),
    "label": ("ragcore.cli.label", "Choose among labels of your own for every picture."),
    "classify": ("ragcore.cli.classify", "Label a collection by a classifier of your own."),
    "classifiers": ("ragcore.cli.classifiers", "List, inspect and remove classifiers."),
    "collections": ("ragcore.cli.collections", "List, make, rename and delete collections."),
    "documents": ("ragcore.cli.documents", "List or remove the documents of a collection."),
    "eval": ("ragcore.cli.evaluate", "Measure quality on data with known answers."),
    "tune": ("ragcore.cli.tune", "Adapt a model to a recipe."),
    "adapters": ("ragcore.cli.adapters", "List, choose, combine and write out LoRA adapters."),
    "models": ("ragcore.cli.models", "List, fetch and choose models."),
    "doctor": ("ragcore.cli.doctor", "Check the installation and the library's consistency."),
    "backup": ("ragcore.cli.backup", "Write the whole library into one file, also while in use."),
    "restore": ("ragcore.cli.restore", "Put the library of a backup into the home folder."),
    "move": ("ragcore.cli.move", "Move the library to other engines."),
    "ui": ("ragcore.cli.ui", "Open the library in a browser."),
    "serve": ("ragcore.cli.serve", "Serve the library to programs over HTTP."),
    "keys": ("ragcore.cli.keys", "Who may use the HTTP API and the pages: make and revoke keys."),
    "mcp": ("ragcore.cli.mcp", "Serve the library to assistants (Model Context Protocol)."),
    "watch": ("ragcore.cli.watch", "Keep a collection in step with folders as they change."),
}


class _Commands(click.Group):
    """Loads a command's module only when that command is used or its own help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ragcore")
def cli() -> None:
    """One library for your documents and pictures: search them, ask them, stay private."""
    from ragcore import logs
    from ragcore.settings import Settings

    with suppress(UsageError):  # the command itself complains of settings that cannot be
        logs.start(Settings())


def main(args: list[str] | None = None) -> None:
    """Entry point. Errors become one line on stderr and an exit code, never a traceback."""
    from ragcore.cli.output import quiet_libraries
    from ragcore.private_files import private_process

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
    else:
        sys.exit(result if isinstance(result, int) else 0)


def _complain(message: str, code: int) -> None:
    from ragcore.cli.output import echo

    echo(f"ragcore: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
