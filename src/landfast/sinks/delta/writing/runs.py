"""The runs of people's own jobs that a table tells of."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from deltalake import DeltaTable

from landfast.errors import Misconfigured
from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.files.paths import shown
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.writing.record import WriteRecord, writes_back
from landfast.sinks.delta.writing.values import RUN, run_app_id


@dataclass(frozen=True, slots=True)
class RunCheck:
    """A run as the commits that the table's log still has tell of it. `first_at` and `last_at` are in milliseconds since the epoch.

    first_sequence  the lowest number that the log has: those below it are missing only where the log goes back to the table's beginning
    missing         numbers between the first and the last that no commit has, as half-open ranges: given up, or never written
    repeated        numbers that more than one commit has: never so for writes of Landfast
    """

    run_id: str
    label: str
    commits: int
    rows: int
    first_sequence: int
    last_sequence: int
    first_at: int
    last_at: int
    missing: tuple[tuple[int, int], ...]
    repeated: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether each number is there once."""
        return not self.missing and not self.repeated


def newest_of(path: str, storage_options: Mapping[str, str], run_id: str) -> tuple[int, WriteRecord | None]:
    """The number of a run's newest commit, and what that says of itself, as far as the log goes back."""
    with _table(path, storage_options) as (handle, files):
        newest = handle.transaction_version(run_app_id(run_id))
        if newest is None:
            raise _unknown(path, run_id)
        mine = (record for _, record in writes_back(files, handle.version()) if record.app_id == run_app_id(run_id))
        return newest, next(mine, None)


def check(path: str, storage_options: Mapping[str, str], run_id: str) -> RunCheck:
    """See `landfast.check_run`."""
    found = next((one for one in runs(path, storage_options) if one.run_id == run_id), None)
    if found is None:
        raise _unknown(path, run_id)
    return found


def runs(path: str, storage_options: Mapping[str, str]) -> list[RunCheck]:
    """All runs that the log tells of, in the order of their first commit there."""
    by_run: defaultdict[str, list[WriteRecord]] = defaultdict(list)
    with _table(path, storage_options) as (handle, files):
        for _, record in reversed([*writes_back(files, handle.version())]):
            if record.app_id.startswith(RUN):
                by_run[record.app_id.removeprefix(RUN)].append(record)
    return [_checked(run_id, records) for run_id, records in by_run.items()]


def _checked(run_id: str, records: Sequence[WriteRecord]) -> RunCheck:
    numbers = sorted(record.version for record in records)
    pairs = [*itertools.pairwise(numbers)]
    return RunCheck(
        run_id=run_id,
        label=records[-1].told.get("label", ""),
        commits=len(records),
        rows=sum(record.rows for record in records),
        first_sequence=numbers[0],
        last_sequence=numbers[-1],
        first_at=min(record.at for record in records),
        last_at=max(record.at for record in records),
        missing=tuple((low + 1, high) for low, high in pairs if high > low + 1),
        repeated=tuple(sorted({low for low, high in pairs if low == high})),
    )


@contextmanager
def _table(path: str, storage_options: Mapping[str, str]) -> Iterator[tuple[DeltaTable, Files]]:
    with looked("reading the table"):
        handle = snapshot_or_none(path, storage_options)
        if handle is None:
            raise Misconfigured("TABLE_MISSING", f"there is no Delta table at {shown(path)}", next_step="Correct the path.")
        yield handle, files_of(path, storage_options)


def _unknown(path: str, run_id: str) -> Misconfigured:
    message = f"the table at {shown(path)} knows no run {run_id!r}, as far as its log goes back"
    return Misconfigured("RUN_UNKNOWN", message, next_step="Correct the run's id; `landfast runs --table PATH` lists them.")
