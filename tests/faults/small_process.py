"""A pipeline in a process of its own, whose memory or threads are limited: `python -m tests.faults.small_process HOW FOLDER`.

It prints its report as JSON: how it ended, what it counted, and its peak of memory above where it began.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from landfast import Pipeline
from landfast.decode.json import JsonDecoder
from landfast.errors import LandfastError
from landfast.model import Run
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, DeltaSink, open_table
from landfast.system import SystemClock
from landfast.testing.memory import MemoryGroup, MemoryLog, MemorySource, MemorySourceSettings, RecordingObserver
from tests.faults.power_world import COLUMNS

RECORDS = 160_000
VALUE = b'{"number":7,"rest":"' + b"x" * 2000 + b'"}'
MEMORY = "16 MiB"


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def lands_twenty_times_its_memory(folder: Path) -> dict[str, object]:
    """A load of twenty times what the engine may hold."""
    log = MemoryLog()
    log.create("events")
    for _ in range(RECORDS):
        log.append("events", 0, VALUE)
    began = peak_bytes()
    pipeline = made(log, folder, {"memory_bytes": MEMORY})
    report = pipeline.run(until_end=True)
    return {"outcome": report.outcome, "written": report.totals.written, "grown": peak_bytes() - began, "read": RECORDS * len(VALUE)}


def starts_without_threads(folder: Path) -> dict[str, object]:
    """An address space in which no further stack fits."""
    log = MemoryLog()
    log.create("events")
    log.append("events", 0, b'{"number":1}')
    pipeline = made(log, folder, {})
    size = next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * 1024 * 1024, limits[1]))
    try:
        pipeline.run(until_end=True)
    except LandfastError as error:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        again = made(log, folder, {}).run(until_end=True)
        return {"code": error.code, "next": error.next_step, "outcome": again.outcome, "written": again.totals.written}
    return {}


def made(log: MemoryLog, folder: Path, engine: dict[str, object]) -> Pipeline:
    clock, observer = SystemClock(), RecordingObserver()
    home = open_table(DeltaSettings(str(folder / "table")), Run("run", "small", "", clock.now()), COLUMNS, clock, observer)
    source = MemorySource(MemoryGroup(log, ["events"]), "one", clock, MemorySourceSettings(chunk_records_max=5_000))
    return Pipeline(source=source, decoder=JsonDecoder(COLUMNS), sink=DeltaSink(home), dead_letters=DeltaDeadLetters(home), engine=engine)


if __name__ == "__main__":
    print(json.dumps({"memory": lands_twenty_times_its_memory, "threads": starts_without_threads}[sys.argv[1]](Path(sys.argv[2]))))  # noqa: T201
