"""Where a pipeline with `start = "latest"` begins: behind what was there at its first start, and before all that came later."""

from __future__ import annotations

from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import add_partitions, create_topic, delete_topic
from tests.system import accountant
from tests.system.field import Load, Pipeline, pipeline, rows

pytestmark = [pytest.mark.system, pytest.mark.parametrize("protocol", ["classic", "consumer"])]


def begun(servers: str, topic: str, protocol: str, folder: Path) -> Pipeline:
    """A pipeline that has run once over a topic with one partition that held records before, and has landed none of them."""
    create_topic(servers, topic, 1)
    Load(servers, topic, 1, folder / "before.jsonl").produce(100)
    made = pipeline(folder, servers, topic, source=f'start = "latest"\nprotocol = "{protocol}"')
    made.land()
    assert rows(made.table) == 0
    return made


def test_b10_a_partition_that_was_added_while_nobody_ran_is_read_from_its_first_record(
    protocol: str, kafka: RealKafka, tmp_path: Path
) -> None:
    """All of it was written after the pipeline began, so nothing of it is passed over; what was there before stays out."""
    topic = f"grown-{protocol}"
    made = begun(kafka.servers, topic, protocol, tmp_path)
    add_partitions(kafka.servers, topic, 2)
    load = Load(kafka.servers, topic, 2, tmp_path / "truth.jsonl", counts={0: 100})
    load.produce(200, partition=1)
    load.produce(50, partition=0)
    landed = made.landfast("run", "--until-end")
    assert landed.returncode == 0, landed.stdout + landed.stderr
    assert "READ_FROM_FIRST" in landed.stderr
    assert f"{topic}[1] is read from offset 0" in landed.stderr
    assert accountant.settle(load.truth, made.table).records == 250
    made.verified("--source")


def test_an_accepted_new_topic_is_read_from_its_first_record(protocol: str, kafka: RealKafka, tmp_path: Path) -> None:
    """A topic that takes the place of one that was being read goes on where that one ended: with its first record."""
    topic = f"renewed-{protocol}"
    begun(kafka.servers, topic, protocol, tmp_path)
    delete_topic(kafka.servers, topic)
    incarnation = create_topic(kafka.servers, topic, 1)
    load = Load(kafka.servers, topic, 1, tmp_path / "truth.jsonl")
    load.produce(200)
    source, sink = f'start = "latest"\nprotocol = "{protocol}"', f'accept_topic_ids = ["{incarnation}"]'
    accepting = pipeline(tmp_path, kafka.servers, topic, source=source, sink=sink)
    landed = accepting.landfast("run", "--until-end")
    assert landed.returncode == 0, landed.stdout + landed.stderr
    assert "READ_FROM_FIRST" not in landed.stderr
    assert accountant.settle(load.truth, accepting.table).records == 200
