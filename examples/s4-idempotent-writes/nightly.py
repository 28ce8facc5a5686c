"""A nightly job that is killed again and again, and whose rows are there once. Usage: nightly.py FOLDER."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from landfast import Misconfigured, RunContext, check_run, resume_run, sealed, start_run

RUN_ID = "nightly-2026-11-22"
BATCHES = 6
ROWS = 1000


def orders(number: int) -> pa.Table:
    """The rows of a batch: the same whenever they are computed."""
    return pa.table({"order_id": range(number * ROWS, (number + 1) * ROWS), "batch": [number] * ROWS})


def whose_run(table: Path) -> RunContext:
    """The run as the table knows it, or a new one."""
    try:
        return resume_run(table, RUN_ID)
    except Misconfigured:
        return start_run("nightly", run_id=RUN_ID)


def job(lake: Path) -> None:
    """Write all batches, then two tables in one commit. It remembers nothing: the table does."""
    run = whose_run(lake / "orders")
    # Whether the answer to the last batch was heard is not known, so it is written once more.
    run = run.with_sequence(max(0, min(run.commit_sequence, BATCHES) - 1))
    while run.commit_sequence < BATCHES:
        say(f"writing {run.commit_sequence}")
        result, run = run.write(lake / "orders", orders(run.commit_sequence))
        say(f"batch {run.commit_sequence - 1}: {result.outcome}")
    totals = pa.table({"batch": range(BATCHES), "orders": [ROWS] * BATCHES})
    with run.commit_to(lake / "orders", lake / "totals") as commit:
        commit.write(lake / "orders", orders(BATCHES))
        commit.write(lake / "totals", totals)
        say("both")
    say(f"both tables: {', '.join(result.outcome for result in commit.results.values())}")


def say(line: str) -> None:
    """Tell whoever runs the job where it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def killed_at(lake: Path, moment: str) -> bool:
    """Run the job, and kill it as soon as it says this; whether it came so far."""
    command = [sys.executable, __file__, str(lake), "--job"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            say(f"  {line.rstrip()}")
            if line.startswith(moment):
                os.kill(process.pid, signal.SIGKILL)
                say("  killed")
                break
    return process.returncode == -signal.SIGKILL


def without_landfast(path: str) -> Counter[int]:
    """The same transaction twice, as deltalake takes it: how often each order is there."""
    same = CommitProperties(app_transactions=[Transaction(RUN_ID, 0)])
    for _ in range(2):
        write_deltalake(path, orders(0), mode="append", commit_properties=same)
    return Counter(rows_of(DeltaTable(path)).column("order_id").to_pylist())


def rows_of(table: DeltaTable) -> pa.Table:
    """Every row of a table."""
    return pa.concat_tables([pq.read_table(file) for file in table.file_uris()])


def main(lake: Path) -> int:
    """Show what goes wrong, then what does not. Exits 1 if a row is not there exactly once."""
    times = set(without_landfast(str(lake / "without")).values())
    say(f"deltalake alone, the same transaction twice: each order is there {times.pop()} times")
    for moment in ("writing 1", "batch 2", "writing 3", "writing 4", "both"):
        say(f"the job, killed when it says {moment!r}:")
        killed_at(lake, moment)
    say("the job, left alone:")
    killed_at(lake, "never")
    versions = sealed(lake / "orders", lake / "totals")
    found, totals = (rows_of(DeltaTable(path, version=version)) for path, version in versions.items())
    counted = Counter(found.column("order_id").to_pylist())
    once = counted == Counter(range((BATCHES + 1) * ROWS)) and totals.num_rows == BATCHES
    checked = check_run(lake / "orders", RUN_ID)
    say(f"{len(counted):,} orders, each there once: {once}; commits {checked.commits}, whole: {checked.whole}")
    return 0 if once and checked.whole else 1


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("Give a folder that is not there yet: python nightly.py lake")
    if "--job" in sys.argv:
        job(Path(sys.argv[1]))
    else:
        sys.exit(main(Path(sys.argv[1])))
