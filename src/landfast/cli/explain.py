"""`landfast explain`."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Annotated

import typer

from landfast.cli import exits
from landfast.cli.run import AsJson
from landfast.cli.screen import Screen
from landfast.codes import CODES, Code, nearest

if TYPE_CHECKING:
    from landfast.errors import KnownError

CodeName = Annotated[str | None, typer.Argument(metavar="CODE", help="A code from a message, a log line or /health. None: list all.")]
AllErrors = Annotated[
    bool, typer.Option("--errors", help="Print what every exception of every driver means, and what becomes of it, instead of codes.")
]


def explain(code: CodeName = None, errors: AllErrors = False, as_json: AsJson = False) -> None:
    """Say what a code means, what is safe, what to do next. Without a code, list them.

    With --errors and a code, only what comes to the operator under that code.
    """
    screen = Screen(as_json=as_json)
    if code is None and errors:
        _say_errors(screen, "", as_json=as_json)
        return
    if code is None:
        screen.say({name: _as_object(one) for name, one in CODES.items()} if as_json else _listed())
        return
    name = code.strip().upper().replace("-", "_")
    known = CODES.get(name)
    if known is None:
        near = nearest(code)
        guess = f" Did you mean {near}?" if near else ""
        typer.echo(f"There is no code {code!r}.{guess} `landfast explain` lists all.", err=True)
        raise typer.Exit(exits.SETTINGS)
    if errors:
        _say_errors(screen, name, as_json=as_json)
        return
    screen.say({"code": name, **_as_object(known)} if as_json else _explained(name, known))


def _listed() -> str:
    width = max(map(len, CODES))
    return "\n".join(f"{name:<{width}}  {known.meaning}" for name, known in CODES.items())


def _explained(name: str, known: Code) -> str:
    return f"{name}: {known.meaning}\n  safe: {known.safe}\n  next: {known.next_step}"


def _as_object(known: Code) -> dict[str, str]:
    return {"meaning": known.meaning, "safe": known.safe, "next": known.next_step}


def _say_errors(screen: Screen, code: str, *, as_json: bool) -> None:
    """The table of errors; with a code, its lines."""
    from landfast.error_table import table

    lines = [one for one in table() if code in ("", one.code)]
    screen.say([dataclasses.asdict(one) for one in lines] if as_json else _as_text(lines) or f"No exception of a driver leads to {code}.")


def _as_text(lines: list[KnownError]) -> str:
    parts: list[str] = []
    for driver, group in itertools.groupby(lines, key=lambda one: one.driver):
        parts += [f"{driver}", *(f"  {one.name}\n    {one.error_class}: {one.reason}. {_then(one)}" for one in group)]
    return "\n".join(parts)


def _then(one: KnownError) -> str:
    return f"{one.then[:1].upper()}{one.then[1:]}." + (f" ({one.code})" if one.code else "")
