"""The work that everyone gets: JSON records of about 232 bytes with eleven typed columns, made the same way in every run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

if TYPE_CHECKING:
    import pyarrow as pa

PARTITIONS = 4

# As `[decode.columns]` of a settings file spells them.
COLUMNS = {
    "event_id": "string not null",
    "ts": "timestamp",
    "site": "string",
    "device": "int32",
    "sequence": "int64",
    "voltage": "float64",
    "current": "float64",
    "temperature": "float32",
    "healthy": "boolean",
    "status": "string",
    "note": "string",
}

_SITES = tuple(f"site-{number:03d}" for number in range(200))
_STATUSES = ("running", "idle", "starting", "stopping", "fault")
_HEALTHY = ("false", "true")
_NOTE = "calibrated in 2025"


def arrow_schema() -> pa.Schema:
    """The same columns as Arrow types, for the hand-written loop and the floors."""
    import pyarrow as pa  # noqa: PLC0415 — the process that only produces stays small

    types = {
        "string": pa.string(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "float32": pa.float32(),
        "boolean": pa.bool_(),
    }
    fields = [(name, kind.removesuffix(" not null"), kind.endswith(" not null")) for name, kind in COLUMNS.items()]
    return pa.schema([pa.field(name, types[kind], nullable=not required) for name, kind, required in fields])


def record(number: int) -> bytes:
    """The record of this number, always the same. Its measurements are scattered, so that they compress as real ones do."""
    seconds, fraction = divmod(number * 37, 1_000_000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"
    noise = number * 2_654_435_761 & 0xFFFFFFFF
    return (
        f'{{"event_id":"e-{number:012d}","ts":"2026-03-14T{clock}Z",'
        f'"site":"{_SITES[noise % 200]}","device":{noise // 7 % 5000},"sequence":{number},"voltage":{220 + noise % 20_011 / 1000},'
        f'"current":{noise // 3 % 10_007 / 1000},"temperature":{noise // 11 % 4001 / 64},"healthy":{_HEALTHY[noise % 50 > 0]},'
        f'"status":"{_STATUSES[noise // 13 % 5]}","note":"{_NOTE}"}}'
    ).encode()


def produce(servers: str, topic: str, records: int) -> int:
    """Fill a topic evenly, partition by partition in turn; returns the bytes of all values."""
    producer = _producer(servers)
    total = 0
    for number in range(records):
        value = record(number)
        total += len(value)
        _send(producer, topic, value, number)
    _finish(producer)
    return total


def produce_steadily(servers: str, topic: str, *, records_per_second: int, seconds: float) -> int:
    """Produce at a steady rate, a hundredth of a second at a time; returns how many."""
    producer = _producer(servers, linger_milliseconds=1)
    start = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - start) < seconds:
        due = int(elapsed * records_per_second)
        for number in range(sent, due):
            _send(producer, topic, record(number), number)
        sent = due
        producer.poll(0)
        time.sleep(0.01)
    _finish(producer)
    return sent


def _producer(servers: str, linger_milliseconds: int = 50) -> Producer:
    large = {"batch.size": 1_000_000, "queue.buffering.max.messages": 500_000}
    return Producer({"bootstrap.servers": servers, "linger.ms": linger_milliseconds, **large})


def _send(producer: Producer, topic: str, value: bytes, number: int) -> None:
    while True:
        try:
            producer.produce(topic, value, partition=number % PARTITIONS)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _finish(producer: Producer) -> None:
    left = producer.flush(120)
    if left:
        message = f"{left} records were not acknowledged"
        raise RuntimeError(message)


def check_record() -> None:
    """The workload is what the report says it is: about 232 bytes, eleven columns."""
    sizes = [len(record(number)) for number in range(0, 2_000_000, 9973)]
    mean = sum(sizes) / len(sizes)
    if not 222 <= mean <= 242 or list(json.loads(record(7))) != list(COLUMNS):
        message = f"the records are {mean:.0f} bytes long"
        raise RuntimeError(message)
