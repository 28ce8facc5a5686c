"""The command line: one file per command, listed here."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
import traceback
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from landfast.cli import check, demo, explain, init, redrive, run, runs, status, verify
from landfast.cli.exits import BROKEN, FORCED, WELL, of_error
from landfast.cli.screen import Screen
from landfast.cli.torture import command as torture
from landfast.errors import Broken, LandfastError
from landfast.system import leave_no_core

_CAUSES_MAX = 5
_FRAMES_MAX = 12

# A command is a function of its module's name; a module with an `app` of its own is a group of commands, or without a name just them.
_COMMANDS = (
    ("init", init.init),
    ("check", check.check),
    ("run", run.run),
    ("verify", verify.verify),
    ("status", status.status),
    ("runs", runs.runs),
    ("explain", explain.explain),
    ("demo", demo.demo),
)
_GROUPS: tuple[tuple[str | None, typer.Typer], ...] = (("dead-letters", redrive.app), (None, torture.app))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"landfast {importlib.metadata.version('landfast')}")
        raise typer.Exit


app = typer.Typer(
    name="landfast",
    help="Moves events from Kafka to Delta Lake exactly once, and proves it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _landfast(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)] = False,
) -> None:
    """Moves events from Kafka to Delta Lake exactly once, and proves it."""


for _name, _command in _COMMANDS:
    app.command(_name)(_command)
for _group_name, _group in _GROUPS:
    app.add_typer(_group, name=_group_name)


def main() -> NoReturn:
    """Run the command line and exit with its code; an error of ours is explained on standard error, without a traceback."""
    # A client of object stores that finds no credentials writes pages of headers to standard error; we say the same in one line.
    os.environ.setdefault("RUST_LOG", "warn,aws_config=off")
    leave_no_core()
    threading.excepthook = _show_dead_thread
    sys.unraisablehook = _show_unraisable
    code = _code()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    # A thread of ours may still be inside the table's library, tidying up. Taking the interpreter down makes such a thread unwind
    # through native frames: that crashed 2 of 25 bounded runs after all was said and done, with a signal for an exit code.
    os._exit(code)


def _show_dead_thread(died: threading.ExceptHookArgs) -> None:
    """An exception that ended a thread, as a defect: Python would print its text."""
    if died.exc_value is not None:
        _screen().show_error(_defect(died.exc_value))


def _show_unraisable(lost: sys.UnraisableHookArgs) -> None:
    """The same for one that had nowhere to go, such as out of a finalizer."""
    if lost.exc_value is not None:
        _screen().show_error(_defect(lost.exc_value))


def _screen() -> Screen:
    return Screen(as_json="--json" in sys.argv)


def _code() -> int:
    try:
        app()
    except LandfastError as error:
        _screen().show_error(error)
        return of_error(error)
    except KeyboardInterrupt:
        return FORCED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else WELL
    except Exception as error:  # noqa: BLE001 — the top of the command line: a defect is shown as one, to be reported
        _screen().show_error(_defect(error))
        return BROKEN
    return WELL


def _defect(error: BaseException) -> LandfastError:
    """What to report of an exception that nothing maps: classes and lines, and no word of a driver, which may quote a secret or a value."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < _CAUSES_MAX:
        frames = traceback.extract_tb(cause.__traceback__)[-_FRAMES_MAX:]
        chain.append(type(cause).__name__ + "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames))
        cause = cause.__cause__ or cause.__context__
    return Broken("UNEXPECTED", "\n".join(chain))
