"""`landfast explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from landfast.cli import exits
from landfast.cli.run import AsJson
from landfast.cli.screen import Screen
from landfast.codes import CODES, Code, nearest

CodeName = Annotated[str | None, typer.Argument(metavar="CODE", help="A code from a message, a log line or /health. None: list all.")]


def explain(code: CodeName = None, as_json: AsJson = False) -> None:
    """Say what a code means, what is safe, what to do next. Without a code, list them."""
    screen = Screen(as_json=as_json)
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
    screen.say({"code": name, **_as_object(known)} if as_json else _explained(name, known))


def _listed() -> str:
    width = max(map(len, CODES))
    return "\n".join(f"{name:<{width}}  {known.meaning}" for name, known in CODES.items())


def _explained(name: str, known: Code) -> str:
    return f"{name}: {known.meaning}\n  safe: {known.safe}\n  next: {known.next_step}"


def _as_object(known: Code) -> dict[str, str]:
    return {"meaning": known.meaning, "safe": known.safe, "next": known.next_step}
