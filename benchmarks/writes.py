"""`write_idempotent` beside `write_deltalake`: `python -m benchmarks.writes`, each in a process of its own, on the same rows.

One write of many rows, the same once more, and many small ones: seconds, peak memory, rows in the table after. Start-up and the making of
the rows are measured apart and taken off. Both make what they say durable only as far as they do: deltalake does not sync.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from benchmarks import measure
from landfast import write_idempotent

BATCH_ROWS = 65_536
PAYLOAD_BYTES = 200
"""Of each row, random: they do not shrink in a file."""
MIB = 1024 * 1024
_KINDS: dict[str, pa.DataType] = {"id": pa.int64(), "name": pa.string(), "payload": pa.binary()}
COLUMNS = pa.schema(list(_KINDS.items()))


@dataclass(frozen=True, slots=True)
class Case:
    """So many writes of so many rows each, and how often all of them are made."""

    name: str
    writes: int
    rows: int
    times: int = 1


def cases(rows: int, writes: int) -> list[Case]:
    """What is compared."""
    return [
        Case(f"1 write of {rows:,} rows", 1, rows),
        Case("the same, repeated once", 1, rows, times=2),
        Case(f"{writes:,} writes of 1,000 rows", writes, 1000),
    ]


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """The rows, made as they are read."""
    for first in range(0, rows, BATCH_ROWS):
        count = min(BATCH_ROWS, rows - first)
        payload = pa.FixedSizeBinaryArray.from_buffers(pa.binary(PAYLOAD_BYTES), count, [None, pa.py_buffer(_bytes(first, count))])
        ids = pa.array(range(first, first + count), pa.int64())
        names = pa.array([f"name {number % 1000}" for number in range(first, first + count)])
        yield pa.record_batch([ids, names, payload.cast(pa.binary())], schema=COLUMNS)


def _bytes(first: int, count: int) -> bytes:
    """Random, and the same for the same rows: a repetition has to be one."""
    return random.Random(first).randbytes(PAYLOAD_BYTES * count)


def stream(rows: int) -> pa.RecordBatchReader:
    """The rows as both are given them."""
    return pa.RecordBatchReader.from_batches(COLUMNS, batches(rows))


def by_landfast(path: str, version: int, rows: int) -> None:
    """Once, whoever repeats it."""
    write_idempotent(path, stream(rows), app_id="benchmark", version=version)


def by_deltalake(path: str, version: int, rows: int) -> None:
    """With the writer's transaction, as its documentation shows."""
    properties = CommitProperties(app_transactions=[Transaction("benchmark", version)])
    write_deltalake(path, stream(rows), mode="append", commit_properties=properties)


def by_nobody(_path: str, _version: int, rows: int) -> None:
    """The rows alone."""
    for _ in stream(rows):
        pass


WRITERS = {"write_idempotent": by_landfast, "write_deltalake": by_deltalake, "nobody": by_nobody}


def compare(rows: int, writes: int, folder: Path) -> None:
    """Print each case as soon as it is known."""
    print("| case | by | seconds | CPU seconds | peak MiB | rows after |\n| --- | --- | --- | --- | --- | --- |")
    for case in cases(rows, writes):
        words = (str(case.writes), str(case.rows), str(case.times))
        idle = measure.run(measure.python("benchmarks.writes", "--run", "nobody", str(folder / "none"), *words), folder / "run.log")
        for name in ("write_idempotent", "write_deltalake"):
            path = folder / f"{case.writes}-{case.times}-{name}"
            cost = measure.run(measure.python("benchmarks.writes", "--run", name, str(path), *words), folder / "run.log")
            spent = f"{cost.wall_seconds - idle.wall_seconds:,.1f} | {cost.cpu_seconds - idle.cpu_seconds:,.1f}"
            print(f"| {case.name} | `{name}` | {spent} | {cost.peak_bytes / MIB:,.0f} | {DeltaTable(str(path)).count():,} |", flush=True)


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the large write; 5,000,000 take 1.1 GB")
    parser.add_argument("--writes", type=int, default=300, help="small writes")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        name, path, writes, rows, times = given.run
        for _ in range(int(times)):
            for version in range(int(writes)):
                WRITERS[name](path, version, int(rows))
    else:
        with tempfile.TemporaryDirectory(prefix="landfast-writes-") as folder:
            compare(given.rows, given.writes, Path(folder))


if __name__ == "__main__":
    main()
