"""A small pipeline over a log in memory and real tables, run until the power goes, and run again after it."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.report import Outcome, RunReport
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.core.upkeep import UpkeepLimits
from landfast.decode.json import JsonDecoder
from landfast.model import Run, Stream
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, DeltaSink, UpsertSettings, letters_path, open_table
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.entries import has_table
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.testing.clock import ManualClock
from landfast.testing.executor import InlineExecutor
from landfast.testing.memory import MemoryGroup, MemoryLog, MemorySource, MemorySourceSettings, RecordingObserver

COLUMNS = pa.schema([pa.field("number", pa.int64(), nullable=False)])
TABLE = "table"
LIMITS = FlowLimits(
    batch=BatchLimits(records_max=6),
    breaker=BreakerLimits(share_max=1.0),
    upkeep=UpkeepLimits(landings_between=1, seconds_max=60.0),
    flight_batches_max=1,
)
IN_ONE_GO = replace(LIMITS, batch=BatchLimits())
"""For landing the rest after a cut: what is wrong by then shows in one commit as well as in many."""
UPKEEP = MaintenanceSettings(
    checkpoint_commits=3,
    compaction_interval_seconds=0.0,
    compaction_files_min=3,
    sweep_interval_seconds=0.0,
    sweep_grace_seconds=0.0,
    sweep_seen_seconds=0.0,
)


@dataclass
class PowerWorld:
    """A log that outlives every cut, and what was told to its group."""

    records: int = 18
    partitions: int = 2
    options: Mapping[str, str] = field(default_factory=dict)
    log: MemoryLog = field(default_factory=MemoryLog)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    upsert: UpsertSettings | None = None
    group: MemoryGroup = field(init=False)
    streams: tuple[Stream, ...] = field(init=False)
    before: int = field(init=False)

    def __post_init__(self) -> None:
        """Fill the log: numbered records, of which some are bad and some are tombstones."""
        self.streams = self.log.create("events", self.partitions)
        self.before = 0
        self.produce(self.records)
        self.group = MemoryGroup(self.log, ["events"])

    def produce(self, records: int) -> None:
        """Go on until each partition has had so many records."""
        self.before = len(self.log.truth()[self.streams[0]])
        for partition in range(self.partitions):
            for number in range(self.before, records):
                value: bytes | None = json.dumps({"number": number}).encode()
                value = b"{bad" if number % 6 == 4 else None if number % 7 == 5 else value
                self.log.append("events", partition, value)

    def told(self) -> Mapping[object, int]:
        """The position of each stream that was acknowledged: the log may forget everything below it."""
        return {one.stream: one.position for one in self.group.acknowledged}

    def run(self, folder: Path | str, disk: Disk | None = None, limits: FlowLimits = LIMITS, clock: ManualClock | None = None) -> RunReport:
        """Land everything that the log holds, in a process of its own. The folder may be one of a store that `options` reach."""
        clock = clock or ManualClock()
        disk = disk or Disk()
        settings = DeltaSettings(
            f"{folder}/{TABLE}", self.options, upsert=self.upsert, checkpoint_commits=UPKEEP.checkpoint_commits, probe_rounds=1
        )
        run = Run(uuid.uuid4().hex, "power", "settings", clock.now())
        home = open_table(settings, run, COLUMNS, clock, self.observer, disk=disk)
        sink = DeltaSink(home, Maintenance(UPKEEP, settings, clock, self.observer, disk=disk))
        route = Route("power", lambda _: True, JsonDecoder(COLUMNS), sink, DeltaDeadLetters(home), limits)
        source = MemorySource(self.group, "one", clock, MemorySourceSettings(chunk_records_max=3))
        workplace = Workplace(clock, InlineExecutor, InlineExecutor, self.observer, lambda: 0.5)
        return Runner(source, source, [route], run, RunnerLimits(poll_records=2 * limits.batch.records_max), workplace).run(until_end=True)

    def forget(self, told: Mapping[object, int]) -> None:
        """Retention takes everything that was acknowledged: what was promised must be in the table."""
        for stream in self.streams:
            self.log.expire(stream, told.get(stream, 0))

    def wrong(self, folder: Path | str, report: RunReport, options: Mapping[str, str] | None = None) -> list[str]:
        """What is lost, doubled or misplaced in the end, in words; nothing is what we want. `options` where they differ from the run's."""
        options = self.options if options is None else options
        path = f"{folder}/{TABLE}"
        rows = Counter(_places(path, options))
        letters = Counter(_places(letters_path(path), options, ("partition", "offset")))
        said = [] if report.outcome is Outcome.FINISHED else [f"the run ended {report.outcome}: {report.halts} {report.error}"]
        for stream, written in self.log.truth().items():
            for offset, record in written.items():
                place = (stream.partition, offset)
                bad = record.value is not None and record.value.startswith(b"{bad")
                wanted = (0, 0) if record.value is None else (0, 1) if bad else (1, 0)
                if (rows.pop(place, 0), letters.pop(place, 0)) != wanted:
                    said.append(f"{place} is not where it belongs, once")
        said += [f"{place} was never written" for place in (*rows, *letters)]
        if not said and not verify_table(path, options).proved:
            said.append("the table does not prove itself")
        return said


@dataclass
class EntityWorld(PowerWorld):
    """The same with one row per key: partitions share the numbers, and each number comes again and again."""

    upsert: UpsertSettings | None = field(default_factory=lambda: UpsertSettings(("number",)))

    def produce(self, records: int) -> None:
        """Go on until each partition has had so many records."""
        self.before = len(self.log.truth()[self.streams[0]])
        for partition in range(self.partitions):
            for number in range(self.before, records):
                self.log.append("events", partition, json.dumps({"number": number * 7 % 5}).encode())

    def wrong(self, folder: Path | str, report: RunReport, options: Mapping[str, str] | None = None) -> list[str]:
        """What is not the newest of its key, in words."""
        newest: dict[int, tuple[int, int]] = {}
        for stream, written in sorted(self.log.truth().items()):
            for offset, record in sorted(written.items()):
                newest[json.loads(record.value or b"")["number"]] = (stream.partition, offset)
        path = f"{folder}/{TABLE}"
        said = [] if report.outcome is Outcome.FINISHED else [f"the run ended {report.outcome}: {report.halts} {report.error}"]
        if sorted(_places(path, options or self.options)) != sorted(newest.values()):
            said.append("the table does not hold the newest of each key")
        return said or ([] if verify_table(path).proved else ["the table does not prove itself"])


def _places(path: str, options: Mapping[str, str], names: tuple[str, str] = ("_partition", "_offset")) -> list[tuple[int, int]]:
    files = files_of(path, options)
    if not has_table(files):
        return []
    found = []
    for file in active_files(DeltaTable(path, storage_options=dict(options) or None)):
        with files.open(file.path) as stored:
            table = pq.read_table(stored, columns=list(names))
        found += zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return found
