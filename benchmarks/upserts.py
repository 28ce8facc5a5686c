"""An upsert of Landfast beside `DeltaTable.merge`, on copies of one table: `python -m benchmarks.upserts`, in processes of their own.

For each share of the keys: seconds, peak memory, bytes that were written. In a folder that is given a table is made once, and found again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
from deltalake import DeltaTable

from benchmarks import measure
from landfast.model import Batch, Chunk, Decoded, Run, Span, Stream
from landfast.sinks.delta import DeltaSettings, DeltaSink, UpsertSettings, open_table
from landfast.sinks.delta.landing.rows import aligned
from landfast.system import SystemClock
from landfast.wiring import Silence

pc: Any = pyarrow.compute

LANE = Stream("entities", "topic-id", 0)
_KINDS: dict[str, pa.DataType] = {"id": pa.string(), "name": pa.string(), "payload": pa.binary()}
COLUMNS = pa.schema(list(_KINDS.items()))
PAYLOAD_BYTES = 200
"""Of each row, random: they do not shrink in a file, so the table is as large as its rows."""
BATCH_ROWS = 500_000
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """How many keys are upserted: the newest ones, which lie together, or any. One in ten is new to the table."""

    name: str
    keys: int
    scattered: bool


def cases(rows: int, scattered_keys: int) -> list[Case]:
    """What is compared on a table of so many rows."""
    return [
        Case("1 % newest", rows // 100, scattered=False),
        Case("10 % newest", rows // 10, scattered=False),
        Case("1 % scattered", rows // 100, scattered=True),
        Case("10 % scattered", rows // 10, scattered=True),
        Case(f"{scattered_keys:,} scattered", scattered_keys, scattered=True),
    ]


def rows_of(numbers: list[int]) -> pa.Table:
    """One row for each entity."""
    width = pa.py_buffer(os.urandom(PAYLOAD_BYTES * len(numbers)))
    payload = pa.FixedSizeBinaryArray.from_buffers(pa.binary(PAYLOAD_BYTES), len(numbers), [None, width]).cast(pa.binary())
    ids, names = [f"{number:016d}" for number in numbers], [f"entity {number % 1000}" for number in numbers]
    return pa.table([pa.array(ids), pa.array(names), payload], schema=COLUMNS)


def batches(numbers: list[int], start: int) -> Iterator[Batch]:
    """The rows as batches of records, from this position on."""
    for first in range(0, len(numbers), BATCH_ROWS):
        part = numbers[first : first + BATCH_ROWS]
        offsets = array("q", range(start + first, start + first + len(part)))
        end = start + first + len(part)
        chunk = Chunk(LANE, 1, start + first, end, [None] * len(part), [None] * len(part), None, offsets, offsets, 0)
        span = Span(LANE, start + first, end, len(part), len(part), 0, {}, "", first=start + first == 0)
        yield Batch(1, (span,), {LANE: 1}, (Decoded(chunk, rows_of(part)),))


def sink_at(path: str) -> DeltaSink:
    """The sink of the table."""
    settings = DeltaSettings(path=path, unknown_fields="dead", upsert=UpsertSettings(("id",)))
    return DeltaSink(open_table(settings, Run("run", "benchmark", "", 0.0), COLUMNS, SystemClock(), Silence()))


def land(path: str, numbers: list[int]) -> None:
    """Upsert these entities with Landfast, in batches as a pipeline would."""
    sink = sink_at(path)
    position = sink.positions([LANE])[LANE]
    for batch in batches(numbers, position if isinstance(position, int) else 0):
        sink.commit([sink.stage(batch)])


def merge(path: str, numbers: list[int]) -> None:
    """The same with deltalake's merge, in the same batches."""
    table = DeltaTable(path)
    schema = pa.schema(table.schema().to_arrow())  # type: ignore[arg-type]  # an Arrow schema of another library
    for batch in batches(numbers, 10**12):
        rows = batch.decoded[0].rows
        marked = rows.append_column("_deleted", pa.repeat(pa.scalar(False), rows.num_rows))  # type: ignore[attr-defined]
        source = aligned(batch.decoded[0], marked, schema)
        merger = table.merge(source, "target.id = source.id", source_alias="source", target_alias="target", streamed_exec=False)
        merger.when_matched_update_all().when_not_matched_insert_all().execute()


def drawn(case: Case, rows: int) -> list[int]:
    """The entities of a case, nine of ten of which the table has."""
    fresh = case.keys // 10
    known = range(rows - (case.keys - fresh), rows)
    old = random.Random(case.keys).sample(range(rows), case.keys - fresh) if case.scattered else list(known)
    return [*old, *range(rows, rows + fresh)]


def table_in(folder: Path, rows: int) -> Path:
    """The table of so many rows, made where it is not there yet."""
    path = folder / f"entities-{rows}"
    if not path.exists():
        for first in range(0, rows, 10 * BATCH_ROWS):
            last = min(rows, first + 10 * BATCH_ROWS)
            measure.run(measure.python("benchmarks.upserts", "--fill", str(path), str(first), str(last)), folder / "fill.log")
    return path


def copy_of(table: Path, folder: Path) -> Path:
    """The table once more, its data files under second names: nobody writes into a file that is there."""
    copy = folder / f"copy-of-{table.name}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(table, copy, copy_function=os.link)
    return copy


def written_bytes(path: Path, after: int) -> int:
    """The bytes of the files that the commits after a version have added."""
    entries = sorted((path / "_delta_log").glob("*.json"))
    lines = (json.loads(line) for entry in entries if int(entry.stem) > after for line in entry.read_text().splitlines() if line)
    return sum(line["add"]["size"] for line in lines if "add" in line)


def compared(folder: Path, rows: int, case: Case, engine: str) -> dict[str, Any]:
    """What one engine takes for one case."""
    table = table_in(folder, rows)
    copy = copy_of(table, folder)
    version = DeltaTable(str(copy)).version()
    words = json.dumps({"keys": case.keys, "scattered": case.scattered})
    idle = measure.run(measure.python("benchmarks.upserts", "--draw", words, str(rows)), folder / "run.log")
    cost = measure.run(measure.python("benchmarks.upserts", "--run", engine, str(copy), words, str(rows)), folder / "run.log")
    found = {
        "case": case.name,
        "engine": engine,
        "seconds": cost.wall_seconds - idle.wall_seconds,
        "cpu_seconds": cost.cpu_seconds - idle.cpu_seconds,
        "peak_mib": cost.peak_bytes / MIB,
        "written_mib": written_bytes(copy, version) / MIB,
        "rows": DeltaTable(str(copy)).count(),
    }
    shutil.rmtree(copy)
    return found


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000, help="rows of the table; 24,000,000 take 5 GB")
    parser.add_argument("--scattered-keys", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the tables lie; without it, a folder that is removed")
    parser.add_argument("--engines", default="landfast,merge")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--fill", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--draw", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        land(given.fill[0], list(range(int(given.fill[1]), int(given.fill[2]))))
    elif given.draw or given.run:
        words, rows = given.draw or given.run[2:]
        numbers = drawn(Case("", **json.loads(words)), int(rows))
        if given.run:
            {"landfast": land, "merge": merge}[given.run[0]](given.run[1], numbers)
    else:
        with tempfile.TemporaryDirectory(prefix="landfast-upserts-") as folder:
            compare(given, given.folder or Path(folder))


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Print each case as soon as it is known."""
    folder.mkdir(parents=True, exist_ok=True)
    table = table_in(folder, given.rows)
    size = sum(path.stat().st_size for path in table.glob("*.parquet"))
    print(f"{given.rows:,} rows in {len(DeltaTable(str(table)).file_uris())} files, {size / 1e9:.2f} GB\n")
    print("| keys | by | seconds | CPU seconds | peak MiB | written MiB | rows after |\n| --- | --- | --- | --- | --- | --- | --- |")
    for case in cases(given.rows, given.scattered_keys):
        for engine in given.engines.split(",") if given.only in case.name else ():
            found = compared(folder, given.rows, case, engine)
            figures = (f"{found[name]:,.0f}" for name in ("seconds", "cpu_seconds", "peak_mib", "written_mib", "rows"))
            print(f"| {case.name} | {engine} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
