"""Services as processes of their own, each with a handler that writes into a ledger what it was given and what it finished."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

from landfast.testing.kafka_records import Record as Produced
from landfast.testing.kafka_records import create_topic, produce
from landfast.testing.wait import wait_until
from tests.sources.kafka_world import unique
from tests.system.forked import Forked

SECONDS_MAX = 180.0
ENGINE = {"shutdown_seconds": 20.0}
SOURCE = {"session_seconds": 3.0, "options": {"heartbeat.interval.ms": "300"}}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a service does: `trait` is how its handler behaves, see `serve`."""

    servers: str
    topics: tuple[str, ...]
    group: str
    folder: Path
    batch: int = 100
    trait: str = "plain"
    dead_letters: str | None = None
    until_end: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        """One line per thing that happened, of all processes."""
        return self.folder / "ledger"

    @property
    def gate(self) -> Path:
        """While this is not there, a handler that waits goes on waiting."""
        return self.folder / "gate"

    def note(self, *words: object) -> None:
        """Write a line: one write, so that processes do not mix theirs."""
        line = " ".join(map(str, words)) + "\n"
        handle = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def serve(plan: Plan) -> None:
    """The process's own side: run the service, and end with its exit code."""
    import pyarrow as pa

    from landfast import Consumer as Service
    from landfast import stop_on_signals
    from landfast.events import Event, LaneProgress, MemoryHeld, RecordsRead, RetryScheduled

    failures = iter([plan.trait == "transient"] * 3)

    def handle(records: Sequence[Any]) -> None:
        places = [f"{record.partition}:{record.offset}" for record in records]
        plan.note("begin", os.getpid(), *places)
        if plan.trait == "gate":
            wait_until(plan.gate.exists, SECONDS_MAX)
        if next(failures, False):
            raise ConnectionError
        if plan.trait == "data" and any(record.value.startswith(b"bad") for record in records):
            raise pa.ArrowInvalid
        plan.note("done", os.getpid(), *places)

    class Ears:
        def notice(self, event: Event) -> None:
            if isinstance(event, RecordsRead):
                plan.note("read", os.getpid(), event.records)
            elif isinstance(event, RetryScheduled):
                plan.note("retry", os.getpid(), event.code, event.kind, event.message)
            elif not isinstance(event, LaneProgress | MemoryHeld):
                plan.note("event", os.getpid(), repr(event))

    settings = {"source": SOURCE, "engine": ENGINE, **plan.settings}
    service = Service(
        plan.topics,
        handle,
        servers=plan.servers,
        group=plan.group,
        batch=plan.batch,
        dead_letters=plan.dead_letters,
        settings=settings,
    )
    with stop_on_signals(service.stop):
        report = service.run(until_end=plan.until_end, observer=Ears())
    codes = [halt.code for halt in report.halts.values()]
    codes += [report.error.code] if report.error is not None else []
    plan.note("end", os.getpid(), report.outcome, report.totals.written, report.totals.dead, report.abandoned, *codes)
    sys.exit(report.exit_code)


class Process:
    """A service at work."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 — it lives as long as the process
        self._process = Forked(("--version",), self._output, self._output, dict(os.environ), functools.partial(serve, plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(60)
        self._output.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def ended(self, seconds_max: float = SECONDS_MAX) -> int:
        """Its exit code."""
        try:
            return self._process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.output}") from None

    @property
    def output(self) -> str:
        """What it has printed."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")


@dataclass(slots=True)
class Ground:
    """A topic with numbered records, a group, and a ledger of what handlers did."""

    servers: str
    folder: Path
    partitions: int = 1
    topic: str = field(default_factory=lambda: unique("service"))
    group: str = field(default_factory=lambda: unique("group"))

    def __post_init__(self) -> None:
        """Create the topic."""
        create_topic(self.servers, self.topic, self.partitions)

    def produce(self, count: int, bad: Sequence[int] = ()) -> None:
        """So many records, in turn over the partitions; `bad` by their number."""
        values = [b"bad %d" % number if number in bad else b"good %d" % number for number in range(count)]
        produce(self.servers, [Produced(self.topic, value, number % self.partitions) for number, value in enumerate(values)])

    def plan(self, **changes: Any) -> Plan:
        """A plan of a service over the topic."""
        return Plan(**({"servers": self.servers, "topics": (self.topic,), "group": self.group, "folder": self.folder} | changes))

    def run(self, **changes: Any) -> tuple[int, list[str]]:
        """Run a service to the end of the topic; its exit code, and the words of its end."""
        with Process(self.plan(until_end=True, **changes)) as process:
            code = process.ended()
            assert self.lines("end", process.pid), f"{code}: {process.output}"
            return code, self.ends(process.pid)

    def lines(self, what: str, pid: int | None = None) -> list[list[str]]:
        """The words behind the process id of each such line."""
        ledger = self.folder / "ledger"
        lines = [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []
        return [words[2:] for words in lines if words[0] == what and pid in (None, int(words[1]))]

    def ends(self, pid: int) -> list[str]:
        """The words of a process's end."""
        return self.lines("end", pid)[-1]

    @property
    def handled(self) -> Counter[str]:
        """How often each record was handled, as `partition:offset`."""
        return Counter(place for places in self.lines("done") for place in places)

    @property
    def read(self) -> int:
        """How many records were read, by all."""
        return sum(int(words[0]) for words in self.lines("read"))

    @property
    def offsets(self) -> dict[int, int]:
        """The group's offsets, asked of the broker by a stranger."""
        client = Consumer({"bootstrap.servers": self.servers, "group.id": self.group, "log_level": 0})
        try:
            found = client.committed([TopicPartition(self.topic, number) for number in range(self.partitions)], 30)
            return {place.partition: place.offset for place in found if place.offset >= 0}
        finally:
            client.close()

    def demand_none_unhandled(self) -> None:
        """Nothing below the group's offsets was never handled."""
        handled = self.handled
        for partition, offset in self.offsets.items():
            assert not [number for number in range(offset) if f"{partition}:{number}" not in handled]

    def until(self, what: str, count: int = 1) -> None:
        """Wait for so many lines."""
        wait_until(lambda: len(self.lines(what)) >= count, SECONDS_MAX)


def seconds_pass(seconds: float) -> None:
    """Wait for a deadline that is itself what is tested."""
    start = time.monotonic()
    wait_until(lambda: time.monotonic() - start >= seconds, seconds + 60)
