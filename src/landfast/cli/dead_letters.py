"""`landfast dead-letters`."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from landfast.cli import exits
from landfast.cli.columns import aligned
from landfast.cli.run import AsJson, SettingsFile
from landfast.cli.screen import Screen
from landfast.observe.logs import escaped

app = typer.Typer(help="Look at the records that were refused.", no_args_is_help=True, rich_markup_mode=None)

Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many, newest first.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only those with this reason.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only those of this topic.")]
LetterId = Annotated[str, typer.Argument(metavar="ID", help="The id, as `list` shows it.")]
AsHex = Annotated[bool, typer.Option("--hex", help="Key, value and headers as a hex dump.")]


@app.command("list")
def list_letters(file: SettingsFile, limit: Limit = 50, reason: Reason = None, topic: Topic = None, as_json: AsJson = False) -> None:
    """List dead letters, newest first, and count them by reason. Shows no record's content."""
    from landfast import config, wiring
    from landfast.sinks.delta import lookup

    settings = config.load(file)
    screen = Screen(as_json=as_json, secrets=wiring.secrets(settings))
    for route in settings.routes:
        with wiring.concerning(route):
            found = lookup.letters(wiring.delta_settings(route), limit=limit, reason=reason, topic=topic)
        if as_json:
            listed = [_json_ready(row) for row in found.newest]
            screen.say({"route": route.name, "total": found.total, "reasons": dict(found.reasons), "letters": listed})
        else:
            screen.say("\n".join(as_lines(route.name, found)))


@app.command("show")
def show_letter(file: SettingsFile, letter_id: LetterId, as_hex: AsHex = False, as_json: AsJson = False) -> None:
    """Show one dead letter whole, byte for byte."""
    from landfast import config, wiring
    from landfast.sinks.delta import lookup

    settings = config.load(file)
    for route in settings.routes:
        with wiring.concerning(route):
            found = lookup.letter(wiring.delta_settings(route), letter_id)
        if found is not None:
            # Not by way of the screen, which masks what looks like a secret: the operator asked for the bytes as they are.
            typer.echo(json.dumps({"route": route.name, **_json_ready(found)}) if as_json else "\n".join(whole(found, as_hex=as_hex)))
            return
    typer.echo(f"There is no dead letter {escaped(letter_id)!r}. `landfast dead-letters list` shows the ids.", err=True)
    raise typer.Exit(exits.FOUND)


def as_lines(route: str, found: Any) -> list[str]:
    """The list for a person."""
    if not found.total:
        return [f"{route}: no dead letters"]
    reasons = ", ".join(f"{escaped(reason)} {count:,}" for reason, count in found.reasons.items())
    rows = [
        [f"{row['topic']}[{row['partition']}]", row["offset"], row["reason"], row["message"], _moment(row["last_failed_at"]), row["id"]]
        for row in found.newest
    ]
    more = [f"  … and {found.total - len(rows):,} more (--limit)"] if found.total > len(rows) else []
    headings = ("stream", "offset", "reason", "message", "failed at", "id")
    return [f"{route}: {found.total:,} dead letters: {reasons}", *(f"  {line}" for line in aligned(headings, rows)), *more]


def whole(row: Mapping[str, Any], *, as_hex: bool) -> list[str]:
    """One letter for a person. Bytes that are text are shown as text, with what is not printable escaped; others as a hex dump."""
    lines = []
    for name, value in row.items():
        if name == "headers":
            for header in value or ():
                lines += _bytes_lines(f"header {escaped(header['name'])}", header["value"], as_hex=as_hex)
        elif name in ("key", "value"):
            lines += _bytes_lines(name, value, as_hex=as_hex)
        else:
            lines.append(f"{name}: {_moment(value) if isinstance(value, datetime) else escaped(str(value))}")
    return lines


def _bytes_lines(name: str, content: bytes | None, *, as_hex: bool) -> list[str]:
    if content is None:
        return [f"{name}: null"]
    if not as_hex:
        try:
            return [f"{name} ({len(content):,} bytes): {escaped(content.decode())}"]
        except UnicodeDecodeError:
            pass
    return [f"{name} ({len(content):,} bytes):", *_dump(content)]


def _dump(content: bytes) -> Iterator[str]:
    for start in itertools.count(0, 16):
        part = content[start : start + 16]
        if not part:
            return
        text = "".join(chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else "." for byte in part)
        yield f"  {start:08x}  {part.hex(' '):<47}  {text}"


def _json_ready(row: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes as base64, times as text."""
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return _json_ready(value) if isinstance(value, Mapping) else value


def _moment(value: datetime | None) -> str:
    return "-" if value is None else value.strftime("%Y-%m-%d %H:%M:%SZ")
