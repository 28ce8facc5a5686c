"""Pipelines as processes of their own, whose orders fail for as long as their customer is not known."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast import wiring
from landfast.config import Settings, from_mapping
from landfast.decode.json import JsonDecoder
from landfast.decode.schema import parse_columns
from landfast.model import Chunk, Decoded, Reject
from landfast.system import SystemClock
from landfast.testing.kafka_records import Record, create_topic, produce
from landfast.testing.wait import wait_until
from tests.faults.doomed import Doom, arm
from tests.sources.kafka_world import unique
from tests.system.forked import Forked

COLUMNS = {"number": "int64 not null", "customer": "string not null"}
SECONDS_MAX = 60.0
UNKNOWN = "customer_unknown"
SOON = [0.3, 0.3, 0.3, 0.5, 1, 2, 4, 8, 16, 32]
"""Often enough at first, and on for so long that no test sees the end of it unless it wants to."""


class OfKnownCustomers:
    """A decoder that refuses orders of customers of whom no file is in the folder yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._json = JsonDecoder(parse_columns(COLUMNS))

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        decoded = self._json.decode(chunk)
        customers = decoded.rows.column("customer").to_pylist()  # type: ignore[attr-defined]
        kept = list(range(len(chunk))) if decoded.kept is None else list(decoded.kept)
        known = [(self._folder / customer).exists() for customer in customers]
        strange = [
            Reject(index, UNKNOWN, "the customer is not known yet") for index, is_known in zip(kept, known, strict=True) if not is_known
        ]
        rows = decoded.rows.filter(pa.array(known, pa.bool_()))  # type: ignore[attr-defined]
        rejects = tuple(sorted((*decoded.rejects, *strange), key=lambda one: one.index))
        left = [index for index, is_known in zip(kept, known, strict=True) if is_known]
        return replace(decoded, rows=rows, kept=left, rejects=rejects)


@dataclass(frozen=True)
class Shop:
    """A topic of orders, and the pipeline that lands them. `later` is its section `retry.later`."""

    servers: str
    folder: Path
    partitions: int = 1
    later: dict[str, Any] = field(default_factory=lambda: {"delays_seconds": SOON})
    sink: dict[str, Any] = field(default_factory=dict)
    topic: str = field(default_factory=lambda: unique("orders"))

    def __post_init__(self) -> None:
        """Create the topic and the table."""
        create_topic(self.servers, self.topic, self.partitions)
        self.customers.mkdir()
        site = wiring.Site(SystemClock(), wiring.Silence())
        wiring.opened_table(self.settings, self.settings.routes[0], wiring.new_run(self.topic, "", site.clock), site)

    @property
    def customers(self) -> Path:
        """Where a customer becomes known."""
        return self.folder / "customers"

    @property
    def table(self) -> str:
        """The table."""
        return str(self.folder / "lake")

    @property
    def decoder(self) -> OfKnownCustomers:
        """The decoder of the pipeline."""
        return OfKnownCustomers(self.customers)

    @property
    def settings(self) -> Settings:
        """The settings of the pipeline but for its decoder: that of the file has the columns only."""
        return from_mapping(self.body, folder=self.folder)

    @property
    def body(self) -> dict[str, Any]:
        """The settings as a mapping."""
        options = {"heartbeat.interval.ms": "300"}
        return {
            "name": self.topic,
            "source": {"servers": self.servers, "topics": [self.topic], "session_seconds": 3.0, "options": options},
            "decode": {"columns": COLUMNS},
            "sink": {"path": self.table, **self.sink},
            "batch": {"seconds": 0.1},
            "dead_letters": {"max_share": 1.0},
            "retry": {"later": self.later},
        }

    def order(self, *customers: str, first: int = 0, partition: int = 0) -> None:
        """An order of each of these customers, in this order; the customer is the key."""
        produce(
            self.servers,
            [
                Record(self.topic, json.dumps({"number": first + index, "customer": customer}).encode(), partition, customer.encode())
                for index, customer in enumerate(customers)
            ],
        )

    def know(self, *customers: str) -> None:
        """These are known from now on."""
        for customer in customers:
            (self.customers / customer).touch()

    def rows(self) -> Counter[tuple[int, int]]:
        """How often each partition and offset is in the table."""
        if not DeltaTable.is_deltatable(self.table):
            return Counter()
        rows = DeltaTable(self.table).to_pyarrow_table(columns=["_partition", "_offset"])
        return Counter(zip(*(column.to_pylist() for column in rows.columns), strict=True))

    def landed(self, *places: tuple[int, int]) -> bool:
        """Whether the table holds exactly these, each once."""
        return self.rows() == Counter(places)

    def in_order(self, customer: str) -> list[int]:
        """The numbers of a customer's orders in the order in which they landed: by commit, then by offset."""
        table = DeltaTable(self.table)
        seen: set[str] = set()
        numbers: list[int] = []
        for version in range(table.version() + 1):
            files = set(DeltaTable(self.table, version=version).file_uris())
            rows = [row for path in sorted(files - seen) for row in pq.read_table(path).to_pylist() if row["customer"] == customer]
            numbers += [row["number"] for row in sorted(rows, key=lambda row: row["_offset"])]
            seen |= files
        return numbers


def work(shop: Shop, doom: Doom | None, until_end: bool) -> None:
    """The process's own side: run the pipeline, tell its report, and end with its exit code."""
    from landfast import Pipeline, stop_on_signals
    from landfast.events import LettersRetried, LettersWaiting, Notice

    if doom is not None:
        arm(doom)
    body = {name: value for name, value in shop.body.items() if name not in {"decode", "name"}}

    class Ears:
        def notice(self, event: object) -> None:
            if isinstance(event, LettersRetried | LettersWaiting | Notice):
                print(event, flush=True)  # noqa: T201 — what the test reads

    pipeline = Pipeline(name=shop.topic, decoder=shop.decoder, **body)
    with stop_on_signals(pipeline.stop):
        print("at work", flush=True)  # noqa: T201
        report = pipeline.run(until_end=until_end, observer=Ears())
    counts = f"written {report.totals.written}, dead {report.totals.dead}, waiting {report.waiting}, abandoned {report.abandoned}"
    print(f"report: {report.outcome}, {counts}, error {report.error}", flush=True)  # noqa: T201
    sys.exit(report.exit_code)


class Worker:
    """A pipeline at work, gone when the block ends."""

    def __init__(self, shop: Shop, doom: Doom | None = None, *, until_end: bool = False) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 — it lives as long as the process
        first = functools.partial(work, shop, doom, until_end)
        self._process = Forked(("--version",), self._output, self._output, dict(os.environ), first)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(60)
        self._output.close()

    def signal(self, number: Any) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def ended(self) -> int:
        """Its exit code, or the negative number of the signal."""
        return self._process.wait(SECONDS_MAX)

    def until(self, holds: Callable[[], object]) -> None:
        """Wait for something, and no longer once the process has ended."""

        def met() -> bool:
            held = bool(holds())
            assert held or self._process.poll() is None, self.output
            return held

        try:
            wait_until(met, SECONDS_MAX)
        except TimeoutError:
            raise AssertionError(self.output) from None

    @property
    def output(self) -> str:
        """What it has printed."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")


def places(offsets: Sequence[int], partition: int = 0) -> list[tuple[int, int]]:
    """These offsets of a partition."""
    return [(partition, offset) for offset in offsets]
