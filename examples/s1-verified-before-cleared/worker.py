"""A worker whose writes fail for a while, the way most are written and with Landfast. Usage: worker.py FOLDER."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer
from deltalake import DeltaTable, write_deltalake

from landfast import Pipeline, RunReport
from landfast.events import Event, RetryScheduled, StreamGained
from landfast.testing.kafka import EmbeddedKafka
from landfast.testing.kafka_records import Record, produce

TOPIC = "claims"
EVENTS = 1000
BATCH = 100
BROKEN = {150, 450, 750}
FULL_BEFORE = range(300, 600)
FAILURES = 3

SETTINGS = """\
name = "claims"
[source]
servers = "{servers}"
topics = ["claims"]
topic_ids = "ignored"      # the embedded broker has none
[decode.columns]
event_id = "int64 not null"
claim = "string"
amount = "int64"
[sink]
path = "claims"
[batch]
rows = 100
"""


def event(number: int) -> bytes:
    """An event of a claim; a few are not what was agreed upon."""
    amount = "a lot" if number in BROKEN else number * 10
    return json.dumps({"event_id": number, "claim": f"c-{number % 50}", "amount": amount}).encode()


@contextmanager
def full_disk() -> Iterator[None]:
    """This process can write no byte into a file: EFBIG, which is to a writer what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def without_landfast(servers: str, table: str) -> None:
    """Collect, copy, clear, write, log what fails, commit: the loop that loses."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "by-hand", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([TOPIC])
    batch: list[dict[str, object]] = []
    seen = 0
    while seen < EVENTS:
        for message in consumer.consume(BATCH - len(batch), 1.0):
            batch.append(json.loads(message.value() or b""))
            seen += 1
        if len(batch) == BATCH:
            taken, batch = batch, []
            try:
                write(table, taken, fails=seen - BATCH in FULL_BEFORE)
            except Exception as error:  # noqa: BLE001 - this is the mistake that is shown
                say(f"  could not write a batch, going on: {type(error).__name__}")
            consumer.commit(asynchronous=False)
    consumer.close()


def write(table: str, events: list[dict[str, object]], *, fails: bool) -> None:
    """Append the events, on a disk that is full or not."""
    # An amount that is no number becomes null here: nobody is told of it either.
    rows = [{**each, "amount": each["amount"] if isinstance(each["amount"], int) else None} for each in events]
    if fails:
        with full_disk():
            write_deltalake(table, pa.Table.from_pylist(rows), mode="append")
    else:
        write_deltalake(table, pa.Table.from_pylist(rows), mode="append")


class Disk:
    """Hears what the run tells: full as soon as there is something to read, and with room again after so many failures."""

    def __init__(self) -> None:
        self.failures = 0
        self._full = ExitStack()

    def notice(self, told: Event) -> None:
        """See `landfast.ports.Observer`."""
        if isinstance(told, StreamGained):
            self._full.enter_context(full_disk())
        elif isinstance(told, RetryScheduled) and told.code == "DISK_FULL":
            self.failures += 1
            say(f"  {told.code} ({told.kind}), attempt {told.attempt}, again in {told.wait_seconds:.1f} s; the batch is kept")
            if self.failures == FAILURES:
                self._full.close()


def with_landfast(servers: str, settings: Path) -> tuple[RunReport, int]:
    """Land the events that are there, then as many again while the disk is full; the second report, and how often a write failed."""
    settings.write_text(SETTINGS.format(servers=servers), encoding="utf-8")
    pipeline = Pipeline.from_file(settings)
    pipeline.run(until_end=True)
    produce(servers, [Record(TOPIC, event(number), 0) for number in range(EVENTS, 2 * EVENTS)])
    disk = Disk()
    return pipeline.run(until_end=True, observer=disk), disk.failures


def main(lake: Path) -> int:
    """Show what goes wrong, then what does not. Exits 1 if an event is not in exactly one place."""
    lake.mkdir()
    by_hand, settings, table = str(lake / "by-hand"), lake / "pipeline.toml", str(lake / "claims")
    with EmbeddedKafka() as broker:
        produce(broker.servers, [Record(TOPIC, event(number), 0) for number in range(EVENTS)])
        say("the loop that clears its batch before the write is verified:")
        without_landfast(broker.servers, by_hand)
        there = set(column_of(by_hand, "event_id"))
        say(f"  {EVENTS:,} events read and committed, {EVENTS - len(there):,} of them nowhere")
        say(f"Landfast: the same events, then as many again on a disk that is full for {FAILURES} attempts")
        report, failures = with_landfast(broker.servers, settings)
        proof = subprocess.run([sys.executable, "-m", "landfast", "verify", "--source", str(settings)], check=False, capture_output=True)
    say(f"  {report.outcome}: {report.totals.read:,} read, {report.totals.written:,} rows")
    once = Counter(column_of(table, "event_id")) == Counter(number for number in range(2 * EVENTS) if number not in BROKEN)
    letters = len(column_of(f"{table}__dead_letters", "offset"))
    say(f"{2 * EVENTS:,} events, each row there once: {once}; {letters} dead letters; proved: {proof.returncode == 0}")
    return 0 if once and letters == len(BROKEN) and failures == FAILURES and proof.returncode == 0 else 1


def column_of(table: str, column: str) -> list[object]:
    """The values of a column."""
    return [value for file in DeltaTable(table).file_uris() for value in pq.read_table(file, columns=[column]).column(column).to_pylist()]


def say(line: str) -> None:
    """Tell whoever looks on."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("Give a folder that is not there yet: python worker.py lake")
    sys.exit(main(Path(sys.argv[1])))
