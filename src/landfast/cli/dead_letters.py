"""`landfast dead-letters`."""

from __future__ import annotations

import base64
import codecs
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landfast.cli import exits
from landfast.cli.columns import aligned
from landfast.cli.routes import for_each
from landfast.cli.run import AsJson, SettingsFile
from landfast.cli.screen import Screen
from landfast.errors import Misconfigured
from landfast.observe.logs import escaped
from landfast.observe.report import counted

if TYPE_CHECKING:
    from landfast.config import RouteSettings

BYTES_SHOWN_MAX = 65_536
"""Bytes of a key, a value or a header that a terminal is given unasked."""

NAMES_SHOWN_MAX = 20
"""Reasons and topics that are named where a filter finds nothing."""

app = typer.Typer(
    help="Look at the records that were refused, mend them, and land or discard them.", no_args_is_help=True, rich_markup_mode=None
)

Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many, newest first.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only those with this reason.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only those of this topic.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only those refused since: 2026-11-22, 2026-11-22T14:00Z, 90m, 2h, 3d.")
]
InState = Annotated[
    str, typer.Option("--state", metavar="STATE", help="Those that are open, retrying (of the open ones), replayed, discarded, or all.")
]
LetterId = Annotated[str, typer.Argument(metavar="ID", help="The id, as `list` shows it.")]
Whole = Annotated[bool, typer.Option("--whole", help="On a terminal too, show what is longer than 64 KiB to its end.")]
AsHex = Annotated[bool, typer.Option("--hex", help="Key, value and headers as a hex dump.")]


@app.command("list")
def list_letters(
    file: SettingsFile,
    limit: Limit = 50,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    state: InState = "open",
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first, and count them by reason: those that are open. Shows no record's content."""
    from landfast import config, wiring
    from landfast.cli.meant import moment_of, states_of
    from landfast.sinks.delta.proof import lookup
    from landfast.sinks.delta.proof.letters import LetterFilter

    wanted = LetterFilter(reason=reason, topic=topic, since=moment_of("--since", since))
    states = states_of(state)
    settings = config.load(file)
    screen = Screen(as_json=as_json, secrets=wiring.secrets(settings))

    def show(route: RouteSettings) -> int:
        found = lookup.letters(wiring.delta_settings(route), limit=limit, wanted=wanted, states=states)
        if as_json:
            listed = [{**_json_ready(row), "short_id": short_id(row)} for row in found.newest]
            counts = {"total": found.total, "reasons": dict(found.reasons), "states": dict(found.states)}
            screen.say({"route": route.name, **counts, "letters": listed})
        else:
            screen.say("\n".join(as_lines(route.name, found)))
        return exits.WELL

    raise typer.Exit(for_each(settings, screen, show))


@app.command("show")
def show_letter(file: SettingsFile, letter_id: LetterId, as_hex: AsHex = False, to_the_end: Whole = False, as_json: AsJson = False) -> None:
    """Show one dead letter, byte for byte, and what was done with it. On a terminal, what is very long is cut; --whole shows it."""
    from landfast import config, wiring
    from landfast.sinks.delta.proof import lookup

    settings = config.load(file)

    def show(route: RouteSettings) -> int:
        table = wiring.delta_settings(route)
        named = lookup.letters_named(table, letter_id)
        if len(named) > 1:
            ids = ", ".join(short_id(row, of_its_topic_id=True) for row in named)
            message = f"{letter_id!r} names {len(named)} letters, since the topic was deleted and made again"
            raise Misconfigured("LETTER_AMBIGUOUS", message, next_step=f"Name one of: {ids}.")
        found = lookup.letter(table, named[0]["id"]) if named else None
        if found is None:
            return exits.WELL
        acts, standing = lookup.acts_of(table, named[0])
        # Not by way of the screen, which masks what looks like a secret: the operator asked for the bytes as they are.
        bytes_max = None if to_the_end or not sys.stdout.isatty() else BYTES_SHOWN_MAX
        if as_json:
            lines = [json.dumps({"route": route.name, **_json_ready({**found, **standing}), "acts": [_json_ready(act) for act in acts]})]
        else:
            lines = [*shown(found, as_hex=as_hex, bytes_max=bytes_max), f"state: {_state(standing)}", *map(_act_line, acts)]
        typer.echo("\n".join(lines))
        raise typer.Exit

    worst = for_each(settings, Screen(as_json=as_json, secrets=wiring.secrets(settings)), show)
    listing = f"`landfast dead-letters list {escaped(str(file))}` shows the ids."
    typer.echo(f"There is no dead letter {escaped(letter_id)!r}. {listing}", err=True)
    raise typer.Exit(max(worst, exits.SETTINGS))


def as_lines(route: str, found: Any) -> list[str]:
    """The list for a person."""
    others = _counts({name: count for name, count in found.states.items() if name != "open"})
    beside = f" ({others})" if others else ""
    if not found.total and found.all_reasons:
        return [f"{route}: no such dead letters. There are: {_counts(found.all_reasons)}; of the topics {_counts(found.all_topics)}"]
    if not found.total:
        return [
            f"{route}: no dead letters that stand so; there are {_counts(found.states)}" if found.states else f"{route}: no dead letters"
        ]
    reasons = _counts(found.reasons)
    rows = [
        [
            f"{row['topic']}[{row['partition']}]",
            row["offset"],
            row["reason"],
            row["message"],
            _moment(row["last_failed_at"]),
            _state(row),
            name,
        ]
        for row, name in zip(found.newest, _short_ids(found.newest), strict=True)
    ]
    more = [f"  … and {found.total - len(rows):,} more (--limit)"] if found.total > len(rows) else []
    headings = ("stream", "offset", "reason", "message", "failed at", "state", "id")
    return [f"{route}: {counted(found.total, 'dead letter')}: {reasons}{beside}", *(f"  {line}" for line in aligned(headings, rows)), *more]


def _short_ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of these letters, with the topic id where two of them would have the same."""
    often = Counter(short_id(row) for row in rows)
    return [short_id(row, of_its_topic_id=often[short_id(row)] > 1) for row in rows]


def _state(row: Mapping[str, Any]) -> str:
    edited = ", edited" if row["edited"] else ""
    again = f", refused {row['refusals']:,} more times, last {_moment(row['refused_at'])}" if row["refusals"] else ""
    return f"{row['state']}{_attempts(row)}{edited}{again}"


def _attempts(row: Mapping[str, Any]) -> str:
    """How the pipeline's own attempts go on, where it tries the letter again."""
    failed = f", failed {counted(row['failures'], 'time')}"
    if row["next_attempt_at"] is None:
        return f"{failed}, given up" if row["given_up"] and row["state"] == "open" else ""
    # A letter that was not tried yet is due at once, and waits only for those before it.
    return f"{failed}, next {_moment(row['next_attempt_at'])}" if row["failures"] else ", behind an earlier one of its key"


def _act_line(act: Mapping[str, Any]) -> str:
    told = {
        "why": act["why"],
        "reason": act["reason"],
        "message": act["message"],
        "bytes (SHA-256)": act["digest"],
        "version": act["version"],
        "failed attempts": act["attempt"],
        "next": act["not_before"] and _moment(act["not_before"]),
    }
    words = "; ".join(f"{name} {value}" for name, value in told.items() if value not in (None, ""))
    of_edit = " as edited" if act["edited"] and act["act"] != "edited" else ""
    return escaped(f"{act['act']}{of_edit}: {_moment(act['at'])} by {act['by']} in run {act['run_id']}{'; ' + words if words else ''}")


def _counts(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{escaped(name)} {count:,}" for name, count in itertools.islice(counts.items(), NAMES_SHOWN_MAX))
    return named + (f" and {len(counts) - NAMES_SHOWN_MAX:,} others" if len(counts) > NAMES_SHOWN_MAX else "")


def shown(row: Mapping[str, Any], *, as_hex: bool, bytes_max: int | None = None) -> list[str]:
    """One letter for a person. Bytes that are text are shown as text, with what is not printable escaped; others as a hex dump.

    Of a key, a value or a header no more than `bytes_max` bytes are shown, and what was cut is said.
    """
    lines = []
    for name, value in row.items():
        if name == "not_before" and value is None:
            continue
        if name == "headers":
            for header in value or ():
                lines += _bytes_lines(f"header {escaped(header['name'])}", header["value"], bytes_max, as_hex=as_hex)
        elif name in ("key", "value"):
            lines += _bytes_lines(name, value, bytes_max, as_hex=as_hex)
        else:
            lines.append(f"{name}: {_moment(value) if isinstance(value, datetime) else escaped(str(value))}")
    return lines


def _bytes_lines(name: str, content: bytes | None, bytes_max: int | None, *, as_hex: bool) -> list[str]:
    if content is None:
        return [f"{name}: null"]
    cut = content[:bytes_max]
    more = [f"  … {len(content) - len(cut):,} bytes more: --whole, or a pipe, shows all of them"] if len(cut) < len(content) else []
    text = None if as_hex else _as_text(cut, is_cut=bool(more))
    head = f"{name} ({len(content):,} bytes):"
    return [head, *_dump(cut), *more] if text is None else [f"{head} {escaped(text)}", *more]


def _as_text(content: bytes, *, is_cut: bool) -> str | None:
    """The bytes as text, or None where they are none; a cut may go through the last character."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=not is_cut)
    except UnicodeDecodeError:
        return None


def _dump(content: bytes) -> Iterator[str]:
    for start in itertools.count(0, 16):
        part = content[start : start + 16]
        if not part:
            return
        text = "".join(chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else "." for byte in part)
        yield f"  {start:08x}  {part.hex(' '):<47}  {text}"


def short_id(row: Mapping[str, Any], *, of_its_topic_id: bool = False) -> str:
    """The id of a letter as people are shown it."""
    from landfast.sinks.delta.proof import coordinates

    return coordinates.short_id(row, of_its_topic_id=of_its_topic_id)


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
