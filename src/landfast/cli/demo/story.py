"""The demo from beginning to end. The kill comes half-way by construction, not by luck: the rest is produced only afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from landfast.cli.demo.count import Count, count
from landfast.cli.demo.picture import Ink, Partition, picture
from landfast.cli.demo.records import COLUMNS, PARTITIONS, TOPIC, sensor_records
from landfast.cli.demo.worker import Worker
from landfast.testing.kafka import EmbeddedKafka
from landfast.testing.kafka_records import Truth, produce

WAIT_SECONDS_MAX = 120.0

_SETTINGS = """\
name = "demo"
[source]
servers = "{servers}"
topics = ["{topic}"]
topic_ids = "ignored"      # the embedded broker has none
[source.options]
"session.timeout.ms" = "6000"
[decode.columns]
{columns}
[sink]
path = "lake/sensors"
[batch]
rows = {rows}
seconds = 0.5
"""


def tell(records: int, say: Callable[[str], object]) -> bool:
    """Run the demo, saying what happens; whether all is well. Everything lives in a temporary folder that goes at the end."""
    with tempfile.TemporaryDirectory(prefix="landfast-demo-") as folder, EmbeddedKafka() as broker:
        file = _settings_file(Path(folder), broker.servers, records)
        truth = Truth()
        _land_with_a_kill(file, broker.servers, records, truth, say)
        verdict = _verdict(file)
        counted = count(truth.records, Path(folder) / "lake/sensors", Path(folder) / "lake/sensors__dead_letters")
        for line in ["", *picture(_partitions(Path(folder) / "lake/sensors"), Ink.for_encoding(sys.stdout.encoding)), ""]:
            say(line)
        say(_proof_line(verdict))
        say(_count_line(counted))
    say(f"{counted.records:,} records, {counted.lost:,} lost, {counted.doubled:,} doubled")
    return bool(counted.well and verdict["proved"] and counted.records == records)


def _land_with_a_kill(file: Path, servers: str, records: int, truth: Truth, say: Callable[[str], object]) -> None:
    half, most = records // 2, records * 3 // 4
    produce(servers, sensor_records(0, half), truth=truth)
    say(f"An embedded broker holds {half:,} records in {PARTITIONS} partitions, one in a hundred of them broken on purpose.")
    with Worker(file) as worker:
        say(f"Worker 1 (process {worker.pid}) runs `landfast run` and lands them in a Delta table.")
        worker.wait_until_landed(records // 6, WAIT_SECONDS_MAX)
        produce(servers, sensor_records(half, most), truth=truth)
        worker.wait_until_landed(half, WAIT_SECONDS_MAX)
        worker.kill()
        say("SIGKILL in the middle of it: no farewell, files half written, commits on their way.")
    produce(servers, sensor_records(most, records), truth=truth)
    say(f"Meanwhile the producers go on: {records:,} records are in the log.")
    with Worker(file, "--until-end") as worker:
        say(f"Worker 2 (process {worker.pid}) asks the table how far it got, and goes on from there.")
        worker.report(WAIT_SECONDS_MAX)


def _settings_file(folder: Path, servers: str, records: int) -> Path:
    file = folder / "pipeline.toml"
    columns = "\n".join(f'{name} = "{kind}"' for name, kind in COLUMNS.items())
    file.write_text(_SETTINGS.format(servers=servers, topic=TOPIC, columns=columns, rows=records // 60), encoding="utf-8")
    return file


def _verdict(file: Path) -> Any:
    """What `landfast verify --source` says, as a process of its own."""
    command = [sys.executable, "-m", "landfast", "verify", str(file), "--source", "--json"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT_SECONDS_MAX)
    if not ended.stdout:
        return {"proved": False, "findings": [{"sentence": ended.stderr.strip()}]}
    return json.loads(ended.stdout)


def _proof_line(verdict: Any) -> str:
    if not verdict["proved"]:
        return f"landfast verify: NOT PROVED: {[finding['sentence'] for finding in verdict['findings']]}"
    looked = f"{verdict['checked_spans']:,} spans in {verdict['files']:,} files tile, add up, and match the log read again"
    return f"landfast verify --source: proved; {looked}"


def _count_line(counted: Count) -> str:
    found = f"{counted.rows:,} rows + {counted.letters:,} dead letters, {counted.changed:,} changed"
    return f"independent count, by the producer's own list: {found}"


def _partitions(table: Path) -> list[Partition]:
    """Who landed what, as the table's commits tell it."""
    from landfast.sinks.delta.log.spans import read_spans

    spans = read_spans(str(table))
    first_run = spans[0].run_id
    found = []
    for stream in sorted({record.span.stream for record in spans}):
        own = [record for record in spans if record.span.stream == stream]
        first = [record.span for record in own if record.run_id == first_run]
        second = [record.span for record in own if record.run_id != first_run]
        found.append(
            Partition(
                name=str(stream),
                first=sum(span.read for span in first),
                second=sum(span.read for span in second),
                dead=sum(record.span.dead for record in own),
                taken_over_at=max((span.end for span in first), default=0),
            )
        )
    return found
