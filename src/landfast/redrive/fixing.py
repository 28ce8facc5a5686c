"""A function of the user's that mends letters: loaded from the file that was named, and from nowhere else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from landfast.errors import Misconfigured
from landfast.redrive.values import DeadLetter
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.redrive.replay import Outcome, Result

Fix = Callable[[DeadLetter], bytes | None]
"""The bytes to replay in the place of the letter's value; None leaves the letter as it is."""


def load_fix(text: str) -> Fix:
    """The function that `path.py:name` names. The file runs as a module of its own.

    Raises:
        Misconfigured: there is no such file or function, or the file fails as it is loaded.
    """
    path, _, name = text.rpartition(":")
    file = Path(path)
    if not path or not name.isidentifier():
        raise _refusal(f"{text!r} does not name a function", "Write it as path/to/file.py:function.")
    if file.suffix != ".py" or not file.is_file():
        raise _refusal(f"there is no Python file {path}", "Correct the path before the colon; it is taken from the current folder.")
    spec = importlib.util.spec_from_file_location("landfast_fix", file)
    if spec is None or spec.loader is None:
        raise _refusal(f"{path} cannot be loaded", "Name a file of Python source.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        # Its text may quote what the file read: the traceback is chained for who calls from Python.
        line = f" at line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise _refusal(f"{path} fails as it is loaded: {type(error).__name__}{line}", "Run the file with Python to see why.") from error
    found: Any = getattr(module, name, None)
    if not callable(found):
        raise _refusal(f"{path} has no function {name}", "Correct the name after the colon.")
    return found  # type: ignore[no-any-return]  # what it returns is looked at, letter by letter


def _refusal(message: str, next_step: str) -> Misconfigured:
    return Misconfigured("CONFIG_INVALID", f"--with: {message}", next_step=f"{next_step} Nothing was replayed.")


def mended(fix: Fix, letter: DeadLetter, row: Row) -> bytes | Result:
    """What the function makes of a letter; or that the letter is left, and why."""
    try:
        found: object = fix(letter)
    except Exception as error:  # noqa: BLE001 — the function is the user's, and one letter must not stop the others
        return Result(row, Outcome.LEFT, "fix_failed", f"the function that was to mend it failed with {type(error).__name__}")
    if found is None:
        return Result(row, Outcome.LEFT, "fix_left_it", "the function that was to mend it returned None")
    if isinstance(found, bytes | bytearray | memoryview):
        return bytes(found)
    return Result(
        row, Outcome.LEFT, "fix_failed", f"the function that was to mend it returned {type(found).__name__}, and not bytes or None"
    )
