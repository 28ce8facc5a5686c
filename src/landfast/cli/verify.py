"""`landfast verify`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landfast.cli import exits
from landfast.cli.columns import aligned
from landfast.cli.routes import for_each
from landfast.cli.run import AsJson, SettingsFile
from landfast.cli.screen import Screen
from landfast.errors import LandfastError, Misconfigured
from landfast.observe import report as equations
from landfast.observe.logs import escaped

if TYPE_CHECKING:
    from landfast.audit import Finding, Range, Rewritten, Unchecked, Verdict
    from landfast.config import RouteSettings, Settings
    from landfast.model import OnePerKey

_CODE = "VERIFY_FAILED"
WithSource = Annotated[bool, typer.Option("--source", help="Also read the log again and compare counts and bytes.")]


def verify(file: SettingsFile, source: WithSource = False, as_json: AsJson = False) -> None:
    """Prove that each record is in exactly one place, once. Exits 1 where it is not, and names the exact offsets. Changes nothing."""
    from landfast import config, wiring

    settings = config.load(file)
    screen = Screen(as_json=as_json, secrets=wiring.secrets(settings))

    def prove(route: RouteSettings) -> int:
        verdict = verdict_of(settings, route, with_source=source)
        screen.say({"route": route.name, **as_object(verdict)} if as_json else "\n".join(as_lines(route.name, verdict)))
        return exits.WELL if verdict.proved else exits.FOUND

    raise typer.Exit(for_each(settings, screen, prove))


def verdict_of(settings: Settings, route: RouteSettings, *, with_source: bool) -> Verdict:
    """The verdict over one route's table, and over the log where it is asked for."""
    from landfast import audit, wiring
    from landfast.core.verify import digest
    from landfast.sinks.delta.log.spans import read_spans
    from landfast.sinks.delta.proof.verify import verify_table

    sink = wiring.delta_settings(route)
    try:
        verdict = verify_table(sink.path, sink.storage_options)
    except LandfastError as error:
        if error.code != "TABLE_MISSING":
            raise
        next_step = "Correct sink.path; or let `landfast run` create the table, and prove it then."
        raise Misconfigured(error.code, "there is no table to prove", next_step=next_step) from error
    if not sink.retries:
        verdict = replace(verdict, retrying=0)
    if not with_source:
        return verdict
    spans = [record.span for record in read_spans(sink.path, sink.storage_options) if record.version <= verdict.version]
    return audit.merged(verdict, audit.verify_source(spans, wiring.rereader(settings), digest))


def as_object(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON: `outcome`, counts, `streams` with their equations, and what was found, rewritten, compared or unchecked."""
    compared = verdict.compared
    counts = (
        "version",
        "rows",
        "foreign_rows",
        "letters",
        "pending",
        "replayed",
        "discarded",
        "retrying",
        "unresolved",
        "contested",
        "files",
        "nbytes",
        "checked_spans",
        "digested",
        "undigested",
    )
    return {
        "proved": verdict.proved,
        "outcome": str(verdict.outcome),
        "code": None if verdict.proved else _CODE,
        **{name: getattr(verdict, name) for name in counts},
        **equations.to_json({one.stream: one.totals for one in verdict.accounts}),
        "ranges": [
            {**_place(one.stream), "start": one.start, "end": one.end, "position": one.position, "spans": one.spans}
            for one in verdict.accounts
        ],
        "findings": [
            {
                "kind": str(one.kind),
                **_place(one.stream),
                "ranges": [list(part) for part in one.ranges],
                "count": one.count,
                "file": one.file,
                "sentence": one.sentence,
            }
            for one in verdict.findings
        ],
        "rewritten": [{"file": one.file, "rows": one.rows, "version": one.version, "writer": one.writer} for one in verdict.rewritten],
        "one_per_key": None if verdict.one_per_key is None else {**asdict(verdict.one_per_key), "rows": verdict.one_per_key.rows},
        "compared": None if compared is None else {"spans": compared.spans, "records": compared.records},
        "unchecked": [{**_place(one.stream), "start": one.start, "end": one.end, "reason": one.reason} for one in verdict.unchecked],
    }


def as_lines(route: str, verdict: Verdict) -> list[str]:
    """The verdict for a person: what was looked at, the equation of each stream, what is wrong, and the outcome in one line."""
    counts = ((verdict.files, "file"), (verdict.rows, "row"), (verdict.letters, "dead letter"), (verdict.checked_spans, "span"))
    looked = ", ".join(equations.counted(count, noun) for count, noun in counts)
    rows = [[str(one.stream), f"[{one.start:,}, {one.end:,})", one.spans, equations.equation(one.totals)] for one in verdict.accounts]
    lines = [f"{route}: table version {verdict.version}: {looked}"]
    if rows:
        lines += [f"  {line}" for line in aligned(("stream", "offsets", "spans", "equation"), rows)]
        lines.append(f"  in all: {equations.equation(verdict.totals)}")
    if verdict.one_per_key is not None:
        lines.append(f"  one row per key: {_one_per_key(verdict.one_per_key)}")
    if verdict.foreign_rows:
        lines.append(f"  {equations.counted(verdict.foreign_rows, 'row')} of another writer; nothing is claimed about them")
    lines += _letter_lines(verdict)
    if verdict.pending:
        lines.append(f"  {equations.counted(verdict.pending, 'dead letter')} before the commit that passes them")
    if verdict.undigested:
        files = equations.counted(verdict.undigested, "file")
        lines.append(f"  {files} without a digest in the table's log: their bytes were read, and not compared with what was written")
    lines += _rewritten_lines(verdict)
    if verdict.compared is not None:
        spans, records = equations.counted(verdict.compared.spans, "span"), equations.counted(verdict.compared.records, "record")
        lines.append(f"  compared with the log, read again: {spans}, {records}")
    lines += [_unchecked_line(one) for one in verdict.unchecked]
    lines += [_finding_line(one) for one in verdict.findings]
    return [*lines, _outcome(verdict)]


def _letter_lines(verdict: Verdict) -> list[str]:
    """What became of the dead letters, where anything has."""
    lines = []
    if verdict.replayed or verdict.discarded or verdict.retrying:
        waiting = f" ({verdict.retrying:,} of them wait to be tried again)" if verdict.retrying else ""
        open_now = f"{verdict.open_letters:,} open{waiting}, {verdict.replayed:,} replayed, {verdict.discarded:,} discarded"
        lines.append(f"  {equations.counted(verdict.letters, 'dead letter')}: {open_now}")
    if verdict.unresolved:
        rows = equations.counted(verdict.unresolved, "replayed row")
        lines.append(f"  {rows} of which the trail does not tell: a replay was stopped there, and the same one, run again, writes it down")
    if verdict.contested:
        letters = equations.counted(verdict.contested, "dead letter")
        lines.append(f"  {letters} discarded and replayed at the same moment: the rows are in the table; delete them if they are not to be")
    return lines


def _outcome(verdict: Verdict) -> str:
    from landfast.audit import Proof

    if not verdict.proved:
        found = equations.counted(len(verdict.findings), "finding")
        return f"NOT PROVED: {found}. Stop writers and keep the table as it is: landfast explain {_CODE}"
    if verdict.outcome is Proof.NOTHING:
        return "NOTHING TO PROVE: nothing has landed yet (0 spans)"
    limits = []
    if verdict.unchecked and verdict.compared is not None:
        spans = equations.counted(verdict.checked_spans, "span")
        limits.append(f"; {verdict.compared.spans:,} of {spans} could be compared with the log")
    if verdict.rewritten:
        rows = equations.counted(sum(one.rows for one in verdict.rewritten), "row")
        limits.append(f"; the values of {rows} are another writer's word")
    if verdict.undigested:
        limits.append(f"; {equations.counted(verdict.undigested, 'file')} had no digest to be compared with")
    word = "PROVED IN PART" if limits else "PROVED"
    what = "every offset that was read is in exactly one place, once"
    if verdict.one_per_key is not None:
        what = "every offset that was read is accounted for once, and no key has two rows"
    return f"{word}: {what}{''.join(limits)}"


def _one_per_key(found: OnePerKey) -> str:
    """`written 9 = kept 7 + superseded 1 + older 1; 7 kept - 3 replaced since = 4 rows`."""
    written = found.kept + found.superseded + found.older
    equation = f"written {written:,} = kept {found.kept:,} + superseded {found.superseded:,} + older {found.older:,}"
    return f"{equation}; {found.kept:,} kept - {found.replaced:,} replaced since = {equations.counted(found.rows, 'row')}"


def _rewritten_lines(verdict: Verdict) -> list[str]:
    """Who has written rows again, with how many rows and files: --json names each file."""
    by_writer: defaultdict[str, list[Rewritten]] = defaultdict(list)
    for one in verdict.rewritten:
        by_writer[one.writer if one.version is None else f"{one.writer}, version {one.version}"].append(one)
    counts = {by: (sum(one.rows for one in group), len(group)) for by, group in by_writer.items()}
    return [
        escaped(f"  {equations.counted(rows, 'row')} in {equations.counted(files, 'file')} of another writer ({by})")
        for by, (rows, files) in counts.items()
    ]


def _finding_line(one: Finding) -> str:
    place = "" if one.stream is None else f" {one.stream}"
    offsets = f" offsets {_ranges(one.ranges)}" if one.ranges else ""
    file = "" if one.file is None else f" in {one.file}"
    return escaped(f"  FOUND {one.kind}{place}{offsets}{file} ({one.count:,}): {one.sentence}")


def _unchecked_line(one: Unchecked) -> str:
    return escaped(f"  not compared: {one.stream} [{one.start:,}, {one.end:,}): {one.reason}")


def _ranges(ranges: tuple[Range, ...], shown_max: int = 10) -> str:
    shown = ", ".join(f"[{start}, {end})" for start, end in ranges[:shown_max])
    return shown + (f" and {len(ranges) - shown_max} more ranges (--json lists them)" if len(ranges) > shown_max else "")


def _place(stream: Any) -> dict[str, Any]:
    return {} if stream is None else {"topic": stream.topic, "topic_id": stream.incarnation, "partition": stream.partition}
