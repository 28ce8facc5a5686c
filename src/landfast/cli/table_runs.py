"""`landfast runs --table`: the runs of people's own batches that one table tells of, and what a crash has left of commits to several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from landfast.cli import exits
from landfast.cli.columns import aligned, moment
from landfast.cli.options import options_of
from landfast.cli.screen import Screen

if TYPE_CHECKING:
    from landfast.delta_api import Completion, RunCheck, WriteAttempt

_ATTEMPTS_SHOWN_MAX = 20


def show(table: str, storage_option: Sequence[str], *, repair: bool, as_json: bool) -> int:
    """Show them, with `repair` after what was left is carried out; the exit code.

    Raises:
        Misconfigured: there is no table, or an option is not what it has to be.
        Unavailable: the store does not answer.
    """
    from landfast.config import Options
    from landfast.delta_api import complete_commits, incomplete_commits, runs_in, write_attempts

    given = options_of("--storage-option", storage_option)
    options = Options(given, folder=Path.cwd()).resolve("--storage-option")
    screen = Screen(as_json=as_json, secrets=tuple(value for name, value in options.items() if value != given[name]))
    done = complete_commits(table, storage_options=options) if repair else []
    found = runs_in(table, storage_options=options)
    left = [one for one in done if one.missing] if repair else incomplete_commits(table, storage_options=options)
    carried_out = [one for one in done if not one.missing]
    attempts = write_attempts(table, storage_options=options)[-_ATTEMPTS_SHOWN_MAX:]
    if as_json:
        runs = [asdict(one) | {"whole": one.whole} for one in found]
        commits = {"carried_out": [asdict(one) for one in carried_out], "incomplete": [asdict(one) for one in left]}
        latest = [asdict(one) | {"at": one.at.isoformat()} for one in attempts]
        screen.say({"runs": runs, **commits, "attempts": latest})
    else:
        screen.say("\n".join([*_runs(found), *_commits("carried out", carried_out), *_commits("incomplete", left), *_attempts(attempts)]))
    return exits.FOUND if left or any(one.repeated for one in found) else exits.WELL


def _runs(found: list[RunCheck]) -> list[str]:
    headings = ("run", "label", "first commit", "last commit", "commits", "rows", "sequence")
    rows = [[one.run_id, one.label, moment(one.first_at), moment(one.last_at), one.commits, one.rows, _sequence(one)] for one in found]
    return [f"{len(found):,} run{'' if len(found) == 1 else 's'}", *(f"  {line}" for line in aligned(headings, rows) if rows)]


def _sequence(one: RunCheck) -> str:
    missing = ", ".join(str(first) if end == first + 1 else f"{first}-{end - 1}" for first, end in one.missing)
    repeated = ", ".join(map(str, one.repeated))
    faults = [f"{name} {numbers}" for name, numbers in (("missing", missing), ("repeated", repeated)) if numbers]
    return "; ".join(faults) or f"{one.first_sequence} to {one.last_sequence}, whole"


def _commits(what: str, found: list[Completion]) -> list[str]:
    if not found:
        return []
    headings = ("writer", "number", "tables", "missing")
    rows = [[one.app_id, one.version, ", ".join(one.tables), one.missing or None] for one in found]
    return [
        f"{len(found):,} commit{'' if len(found) == 1 else 's'} to several tables {what}",
        *(f"  {line}" for line in aligned(headings, rows)),
    ]


def _attempts(found: list[WriteAttempt]) -> list[str]:
    if not found:
        return []
    headings = ("attempt ended", "writer", "number", "attempt", "outcome", "code", "kind")
    rows = [
        [one.at.strftime("%Y-%m-%d %H:%M:%SZ"), one.app_id, one.version, one.attempt, one.outcome, one.code or None, one.kind or None]
        for one in found
    ]
    return ["the latest attempts that were kept", *(f"  {line}" for line in aligned(headings, rows))]
