"""The loop most people write today: poll, parse, make a table, write it, commit the offsets.

It stands here as it is usually written. It is not exactly-once: killed between the write and the commit, it writes its rows again;
one bad record ends it.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime

import pyarrow as pa
from confluent_kafka import Consumer
from deltalake import write_deltalake

from benchmarks.workload import arrow_schema


def main(servers: str, topic: str, group: str, path: str, records: str) -> None:
    """Land this many records, then print the seconds of each commit."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    schema = arrow_schema()
    landed = 0
    commit_seconds: list[float] = []
    while landed < int(records):
        messages = consumer.consume(10_000, timeout=1.0)
        rows = [json.loads(message.value() or b"") for message in messages if message.error() is None]
        if not rows:
            continue
        for row in rows:
            row["ts"] = datetime.fromisoformat(row["ts"])
        table = pa.Table.from_pylist(rows, schema=schema)
        start = time.monotonic()
        write_deltalake(path, table, mode="append")
        commit_seconds.append(time.monotonic() - start)
        consumer.commit(asynchronous=False)
        landed += len(rows)
    consumer.close()
    print(json.dumps({"commit_seconds": commit_seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
