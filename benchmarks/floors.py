"""What nobody can do without, each part alone and as cheap as we know how: consume, decode, write Parquet.

Only the work is measured, not the start of the process: the parts are added up, and a sum must not hold three starts.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
from confluent_kafka import Consumer

from benchmarks.workload import arrow_schema, record

CHUNK_RECORDS = 10_000
FILE_RECORDS = 500_000


def consume(servers: str, topic: str, records: int) -> None:
    """Read every record once, in polls of 10,000, and look at each value."""
    settings = {
        "bootstrap.servers": servers,
        "group.id": f"floor-{topic}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.queue.backoff.ms": 10,
    }
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    seen = 0
    while seen < records:
        seen += len([message.value() for message in consumer.consume(CHUNK_RECORDS, timeout=1.0)])
    consumer.close()


def decode(chunks: list[list[bytes]]) -> pa.Table:
    """Wrap, join and parse with an explicit schema, 10,000 records at a time."""
    schema = pa.schema([pa.field("v", pa.struct(list(arrow_schema())), nullable=False)])
    read = pyarrow.json.ReadOptions(use_threads=False, block_size=16_000_000)
    parse = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    joined = (b'{"v":' + b'}\n{"v":'.join(chunk) + b"}" for chunk in chunks)
    tables = [pyarrow.json.read_json(io.BytesIO(text), read_options=read, parse_options=parse) for text in joined]
    return pa.concat_tables(tables)


def write(table: pa.Table, folder: Path) -> None:
    """Write half a million rows per file, compressed, with statistics and page checksums."""
    for number, start in enumerate(range(0, table.num_rows, FILE_RECORDS)):
        part = table.slice(start, FILE_RECORDS)
        pq.write_table(part, folder / f"{number}.parquet", compression="zstd", compression_level=1, write_page_checksum=True)


def measured(work: Callable[[], object], records: int) -> None:
    """Print what the work cost."""
    gc.collect()
    wall, cpu = time.monotonic(), time.process_time()
    work()
    print(json.dumps({"wall_seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu, "records": records}))


def main(part: str, servers: str, topic: str, folder: str, records: str) -> None:
    """Measure one part."""
    count = int(records)
    if part == "consume":
        measured(lambda: consume(servers, topic, count), count)
        return
    chunks = [[record(number) for number in range(start, min(start + CHUNK_RECORDS, count))] for start in range(0, count, CHUNK_RECORDS)]
    if part == "decode":
        measured(lambda: decode(chunks), count)
        return
    flat = pa.Table.from_struct_array(decode(chunks).column("v"))
    measured(lambda: write(flat, Path(folder)), count)


if __name__ == "__main__":
    main(*sys.argv[1:])
