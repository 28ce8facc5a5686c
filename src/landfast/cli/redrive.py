"""`landfast dead-letters replay`, `edit`, `discard` and `export`."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from landfast.cli import dead_letters, exits
from landfast.cli.columns import aligned
from landfast.cli.dead_letters import InState, LetterId
from landfast.cli.meant import filter_of, letters_meant, states_of
from landfast.cli.run import AsJson, SettingsFile
from landfast.cli.screen import Screen
from landfast.errors import Misconfigured
from landfast.observe.report import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landfast.redrive import DiscardReport, Redrive, ReplayReport, StillOpen

app = dead_letters.app
_SHOWN_MAX = 20

LetterIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The ids, as `list` shows them.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="KEY=VALUE", help="Those of this reason, phase, topic, partition, since or until; all must hold. Or `all`."
    ),
]
OfRoute = Annotated[str | None, typer.Option("--route", metavar="NAME", help="The route, where the pipeline has several.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who acts, for the trail. By default the user of this process.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would land, and what would be refused again and why.")]
With = Annotated[
    str | None, typer.Option("--with", metavar="FILE.py:FUNCTION", help="A function of a letter that returns the bytes to replay, or None.")
]
Why = Annotated[str, typer.Option("--why", metavar="WORDS", help="The reason, for the trail.")]
ValueFile = Annotated[Path | None, typer.Option("--value-file", metavar="FILE", help="Take the bytes from this file, and open no editor.")]
Editor = Annotated[str, typer.Option("--editor", metavar="COMMAND", envvar=["VISUAL", "EDITOR"], help="The editor to open.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Form = Annotated[Literal["jsonl", "parquet"], typer.Option("--format", help="JSON lines, with bytes as base64; or Parquet.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]


@app.command("replay")
def replay(
    file: SettingsFile,
    ids: LetterIds = None,
    where: Where = None,
    dry_run: DryRun = False,
    fix: With = None,
    route: OfRoute = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Land open letters in the table, each once, however often this is repeated or killed. Exits 1 where some stay open."""
    from landfast.redrive.fixing import load_fix

    only, wanted = letters_meant(ids, where)
    redrive, screen = _redrive(file, route, by, as_json=as_json)
    report = redrive.replay(only, where=wanted, fix=None if fix is None else load_fix(fix), dry_run=dry_run)
    screen.say(_as_object(report) if as_json else "\n".join(_replay_lines(report)))
    raise typer.Exit(exits.FOUND if report.open else exits.WELL)


@app.command("edit")
def edit(
    file: SettingsFile,
    letter_id: LetterId,
    value_file: ValueFile = None,
    editor: Editor = "",
    why: Why = "",
    route: OfRoute = None,
    by: By = None,
) -> None:
    """Say which bytes a replay is to take in the place of a letter's value, in $EDITOR or from a file. The letter stays as it is."""
    redrive, screen = _redrive(file, route, by, as_json=False)
    letter = redrive.letter(letter_id)
    value = _edited(letter.value or b"", editor) if value_file is None else _content(value_file)
    # A record without a value and one of no bytes are not the same, but an editor shows both alike.
    if value == letter.value or (value_file is None and value == (letter.value or b"")):
        screen.say(f"{letter.id}: the bytes are the same, so nothing was written down")
        return
    redrive.edit(letter_id, value, why=why)
    screen.say(f"{letter.id}: {counted(len(value), 'byte')} to replay in the place of its value")


@app.command("discard")
def discard(
    file: SettingsFile,
    why: Why,
    ids: LetterIds = None,
    where: Where = None,
    route: OfRoute = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Decide that open letters are not to land. They stay where they are. Exits 1 where some could not be discarded."""
    only, wanted = letters_meant(ids, where)
    redrive, screen = _redrive(file, route, by, as_json=as_json)
    report = redrive.discard(only, why=why, where=wanted)
    screen.say(_as_object(report) if as_json else "\n".join(_discard_lines(report)))
    raise typer.Exit(exits.FOUND if report.kept else exits.WELL)


@app.command("export")
def export(
    file: SettingsFile,
    output: Output,
    form: Form = "jsonl",
    where: Where = None,
    state: InState = "open",
    force: Force = False,
    route: OfRoute = None,
) -> None:
    """Write dead letters to a file, whole. Only its owner may read it."""
    wanted, states = filter_of(where or ()), states_of(state)
    redrive, screen = _redrive(file, route, None, as_json=False)
    count = redrive.export(output, wanted, form=form, states=states, replace=force)
    screen.say(f"{counted(count, 'dead letter')} in {output}")


def _redrive(file: Path, route: str | None, by: str | None, *, as_json: bool) -> tuple[Redrive, Screen]:
    from landfast import config, wiring
    from landfast.redrive import Redrive

    settings = config.load(file)
    return Redrive(settings, route, by=by), Screen(as_json=as_json, secrets=wiring.secrets(settings))


def _as_object(report: ReplayReport | DiscardReport) -> dict[str, Any]:
    body = asdict(report)
    for one in body.get("still_open", body.get("kept", ())):
        one["refused_at"] = None if one["refused_at"] is None else one["refused_at"].isoformat()
    return body


def _replay_lines(report: ReplayReport) -> list[str]:
    counts = ", ".join(f"{count:,} {name}" for name, count in report.outcomes.items())
    verb = "would come of it" if report.dry_run else "came of it"
    lines = [f"{verb}: {counts}" if counts else "there are no such open letters"]
    if report.reasons:
        lines.append(f"  refused again: {', '.join(f'{name} {count:,}' for name, count in report.reasons.items())}")
    return [*lines, *_kept_lines(report.still_open)]


def _discard_lines(report: DiscardReport) -> list[str]:
    return [f"{counted(report.discarded, 'letter')} discarded", *_kept_lines(report.kept)]


def _kept_lines(kept: Sequence[StillOpen]) -> list[str]:
    if not kept:
        return []
    headings = ("id", "what came of it", "reason", "message", "refused before", "last")
    rows = [
        [one.id, one.outcome, one.reason or None, one.message, one.refusals, one.refused_at and f"{one.refused_at:%Y-%m-%d %H:%M:%SZ}"]
        for one in kept[:_SHOWN_MAX]
    ]
    more = [f"  … and {len(kept) - _SHOWN_MAX:,} more (--json lists up to 1,000)"] if len(kept) > _SHOWN_MAX else []
    return [*(f"  {line}" for line in aligned(headings, rows)), *more]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"--value-file: {path} cannot be read: {error.strerror}"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Name a file that can be read. Nothing was changed.") from error


def _edited(value: bytes, editor: str) -> bytes:
    """The bytes after an editor has been at them, in a file that only this user may read.

    Raises:
        Misconfigured: no editor is named, or it could not be run to its end.
    """
    command = shlex.split(editor)
    if not command:
        message = "no editor is named: neither VISUAL nor EDITOR is set"
        raise Misconfigured("CONFIG_MISSING", message, next_step="Set EDITOR, or give --value-file. Nothing was changed.")
    with tempfile.TemporaryDirectory(prefix="landfast-") as folder:
        file = Path(folder) / "value"
        file.write_bytes(value)
        try:
            subprocess.run([*command, str(file)], check=True)  # noqa: S603 — the user's own editor
            return file.read_bytes()
        except (OSError, subprocess.CalledProcessError) as error:
            message = f"the editor {command[0]} could not be run to its end ({type(error).__name__})"
            next_step = "Correct EDITOR, or give --value-file. Nothing was changed."
            raise Misconfigured("CONFIG_INVALID", message, next_step=next_step) from error
