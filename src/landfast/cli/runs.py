"""`landfast runs`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landfast.cli import exits, table_runs
from landfast.cli.columns import aligned, moment
from landfast.cli.options import StorageOption
from landfast.cli.routes import for_each
from landfast.cli.run import AsJson
from landfast.cli.screen import Screen
from landfast.errors import Misconfigured

if TYPE_CHECKING:
    from landfast.config import RouteSettings
    from landfast.sinks.delta.proof.runs import RunSummary

OptionalFile = Annotated[Path | None, typer.Argument(metavar="FILE", readable=False, help="The settings file of the pipeline.")]
Table = Annotated[str | None, typer.Option("--table", metavar="PATH", help="A Delta table that people write to themselves.")]
Repair = Annotated[bool, typer.Option("--repair", help="Carry out the commits to several tables that a crash has left.")]


def runs(
    file: OptionalFile = None,
    table: Table = None,
    repair: Repair = False,
    storage_option: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, oldest first. Those that landed something, with gaps and repeats in their commit sequence.

    Of a pipeline, by its settings file; or with --table of the batches that people wrote to a table themselves, with the commits to several
    tables that are not in all of them. Then it exits 1 where such a commit is left, or a number landed twice.
    """
    if (file is None) == (table is None) or (file is not None and (repair or storage_option)):
        message = "give the settings file of a pipeline; or --table PATH, which --repair and --storage-option belong to"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Correct the command line.")
    if table is not None:
        raise typer.Exit(table_runs.show(table, storage_option or (), repair=repair, as_json=as_json))
    raise typer.Exit(_of_pipeline(file or Path(), as_json=as_json))


def _of_pipeline(file: Path, *, as_json: bool) -> int:
    from landfast import config, wiring
    from landfast.sinks.delta.log.spans import read_spans
    from landfast.sinks.delta.proof.runs import runs_of

    settings = config.load(file)
    screen = Screen(as_json=as_json, secrets=wiring.secrets(settings))

    def show(route: RouteSettings) -> int:
        sink = wiring.delta_settings(route)
        found = runs_of(read_spans(sink.path, sink.storage_options))
        screen.say({"route": route.name, "runs": [_as_object(one) for one in found]} if as_json else "\n".join(as_lines(route.name, found)))
        return exits.WELL

    return for_each(settings, screen, show)


def as_lines(route: str, found: list[RunSummary]) -> list[str]:
    """The runs of a route for a person."""
    headings = ("run", "first commit", "last commit", "commits", "read", "written", "dead", "skipped", "sequence")
    rows = [
        [
            one.run_id,
            moment(one.first_committed_at),
            moment(one.last_committed_at),
            one.commits,
            one.read,
            one.written,
            one.dead,
            one.skipped,
            _sequence(one),
        ]
        for one in found
    ]
    return [f"{route}: {len(found):,} run{'' if len(found) == 1 else 's'}", *(f"  {line}" for line in aligned(headings, rows) if rows)]


def _sequence(one: RunSummary) -> str:
    faults = [f"{name} {_some(numbers)}" for name, numbers in (("missing", one.missing), ("repeated", one.repeated)) if numbers]
    return "; ".join(faults) or "whole"


def _some(numbers: tuple[int, ...], shown_max: int = 10) -> str:
    return ", ".join(map(str, numbers[:shown_max])) + (f" and {len(numbers) - shown_max} more" if len(numbers) > shown_max else "")


def _as_object(one: RunSummary) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(one).items()}
