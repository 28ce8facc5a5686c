"""The runs that have landed in a table, as their commits tell of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from landfast.sinks.delta.log.spans import SpanRecord


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run as its commits tell it. Sequence numbers that are missing or came twice are exact, not samples."""

    run_id: str
    pipeline: str
    settings_digest: str
    commits: int
    first_version: int
    last_version: int
    first_committed_at: int
    last_committed_at: int
    read: int
    written: int
    dead: int
    skipped: int
    missing: tuple[int, ...]
    repeated: tuple[int, ...]


def runs_of(records: Iterable[SpanRecord]) -> list[RunSummary]:
    """The runs behind these spans, in the order of their first commit, with gaps and repeats in their commit sequence."""
    by_run: defaultdict[str, list[SpanRecord]] = defaultdict(list)
    for record in records:
        by_run[record.run_id].append(record)
    return sorted((_summary(group) for group in by_run.values()), key=lambda run: run.first_version)


def _summary(group: Sequence[SpanRecord]) -> RunSummary:
    commits = {record.version: record for record in group}
    sequences = sorted(record.sequence for record in commits.values())
    present = set(sequences)
    times = [record.committed_at for record in group]
    return RunSummary(
        run_id=group[0].run_id,
        pipeline=group[0].pipeline,
        settings_digest=group[0].settings_digest,
        commits=len(commits),
        first_version=min(commits),
        last_version=max(commits),
        first_committed_at=min(times),
        last_committed_at=max(times),
        read=sum(record.span.read for record in group),
        written=sum(record.span.written for record in group),
        dead=sum(record.span.dead for record in group),
        skipped=sum(sum(record.span.skipped.values()) for record in group),
        missing=tuple(number for number in range(sequences[0], sequences[-1]) if number not in present),
        repeated=tuple(sorted({left for left, right in itertools.pairwise(sequences) if left == right})),
    )
