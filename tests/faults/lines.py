"""Pipelines whose way to the broker, or to the store, can be damaged, and the load that runs over them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from landfast.events import LaneHalted, RecordsRead
from landfast.testing.stores import BUCKET, VersityGateway, storage_options
from tests.faults.inside import Inside
from tests.system import accountant
from tests.system.field import Load, Pipeline, pipeline, rows

_numbers = itertools.count()

# What a test would otherwise wait for: a session, an answer that does not come, the next attempt to connect.
QUICK = {"socket.timeout.ms": "3000", "reconnect.backoff.max.ms": "500", "topic.metadata.refresh.interval.ms": "1000"}
BATCH = "[batch]\nseconds = 0.2\n"


def source(session_seconds: float = 6.0, more: str = "", **options: str) -> str:
    """The settings of a source that notices soon."""
    listed = ", ".join(f'"{name}" = "{value}"' for name, value in {**QUICK, **options}.items())
    return f"session_seconds = {session_seconds}\nrequest_seconds_max = 3.0\n{more}\noptions = {{ {listed} }}"


def unique(prefix: str) -> str:
    """A topic's name that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


@dataclass
class Road:
    """A topic, its load, and the pipeline over it. `table` is where the table lies on disk."""

    load: Load
    line: Pipeline
    table: Path

    @property
    def good(self) -> int:
        """How many rows there will be when all has landed."""
        return sum(count - count // self.load.bad_every for count in self.load.counts.values())

    def landed(self) -> bool:
        """Whether all has landed."""
        return rows(self.table) == self.good

    def settle(self) -> None:
        """Each record is in one place, once."""
        accountant.settle(self.load.truth, self.table)


def road(folder: Path, servers: str, topic: str, partitions: int, front: str = "", settings: str = "", extra: str = BATCH) -> Road:
    """A road to a table on disk. The load goes to `servers`, the pipeline reads from `front`, which may be a damaged way there."""
    load = Load(servers, topic, partitions, folder / f"{topic}.jsonl")
    line = pipeline(folder, front or servers, topic, extra, source=settings or source())
    return Road(load, line, line.table)


def to_store(made: Road, store: VersityGateway, port: int, file_name: str = "stored") -> Road:
    """The same road to a table in the store, reached through this port."""
    name = made.load.topic
    quick = {"timeout": "3s", "max_retries": "2", "retry_timeout": "5s"}
    options = ", ".join(f'"{key}" = "{value}"' for key, value in storage_options(port, **quick).items())
    text = made.line.file.read_text().replace(f'path = "lake/{name}"', f'path = "s3://{BUCKET}/{name}"\nstorage_options = {{ {options} }}')
    file = made.line.file.with_name(f"{file_name}.toml")
    file.write_text(text)
    table = store.folder / BUCKET / name
    return Road(made.load, Pipeline(file, table), table)


def read(run: Inside) -> int:
    """How many records a run has read."""
    return sum(event.records for event in run.of(RecordsRead))


def unhurt(run: Inside) -> bool:
    """Whether no lane ever halted."""
    return not run.of(LaneHalted)
