"""`run --until-end` beside a member of its group that holds a stream and lands nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from landfast.testing.kafka import RealKafka
from tests.cli.command import coordinates, fill, good, landfast, pipeline_file

pytestmark = pytest.mark.system

PARTITIONS = 2


@contextmanager
def joined(servers: str, topic: str, protocol: str, options: Mapping[str, str]) -> Iterator[Consumer]:
    """A member of the pipeline's group that holds all partitions, polls, and lands nothing."""
    strategy = {"partition.assignment.strategy": "cooperative-sticky"} if protocol == "classic" else {}
    group = {"bootstrap.servers": servers, "group.id": f"group-{topic}", "group.protocol": protocol, "enable.auto.commit": False}
    other = Consumer({**group, **strategy, **options, "log_level": 0})
    try:
        other.subscribe([topic])
        while len(other.assignment()) < PARTITIONS:
            other.consume(100, 0.1)
        yield other
    finally:
        other.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_bounded_run_does_not_wait_for_ever(protocol: str, kafka: RealKafka, tmp_path: Path) -> None:
    """It lands its own part, names what the other holds, and ends with 3; once the other is gone, the next run lands the rest, once."""
    topic = f"beside-{protocol}"
    fill(kafka.servers, topic, good(40), PARTITIONS)
    # Members of a group of the older kind hear of others by their heartbeats.
    options = {"heartbeat.interval.ms": "200"} if protocol == "classic" else {}
    source = {"protocol": protocol, "options": options}
    file = pipeline_file(tmp_path, kafka.servers, topic, source=source, engine={"others_seconds": 12.0})
    with ThreadPoolExecutor(1) as aside, joined(kafka.servers, topic, protocol, options) as other:
        bounded = aside.submit(landfast, "run", file, "--until-end", "--json")
        while not bounded.done():
            other.consume(100, 0.1)
    ended = bounded.result()
    assert ended.code == 3, ended.err
    halts = {halt["partition"]: halt["code"] for halt in ended.report["halts"]}
    (held,) = halts
    assert halts[held] == "HELD_ELSEWHERE"
    assert f"{topic}[{held}] at its beginning of 20" in ended.err
    assert {partition for _, partition, _ in coordinates(tmp_path / "lake")} == {1 - held}
    assert json.loads(landfast("run", file, "--until-end", "--json").out)["totals"]["written"] == 20
    assert coordinates(tmp_path / "lake") == [(topic, partition, offset) for partition in (0, 1) for offset in range(20)]
